"""Arrays to tensors of PyTorch and back, and its errors as ours."""

import re
import warnings
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from salver.core.data_type import DataType
from salver.errors import (
    InternalError,
    InvalidArgument,
    ResourceExhausted,
    ServingError,
    Unimplemented,
)

DATA_TYPES = {
    "float32": DataType.FLOAT,
    "float64": DataType.DOUBLE,
    "float16": DataType.HALF,
    "bfloat16": DataType.BFLOAT16,
    "int8": DataType.INT8,
    "int16": DataType.INT16,
    "int32": DataType.INT32,
    "int64": DataType.INT64,
    "uint8": DataType.UINT8,
    "uint16": DataType.UINT16,
    "uint32": DataType.UINT32,
    "uint64": DataType.UINT64,
    "bool": DataType.BOOL,
    "complex64": DataType.COMPLEX64,
    "complex128": DataType.COMPLEX128,
}
"""By PyTorch's names. It has no strings."""

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_NO_MEMORY = re.compile(r"not enough memory|out of memory|can't allocate memory", re.IGNORECASE)
_MOST_CHARACTERS = 600


def tensor_of(torch: Any, array: np.ndarray) -> Any:
    """A tensor with a copy of the array: a model may change what it is given in place.

    Raises:
        TypeError: PyTorch has no such type.
    """
    # Twice as quick as `torch.tensor`.
    return shared_tensor_of(torch, array).clone()


def shared_tensor_of(torch: Any, array: np.ndarray) -> Any:
    """A tensor in the memory of the array, if that is as PyTorch needs it: only to be read.

    Raises:
        TypeError: PyTorch has no such type.
    """
    if not array.flags.c_contiguous or not array.dtype.isnative:
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    if array.dtype == _BFLOAT16:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@cache
def allow_read_only(torch: Any) -> None:
    """Have PyTorch say now, to nobody, what it says once: that it writes to read-only arrays."""
    array = np.zeros(1, np.float32)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(array)


def array_of(torch: Any, value: Any) -> np.ndarray:
    """What a model computed, as an array that may share the tensor's memory.

    Raises:
        TypeError: it is neither a tensor nor a number, or no array can hold it.
    """
    try:
        return np.asarray(value.numpy())
    except (AttributeError, RuntimeError, TypeError):
        # Of most values that is the array; to ask each what it is first would take longer.
        return _converted(torch, value)


def _converted(torch: Any, value: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        if isinstance(value, bool | int | float):
            return np.asarray(value)
        raise TypeError(f"{type(value).__name__} was computed, not a tensor")
    tensor = value.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.uint16).numpy().view(_BFLOAT16))
    return np.asarray(tensor.numpy())


def run_error(error: Exception, model_name: str) -> ServingError:
    """What a run that failed is answered with: PyTorch tells most causes by its text alone.

    A model that was loaded computes; where it does not, it cannot take these values or sizes.
    """
    if (told := _of_memory(error)) is not None:
        return ResourceExhausted(f"Model {model_name}: {told}")
    message = f"Model {model_name}: {last_line(error)}"
    if isinstance(error, NotImplementedError):
        return Unimplemented(message)
    if isinstance(error, RuntimeError | IndexError | ValueError):
        return InvalidArgument(message)
    return InternalError(f"{message} ({type(error).__name__})")


def load_error(error: Exception, where: str) -> ServingError:
    """What a load that failed ends with."""
    if (told := _of_memory(error)) is not None:
        return ResourceExhausted(f"{where} does not fit into memory: {told}")
    return InvalidArgument(f"{where} cannot be loaded: {last_line(error)}")


def _of_memory(error: Exception) -> str | None:
    """What an error says about memory, if that is what was missing."""
    if isinstance(error, MemoryError):
        return last_line(error)
    return next((_cut(line) for line in _lines(error) if _NO_MEMORY.search(line)), None)


def last_line(error: Exception) -> str:
    """The reason of most errors: it stands below where it happened."""
    return _cut((_lines(error) or [type(error).__name__])[-1])


def first_line(error: Exception) -> str:
    """The reason of errors of CUDA: below it stands how to look for the cause."""
    return _cut((_lines(error) or [type(error).__name__])[0])


def _lines(error: Exception) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]


def _cut(line: str) -> str:
    text = line.removeprefix("RuntimeError: ")
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
