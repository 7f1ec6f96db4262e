"""A servable with a signature for everything that a request can ask for, without a framework.

Like a real graph it refuses what has not the type of its input.
"""

from collections.abc import Sequence

import numpy as np

from salver.core.data_type import DataType, data_type_of
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument

_ECHOED = (
    DataType.FLOAT, DataType.DOUBLE, DataType.INT32, DataType.UINT8, DataType.INT16, DataType.INT8,
    DataType.STRING, DataType.INT64, DataType.BOOL, DataType.UINT32, DataType.UINT64,
    DataType.HALF, DataType.COMPLEX64,
)  # fmt: skip


def _echo(name: str, method: str = "", **kinds: DataType) -> Signature:
    inputs = {key: TensorSpec(f"{name}/{key}:{kind}", kind, None) for key, kind in kinds.items()}
    outputs = {("y" if key == "x" else key): spec for key, spec in inputs.items()}
    return Signature(name, inputs, outputs, method)


def _examples(name: str, *outputs: str) -> Signature:
    inputs = {"inputs": TensorSpec(f"{name}/inputs:{DataType.STRING}", DataType.STRING, (-1,))}
    made = {
        output: TensorSpec(
            f"{name}/{output}:0", DataType.STRING if output == "classes" else DataType.FLOAT, None
        )
        for output in outputs
    }
    return Signature(name, inputs, made, f"tensorflow/serving/{name}")


class Everything:
    """Echoes, classifies by nothing, and regresses to one."""

    signature_def_map = b"\n\x05\n\x01x\x12\x00"

    def __init__(self) -> None:
        given = [
            _echo("serving_default", "tensorflow/serving/predict", x=DataType.FLOAT),
            *(_echo(kind.short_name, x=kind) for kind in _ECHOED),
            _echo("many", a=DataType.FLOAT, b=DataType.STRING, c=DataType.INT64),
            _examples("classify", "classes", "scores"),
            _examples("regress", "outputs"),
            _echo("none"),
        ]
        self.signatures = {signature.name: signature for signature in given}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        return _Way(feeds, fetches)


class _Way:
    def __init__(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> None:
        self._feeds = feeds
        self._fetches = fetches

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        values = dict(zip(self._feeds, inputs, strict=True))
        for name, array in values.items():
            wanted = name.rpartition(":")[2]
            if data_type_of(array.dtype).value != int(wanted):
                raise InvalidArgument(f"{name} does not take {array.dtype}")
            if "/inputs:" in name and array.ndim != 1:
                raise InvalidArgument(f"{name} takes rank 1")
        count = len(inputs[0]) if inputs and inputs[0].ndim else 0
        return [values[name] if name in values else _made(name, count) for name in self._fetches]


def _made(name: str, count: int) -> np.ndarray:
    if "/classes:" in name:
        classes = np.empty((count, 2), object)
        classes[:] = b"a"
        return classes
    return np.ones((count, 2) if "/scores:" in name else (count,), np.float32)
