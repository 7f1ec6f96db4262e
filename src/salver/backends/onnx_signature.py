"""The signature of an ONNX model: the inputs and outputs of its graph, by their names.

Source: onnx/onnx.proto3, and the types as ONNX Runtime writes them, `tensor(float)`.
"""

import logging
import mmap
from collections.abc import Iterable
from typing import Any

from salver.backends.functions import PREDICT
from salver.backends.protobuf_wire import Message
from salver.core.data_type import DataType
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import Unimplemented

logger = logging.getLogger(__name__)

_DATA_TYPES = {
    "tensor(float)": DataType.FLOAT,
    "tensor(double)": DataType.DOUBLE,
    "tensor(float16)": DataType.HALF,
    "tensor(int8)": DataType.INT8,
    "tensor(int16)": DataType.INT16,
    "tensor(int32)": DataType.INT32,
    "tensor(int64)": DataType.INT64,
    "tensor(uint8)": DataType.UINT8,
    "tensor(uint16)": DataType.UINT16,
    "tensor(uint32)": DataType.UINT32,
    "tensor(uint64)": DataType.UINT64,
    "tensor(bool)": DataType.BOOL,
    "tensor(string)": DataType.STRING,
}
"""Those that the runtime takes from NumPy and gives back: not bfloat16, nor smaller ones."""

_SCORES = ("seq(map(string,tensor(float)))", "seq(map(int64,tensor(float)))")
"""What classifiers converted from scikit-learn give: for each row the score of each class."""

_GRAPH, _INPUT, _OUTPUT = 7, 11, 12
"""Fields of ModelProto and GraphProto."""


def signature_of(session: Any, path: str, model_name: str) -> Signature:
    """The one signature of the model in an `onnxruntime.InferenceSession` made of the file.

    Outputs that are no tensors are left out, but for scores by class, which become columns.

    Raises:
        Unimplemented: an input is of a type that cannot be fed, or no output can be read.
    """
    arguments = (*session.get_inputs(), *session.get_outputs())
    # The runtime shows an unknown rank as it shows a scalar.
    scalars = _scalars(path) if any(not argument.shape for argument in arguments) else set()
    inputs = {}
    for argument in session.get_inputs():
        if argument.type not in _DATA_TYPES:
            raise Unimplemented(
                f'Model {model_name}: input "{argument.name}" of model.onnx is of the type '
                f"{argument.type}, which cannot be served"
            )
        inputs[argument.name] = _spec(argument, scalars)
    outputs = {}
    for argument in session.get_outputs():
        if argument.type in _SCORES:
            outputs[argument.name] = TensorSpec(argument.name, DataType.FLOAT, (-1, -1))
        elif argument.type in _DATA_TYPES:
            outputs[argument.name] = _spec(argument, scalars)
        else:
            logger.warning(
                "Model %s: output %s is left out: its type %s cannot be served",
                model_name, argument.name, argument.type,
            )  # fmt: skip
    if not outputs:
        raise Unimplemented(f"Model {model_name}: model.onnx has no output that can be served")
    return Signature(DEFAULT_SIGNATURE, inputs, outputs, PREDICT)


def is_readable(runtime_type: str) -> bool:
    """Whether values of a type, as the runtime writes it, come back as NumPy arrays."""
    return runtime_type in _DATA_TYPES


def _spec(argument: Any, scalars: set[str]) -> TensorSpec:
    shape: tuple[int, ...] | None
    if argument.shape:
        # Names stand for sizes that change, None for those that have no name.
        shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    else:
        shape = () if argument.name in scalars else None
    return TensorSpec(argument.name, _DATA_TYPES[argument.type], shape)


def _scalars(path: str) -> set[str]:
    """The names of inputs and outputs that are declared to have no dimensions."""
    with open(path, "rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        graph = Message(Message(content).content(_GRAPH))
        return set(_names_of_scalars((*graph.contents(_INPUT), *graph.contents(_OUTPUT))))
    except ValueError:
        return set()  # An unknown rank takes scalars too.


def _names_of_scalars(values: Iterable[memoryview]) -> Iterable[str]:
    for content in values:
        value = Message(content)
        tensor = Message(Message(value.content(2)).content(1))
        if tensor.has(2) and not Message(tensor.content(2)).contents(1):
            yield value.text(1)
