"""What calls return."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from salver.core.signature import Signature
from salver.errors import Code


@dataclass(frozen=True, slots=True, eq=False)
class Prediction(Mapping[str, np.ndarray]):
    """The outputs of one predict, by name, and what made them."""

    outputs: Mapping[str, np.ndarray]
    model: str
    version: int | None
    """The version that answered. None if the server did not tell (TensorFlow Serving tells it over
    gRPC only), or if several versions answered the parts of one batch."""
    signature: str

    def __getitem__(self, name: str) -> np.ndarray:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """Classes with scores of some examples, and what made them."""

    labels: np.ndarray
    """Objects of str, shape [examples, classes]; empty ones if the model gives scores only."""
    scores: np.ndarray
    """float32, of the same shape; zeros if the model gives labels only."""
    model: str
    version: int | None
    """See `Prediction.version`."""
    signature: str


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """One value for each of some examples, and what made them."""

    values: np.ndarray
    """float32, shape [examples]."""
    model: str
    version: int | None
    """See `Prediction.version`."""
    signature: str


@dataclass(frozen=True, slots=True)
class Task:
    """One part of a multi-inference."""

    method: Literal["classify", "regress"]
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The signatures of one version."""

    name: str
    version: int
    signatures: Mapping[str, Signature]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """In which state one version is."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    code: Code
    """What became of it: OK, or the code of the error that ended it."""
    message: str
