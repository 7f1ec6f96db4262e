"""Whether clients of one version can go on with another: their signatures compared."""

from collections.abc import Iterator, Mapping

from salver.core.nearest import nearest
from salver.core.signature import Signature, TensorSpec
from salver.trial.fitting import shown

Shape = tuple[int, ...] | None

_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")
"""Signatures that TensorFlow writes for itself; see its saved_model/constants.py."""


def incompatibilities(old: Mapping[str, Signature], new: Mapping[str, Signature]) -> Iterator[str]:
    """What requests of the old signatures would stumble over; one line each.

    More is welcome: further signatures and outputs, inputs with a default, wider shapes.
    """
    for name, signature in for_clients(old).items():
        if name not in new:
            yield f"signature {name!r} is gone{nearest(name, for_clients(new))}"
            continue
        for problem in _problems(signature, new[name]):
            yield f"signature {name!r}: {problem}"


def for_clients(signatures: Mapping[str, Signature]) -> Mapping[str, Signature]:
    """Without those that are no business of clients."""
    return {name: each for name, each in signatures.items() if name not in _INTERNAL}


def _problems(old: Signature, new: Signature) -> Iterator[str]:
    for name, spec in old.inputs.items():
        found = new.inputs.get(name)
        if found is None:
            yield f"input {name!r} is gone{nearest(name, new.inputs)}"
            continue
        yield from _type_problem("input", name, spec, found)
        if not _takes(found.shape, spec.shape):
            yield (
                f"input {name!r} was of shape {shown(spec.shape)} and is of shape "
                f"{shown(found.shape)}, which does not take all that was taken"
            )
        if name in old.defaults and name not in new.defaults:
            yield f"input {name!r} has no default any more"
    for name in new.inputs:
        if name not in old.inputs and name not in new.defaults:
            yield f"input {name!r} is new and has no default"
    for name, spec in old.outputs.items():
        found = new.outputs.get(name)
        if found is None:
            yield f"output {name!r} is gone{nearest(name, new.outputs)}"
            continue
        yield from _type_problem("output", name, spec, found)
        if _differ(spec.shape, found.shape):
            yield (
                f"output {name!r} was of shape {shown(spec.shape)} and is of shape "
                f"{shown(found.shape)}"
            )


def _type_problem(kind: str, name: str, old: TensorSpec, new: TensorSpec) -> Iterator[str]:
    if old.data_type is not new.data_type:
        yield f"{kind} {name!r} was {old.data_type.label} and is {new.data_type.label}"


def _takes(new: Shape, old: Shape) -> bool:
    """Whether every array that fits the old shape fits the new one."""
    if new is None:
        return True
    if old is None or len(old) != len(new):
        return False
    return all(size in (-1, known) for size, known in zip(new, old, strict=True))


def _differ(old: Shape, new: Shape) -> bool:
    """Whether no array fits both shapes; what is not known of an output may well be the same."""
    if old is None or new is None:
        return False
    return len(old) != len(new) or any(
        -1 not in (size, known) and size != known for size, known in zip(new, old, strict=True)
    )
