"""What a trial runs: a version in this process, or a model of a running server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from salver.backends.registry import Backends
from salver.core.signature import Signature
from salver.inspection.finding import FoundVersion
from salver.inspection.opening import OpenModel, OpenOptions, opened
from salver.inspection.served import ServedModel
from salver.trial.old_graphs import has_shapes_unknown, without_scalars

if TYPE_CHECKING:
    from salver.client import Client

Arrays = Mapping[str, np.ndarray]


class Target(Protocol):
    """Something with signatures that can be run."""

    def signature(self, name: str) -> Signature:
        """The signature of this name; without one, the default one, or the only one.

        Raises:
            ServingError: there is none, or the server cannot be asked.
        """

    def run(self, inputs: Arrays, signature: Signature) -> dict[str, np.ndarray]:
        """All outputs by name.

        Raises:
            ServingError: from the model or the server.
        """


class OpenTarget:
    """A version in this process."""

    def __init__(self, model: OpenModel, tags: tuple[str, ...]) -> None:
        self._model = model
        self._tags = tags

    def signature(self, name: str) -> Signature:
        found = self._model.signature(name)
        if has_shapes_unknown(self._model.version.path, self._tags):
            return without_scalars(found)
        return found

    def run(self, inputs: Arrays, signature: Signature) -> dict[str, np.ndarray]:
        return self._model.run(inputs, signature.name)


@contextmanager
def folder_target(
    version: FoundVersion, options: OpenOptions, backends: Backends
) -> Iterator[Target]:
    """A version folder, loaded in this process.

    Raises:
        ServingError: it cannot be loaded.
    """
    with opened(version, options, backends) as model:
        yield OpenTarget(model, options.tags)


class _ServedTarget:
    def __init__(self, client: "Client", served: ServedModel) -> None:
        self._client = client
        self._served = served

    def signature(self, name: str) -> Signature:
        metadata = self._served.metadata(self._client)
        # The server knows how old the graph is.
        return without_scalars(self._served.signature(metadata, name))

    def run(self, inputs: Arrays, signature: Signature) -> dict[str, np.ndarray]:
        served = self._served
        prediction = self._client.predict(
            served.model,
            dict(inputs),
            version=served.version,
            label=served.label,
            signature=signature.name,
        )
        return dict(prediction)


@contextmanager
def served_target(served: ServedModel) -> Iterator[Target]:
    """A model that a server serves, over gRPC or REST as its address says.

    Raises:
        ServingError: the address is none.
    """
    with served.client() as client:
        yield _ServedTarget(client, served)
