"""What a servable takes and gives: named tensors, under a named signature."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from salver.core.data_type import DataType

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The declared form of one input or output; the runtime, not we, enforces it."""

    name: str
    """What the backend calls the tensor; for TensorFlow the graph tensor, `x:0`."""
    data_type: DataType
    shape: tuple[int, ...] | None
    """-1 stands for any size; None for any rank."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a servable. Keys of the mappings are the names that clients use."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = ""
    """What the exporter meant it for: `tensorflow/serving/predict`, `.../classify`, `.../regress`."""
    defaults: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Values of inputs that a request may leave out."""
