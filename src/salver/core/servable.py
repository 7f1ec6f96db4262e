"""Servables: what a backend makes of one version of a model, and how it is made."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from salver.core.signature import Signature


@dataclass(frozen=True, slots=True, order=True)
class ServableId:
    """One version of one model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


class Program(Protocol):
    """One fixed way through a servable: which tensors go in, which come out, in order."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Compute the outputs. Called from any thread, also from several at once.

        Raises:
            ServingError: with the framework's own code and message.
        """


@runtime_checkable
class TraceableProgram(Protocol):
    """A program that can tell how long each of its operations took."""

    def run_traced(self, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], bytes]:
        """As `Program.run`, with a report in the backend's own form. Takes longer."""


class Servable(Protocol):
    """A loaded version, ready to answer. Immutable but for the model's own state."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Every signature of the model, by name."""

    @property
    def signature_def_map(self) -> bytes:
        """The same as a serialized `tensorflow.serving.SignatureDefMap`, as the model states it."""

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """Resolve backend tensor names (`TensorSpec.name`) to something that runs.

        Raises:
            ServingError: the servable has no such tensor.
        """


@runtime_checkable
class RemoteServable(Protocol):
    """A servable whose programs run in other processes: their callers wait, perhaps for long."""

    @property
    def places(self) -> int:
        """How many runs go on at the same time."""

    def warming_up(self) -> AbstractContextManager[None]:
        """Within, what is run prepares all places, and those that replace them later."""


@runtime_checkable
class DeepServable(Protocol):
    """A servable that may say that its programs take arrays of more dimensions than NumPy has."""

    takes_deep_arrays: bool
    """See `salver.core.deep_array`. Who does not say it never gets any."""


class Loader(Protocol):
    """Knows how to make one version ready, and how to let it go.

    Building a Loader is cheap. All cost belongs to `load`, which may be tried
    again after it raised; after `unload` the Loader is finished.
    """

    def load(self) -> Servable:
        """Read the model and return something ready to answer. Blocks; runs on a load thread.

        Raises:
            ServingError: the version cannot be served; code and message tell why.
        """

    def unload(self) -> None:
        """Give back what `load` took. Never raises; called once no request is in flight."""
