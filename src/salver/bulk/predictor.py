"""What answers batches: a server, or a model in this process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from salver.backends.registry import Backends
from salver.client import Client
from salver.core.nearest import nearest
from salver.core.signature import Signature
from salver.errors import NotFound
from salver.inspection.finding import FoundVersion
from salver.inspection.opening import OpenModel, OpenOptions, opened
from salver.inspection.served import ServedModel
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


class _ServedPredictor:
    def __init__(
        self, client: Client, served: ServedModel, version: int, signature: Signature
    ) -> None:
        self.signature = signature
        self.name = f"{redacted(served.url)} {served.model} {version}"
        self._client = client
        self._model = served.model
        self._version = version

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self._client.predict(
            self._model,
            inputs,
            version=self._version,
            signature=self.signature.name,
            outputs=list(self.signature.outputs),
        )


@contextmanager
def served_predictor(
    served: ServedModel, signature: str, outputs: Sequence[str]
) -> Iterator[Predictor]:
    """A version at a server: the one that answers now, whatever comes there meanwhile.

    Raises:
        ServingError: the server cannot be asked, or has no such model, signature or output.
    """
    with served.client() as client:
        metadata = served.metadata(client)
        chosen = with_outputs(served.signature(metadata, signature), outputs)
        yield _ServedPredictor(client, served, metadata.version, chosen)


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
