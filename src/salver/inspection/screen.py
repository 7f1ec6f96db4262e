"""A description as a screen of text for people."""

from collections.abc import Iterator, Sequence

from salver.codecs.messages import WireMessage
from salver.inspection.description import Description, File, Numbers, WarmUpRequests, shape_of
from salver.inspection.saved_model import type_label

_MOST_ASSETS = 10
_MOST_FINDINGS = 10
_FEW_BYTES = 4096
_INITIALIZER = "__saved_model_init_op"
"""What TensorFlow keeps among the signatures, and no client calls."""
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def screen_text(description: Description) -> str:
    """What is worth knowing before anything else."""
    lines = [heading(description)]
    lines += [f"  {name:<12}{value}" for name, value in facts(description)]
    for name in sorted(description.signatures.keys() - {_INITIALIZER}):
        lines += ["", *_signature_lines(name, description.signatures[name])]
    return "\n".join(lines) + "\n"


def heading(description: Description) -> str:
    """Which version it is."""
    version = "" if description.number is None else f"version {description.number}"
    if description.path:
        return f"{description.path}" + (f" ({version})" if version else "")
    return f"Model {description.model} at {description.url} ({version})"


def facts(description: Description) -> Iterator[tuple[str, str]]:
    """All but the signatures, each with its name."""
    for name, value in (
        ("backend", _backend(description)),
        ("written by", description.written_by),
        ("size", _size(description.files)),
        ("parameters", _parameters(description)),
        ("constants", _constants(description)),
        ("versions", _states(description)),
        ("tag-sets", " ".join(repr(", ".join(tags)) for tags in description.tag_sets)),
    ):
        if value:
            yield name, value
    yield from _assets(description)
    if description.warm_up is not None:
        yield "warm-up", _warm_up(description.warm_up)
    yield from _findings(description)
    if description.pipeline:
        yield "pipeline", "pipeline.py stands around the model; its signatures may differ"
    if description.error:
        yield "signatures", f"not known: {description.error}"


def _size(files: Sequence[File]) -> str:
    size = size_text(sum(file.size or 0 for file in files))
    return f"{size} in {len(files)} file{'s' * (len(files) > 1)}" if files else ""


def _parameters(description: Description) -> str:
    return "" if description.parameters is None else _numbers(description.parameters)


def _states(description: Description) -> str:
    return ", ".join(f"{number} {state}" for number, state in sorted(description.states.items()))


def _constants(description: Description) -> str:
    """Every graph has some; they are worth a line where they are the weights of the model."""
    constants, parameters = description.constants, description.parameters
    held = 0 if parameters is None else parameters.size
    if constants is None or constants.size < max(held, _FEW_BYTES):
        return ""
    return _numbers(constants)


def _assets(description: Description) -> Iterator[tuple[str, str]]:
    for number, file in enumerate(description.assets[:_MOST_ASSETS]):
        size = "missing" if file.size is None else size_text(file.size)
        yield "" if number else "assets", f"{file.name} ({size})"
    if len(description.assets) > _MOST_ASSETS:
        yield "", f"and {len(description.assets) - _MOST_ASSETS} more"


def _backend(description: Description) -> str:
    return "tensorflow (SavedModel)" if description.tag_sets else description.backend


def _findings(description: Description) -> Iterator[tuple[str, str]]:
    for number, finding in enumerate(description.findings[:_MOST_FINDINGS]):
        yield "" if number else "needs care", f"{finding.where}: {finding.what}"
    if len(description.findings) > _MOST_FINDINGS:
        rest = len(description.findings) - _MOST_FINDINGS
        yield "", f"and {rest} more, which salver scan tells"


def _numbers(numbers: Numbers) -> str:
    if not numbers.count:
        return "none"
    shown = f"{numbers.count:,}"
    if numbers.trainable is not None and numbers.trainable != numbers.count:
        shown += f", {numbers.trainable:,} of them trainable"
    return f"{shown} ({size_text(numbers.size)})"


def _warm_up(requests: WarmUpRequests) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(requests.kinds.items()))
    shown = f"{requests.count} request{'s' * (requests.count != 1)}"
    shown += f" ({kinds})" if kinds else ""
    return f"{shown}, then damaged: {requests.error}" if requests.error else shown


def size_text(size: int) -> str:
    """`1.5 MB` for a number of bytes."""
    value, units = float(size), iter(_UNITS)
    unit = next(units)
    while value >= 999.5 and unit != _UNITS[-1]:
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def _signature_lines(name: str, definition: WireMessage) -> Iterator[str]:
    method = f"  {definition.method_name}" if definition.method_name else ""
    yield f"Signature {name}{method}"
    rows: list[Sequence[str]] = []
    for kind, infos in (("input", definition.inputs), ("output", definition.outputs)):
        for alias in sorted(infos):
            rows.append((kind, alias, *_tensor(infos[alias])))
            if kind == "input" and alias in definition.defaults:
                rows[-1] = (*rows[-1], "may be left out")
    widths = [max(map(len, column)) for column in zip(*(row[:4] for row in rows), strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield "  " + "  ".join([*cells, *row[4:]]).rstrip()


def _tensor(info: WireMessage) -> tuple[str, str]:
    shape = shape_of(info)
    sizes = "any shape" if shape is None else f"({', '.join(map(str, shape))})"
    kind = info.WhichOneof("encoding")
    composite = {"coo_sparse": " sparse", "composite_tensor": " composite"}.get(kind or "", "")
    return type_label(info.dtype) + composite, sizes
