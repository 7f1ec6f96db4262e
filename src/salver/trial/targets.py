"""What a trial runs: a version in this process, or a model of a running server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from salver.backends.registry import Backends
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import NotFound, ServingError
from salver.inspection.finding import FoundVersion
from salver.inspection.opening import OpenModel, OpenOptions, opened
from salver.sources.uri import redacted
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model of a running server."""

    url: str
    """As `salver.client.Client` takes it: `localhost:8500`, `http://localhost:8501`."""
    model: str
    version: int | None = None
    label: str | None = None
    timeout_s: float = 60.0


class _ServedTarget:
    def __init__(self, client: "Client", served: ServedModel) -> None:
        self._client = client
        self._served = served

    def signature(self, name: str) -> Signature:
        served = self._served
        try:
            metadata = self._client.metadata(
                served.model, version=served.version, label=served.label
            )
        except NotFound as error:
            raise self._not_found(error) from error
        signatures = metadata.signatures
        if not name and DEFAULT_SIGNATURE not in signatures and len(signatures) == 1:
            return without_scalars(next(iter(signatures.values())))
        wanted = name or DEFAULT_SIGNATURE
        if wanted not in signatures:
            raise NotFound(
                f"model {served.model} of {redacted(served.url)} has no signature {wanted!r}"
                f"{nearest(wanted, signatures)}"
            )
        # The server knows how old the graph is.
        return without_scalars(signatures[wanted])

    def _not_found(self, error: NotFound) -> NotFound:
        """The server's words, or the nearest name if the model is what is not there."""
        try:
            names = self._client.models()
        except ServingError:
            return error  # Only a Salver server tells its models.
        model = self._served.model
        if model in names:
            return error
        return NotFound(
            f"{redacted(self._served.url)} serves no model {model!r}{nearest(model, names)}"
        )

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
    from salver.client import Client

    with Client(served.url, timeout=served.timeout_s) as client:
        yield _ServedTarget(client, served)
