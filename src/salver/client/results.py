"""What calls return."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from salver.core.signature import Signature
from salver.errors import Code


@dataclass(frozen=True, slots=True, eq=False)
class Prediction(Mapping[str, np.ndarray]):
    """The outputs of one predict, by name, and what made them."""

    outputs: Mapping[str, np.ndarray]
    model: str
    version: int | None
    """The version that answered; None if the server did not tell: TensorFlow Serving tells it
    over gRPC only."""
    signature: str

    def __getitem__(self, name: str) -> np.ndarray:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


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
