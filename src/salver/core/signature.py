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
    """What the exporter meant it for: `tensorflow/serving/predict` and the like."""
    defaults: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Values of inputs that a request may leave out."""


def described(signature: Signature) -> str:
    """The signature in protobuf's text format, as the errors of TensorFlow Serving show it."""
    lines = [
        line
        for kind, specs in (("inputs", signature.inputs), ("outputs", signature.outputs))
        for alias, spec in sorted(specs.items())
        for line in (f"{kind} {{", f'  key: "{alias}"', *_described_spec(spec), "}")
    ]
    if signature.method_name:
        lines.append(f'method_name: "{signature.method_name}"')
    return "".join(f"{line}\n" for line in lines)


def _described_spec(spec: TensorSpec) -> list[str]:
    if spec.shape is None:
        shape = ["      unknown_rank: true"]
    else:
        shape = [
            line
            for size in spec.shape
            # A size of 0 is protobuf's default, which the text format leaves out.
            for line in ("      dim {", *([f"        size: {size}"] if size else []), "      }")
        ]
    return [
        "  value {",
        f'    name: "{spec.name}"',
        f"    dtype: {spec.data_type.label}",
        "    tensor_shape {",
        *shape,
        "    }",
        "  }",
    ]
