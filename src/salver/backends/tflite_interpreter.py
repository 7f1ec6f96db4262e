"""One interpreter of the LiteRT runtime: shapes, tensors and errors of a run.

Texts and codes of the errors are TensorFlow Serving's (tflite_session.cc); what the
runtime itself says goes to the log, as there.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from salver.backends.tflite_file import LiteTensor
from salver.core.data_type import DataType, numpy_type_of
from salver.errors import FailedPrecondition, InternalError, InvalidArgument

logger = logging.getLogger(__name__)

NOT_A_MODEL = "Cannot build FlatBufferModel from buffer."
FAILED_RUN = "Failed to invoke TfLite interpreter"

_RUNTIME_ERRORS = (RuntimeError, ValueError, IndexError, OverflowError, MemoryError)
_MOST_AXES = 6
"""What the kernels are written for; beyond eight, some write past the end of their arrays."""
_MOST_BYTES_OF_ERRORS = 65536


class LiteInterpreter:
    """An interpreter and its memory, for one thread at a time.

    `data` is not copied: interpreters of one model share its weights, unless a
    kernel wants them in another order.
    """

    def __init__(self, data: bytes, inputs: Sequence[LiteTensor]) -> None:
        self._data = data
        self._inputs = inputs
        self._told = ""
        self._shapes: list[tuple[int, ...]] | None = None
        self._runners: dict[str, Any] = {}
        self._runtime: Any = _runtime_of(data)

    def allocate(self) -> None:
        """Make memory for the shapes that the file declares; a string input gets one element.

        Raises:
            InternalError: the graph cannot be run, for instance for an operation that is not known.
        """
        for tensor in self._inputs:
            if tensor.data_type is DataType.STRING:
                self._resize(tensor, (1,), tensor.shape)
        self._allocate()

    def run(self, arrays: Sequence[np.ndarray], outputs: Sequence[int]) -> list[np.ndarray]:
        """Run the main graph on arrays in the order of its inputs, of their types.

        Raises:
            InternalError: the graph does not take arrays of these shapes, or fails.
            InvalidArgument: an array cannot be read.
        """
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            self._take_shapes(shapes)
        runtime = self._runtime
        for tensor, array in zip(self._inputs, arrays, strict=True):
            try:
                runtime.set_tensor(tensor.index, array)
            except ValueError as error:
                raise InvalidArgument(f"Input tensor {tensor.name}: {error}") from error
        try:
            runtime.invoke()
            return [_array(runtime.get_tensor(index)) for index in outputs]
        except _RUNTIME_ERRORS as error:
            raise self._failed(FAILED_RUN, error) from error

    def run_signature(
        self, key: str, arrays: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """Run a signature of TFLite's own, arrays by alias, on whichever graph it names.

        Raises:
            InternalError: the graph does not take arrays of these shapes, or fails.
            InvalidArgument: an array cannot be read.
        """
        if self._runtime is None:
            self._runtime = _runtime_of(self._data)
        try:
            runner = self._runners.get(key)
            if runner is None:
                runner = self._runners[key] = self._runtime.get_signature_runner(key)
            answers = runner(**arrays)
            return [_array(answers[alias]) for alias in outputs]
        except (ValueError, KeyError) as error:
            raise InvalidArgument(f"Signature {key}: {error}") from error
        except _RUNTIME_ERRORS as error:
            raise self._failed(FAILED_RUN, error) from error

    def _take_shapes(self, shapes: list[tuple[int, ...]]) -> None:
        before, self._shapes = self._shapes, None
        if self._runtime is None:
            self._runtime = _runtime_of(self._data)
        for i, (tensor, shape) in enumerate(zip(self._inputs, shapes, strict=True)):
            self._resize(tensor, shape, before[i] if before else tensor.shape)
        self._allocate()
        self._shapes = shapes

    def _resize(self, tensor: LiteTensor, shape: tuple[int, ...], before: tuple[int, ...]) -> None:
        try:
            check_axes(tensor, shape)
            self._runtime.resize_tensor_input(tensor.index, shape)
        except _RUNTIME_ERRORS as error:
            sizes = f"from {_bytes_of(tensor, before)} to {_bytes_of(tensor, shape)} bytes."
            message = f"Failed to resize input tensor: {tensor.name} {sizes}"
            raise self._failed(message, error) from error

    def _allocate(self) -> None:
        try:
            self._runtime.allocate_tensors()
        except _RUNTIME_ERRORS as error:
            raise self._failed("Failed to allocate tensors", error) from error

    def _failed(self, message: str, error: Exception) -> InternalError:
        self._shapes = None
        text = str(error)
        reason = text.removeprefix(self._told) or text
        logger.warning("%s: %s", message, " ".join(reason.split()))
        if isinstance(error, RuntimeError):
            # The runtime keeps the text of every error and repeats it with the next one.
            self._told = text
            if len(text) > _MOST_BYTES_OF_ERRORS:
                self._told, self._runners, self._runtime = "", {}, None
        return InternalError(message)


def require_runnable(data: bytes) -> None:
    """See whether the runtime takes a file.

    Raises:
        FailedPrecondition: the runtime is not installed.
        InvalidArgument: the bytes are no TFLite model.
        InternalError: the model has parts that the runtime does not know.
    """
    _runtime_of(data)


def check_axes(tensor: LiteTensor, shape: tuple[int, ...]) -> None:
    """Keep the runtime from arrays of more dimensions than its kernels can stand.

    Raises:
        ValueError: there are too many.
    """
    most = max(len(tensor.shape), _MOST_AXES)
    if len(shape) > most:
        raise ValueError(f"{len(shape)} dimensions, more than {most}")


def _runtime_of(data: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "TensorFlow Lite is not installed: model.tflite needs `pip install 'salver[tflite]'`"
        ) from error
    except ImportError as error:
        raise FailedPrecondition(f"TensorFlow Lite cannot be opened: {error}") from error
    try:
        # One thread each: threads across requests beat threads within one.
        return Interpreter(model_content=data, num_threads=1)
    except _RUNTIME_ERRORS as error:
        logger.warning("A TFLite model is refused: %s", " ".join(str(error).split()))
        if "flatbuffer" in str(error).lower():
            raise InvalidArgument(NOT_A_MODEL) from error
        raise InternalError("Cannot build Interpreter from buffer.") from error


def _array(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    # The runtime makes plain values of tensors without dimensions.
    return np.array(value, object if isinstance(value, bytes) else None)


def _bytes_of(tensor: LiteTensor, shape: tuple[int, ...]) -> int:
    numpy_type = numpy_type_of(tensor.data_type)
    return math.prod(shape) * (numpy_type.itemsize if numpy_type is not None else 0)
