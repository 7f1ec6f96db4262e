"""What answers batches: a server, or a model in this process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from salver.backends.registry import Backends
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import NotFound
from salver.inspection.finding import FoundVersion
from salver.inspection.opening import OpenModel, OpenOptions, opened
from salver.sources.uri import redacted


class Predictor(Protocol):
    """One signature of one version. From any thread."""

    signature: Signature
    name: str
    """Which version of which model this is: the same for the same one, without secrets."""

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The outputs that were chosen, by name.

        Raises:
            ServingError: the model's or the server's.
        """


class _LocalPredictor:
    def __init__(self, model: OpenModel, signature: str, outputs: Sequence[str]) -> None:
        self.signature = with_outputs(model.signature(signature), outputs)
        self.name = redacted(model.version.path)
        self._model = model

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self._model.run(inputs, self.signature.name, list(self.signature.outputs))


@contextmanager
def local_predictor(
    version: FoundVersion,
    options: OpenOptions,
    backends: Backends,
    signature: str,
    outputs: Sequence[str],
) -> Iterator[Predictor]:
    """A version opened in this process.

    Raises:
        ServingError: it cannot be loaded, or has no such signature or output.
    """
    with opened(version, options, backends) as model:
        yield _LocalPredictor(model, signature, outputs)


@contextmanager
def served_predictor(
    url: str,
    model: str,
    version: int | None,
    label: str | None,
    signature: str,
    outputs: Sequence[str],
) -> Iterator[Predictor]:
    """A version at a server: the one that answers now, whatever comes there meanwhile.

    Raises:
        ServingError: the server cannot be asked, or has no such model, signature or output.
    """
    from salver.client import Client

    with Client(url) as client:
        metadata = client.metadata(model, version=version, label=label)
        wanted = signature or DEFAULT_SIGNATURE
        found = metadata.signatures.get(wanted)
        if found is None:
            raise NotFound(
                f"model {model} has no signature {wanted!r}{nearest(wanted, metadata.signatures)}"
            )
        chosen = with_outputs(found, outputs)
        number = metadata.version

        class ServedPredictor:
            signature = chosen
            name = f"{redacted(url)} {model} {number}"

            def predict(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
                return client.predict(
                    model, inputs, version=number, signature=wanted, outputs=list(chosen.outputs)
                )

        yield ServedPredictor()


def with_outputs(signature: Signature, outputs: Sequence[str]) -> Signature:
    """The signature with some of its outputs; all, where none are named.

    Raises:
        NotFound: it has not one of them.
    """
    for name in outputs:
        if name not in signature.outputs:
            known = nearest(name, signature.outputs)
            raise NotFound(f"signature {signature.name!r} has no output {name!r}{known}")
    chosen = {name: signature.outputs[name] for name in outputs or sorted(signature.outputs)}
    return Signature(
        signature.name, signature.inputs, chosen, signature.method_name, signature.defaults
    )
