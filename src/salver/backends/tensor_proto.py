"""`tensorflow.TensorProto` to an array, as TensorFlow itself reads it.

Only for the few constants that come with a model; requests have a faster codec.
Source: tensorflow/core/framework/tensor.proto and `Tensor::FromProto`.
"""

import math

import numpy as np

from salver.backends.protobuf_wire import Message, read_varint
from salver.core.data_type import DataType, numpy_type_of

_DATA_TYPE, _SHAPE, _CONTENT = 1, 2, 4
_FLOAT8_VALUES, _STRING_VALUES = 18, 8

_FIXED_VALUES: dict[DataType, tuple[int, np.dtype]] = {
    DataType.FLOAT: (5, np.dtype("<f4")),
    DataType.DOUBLE: (6, np.dtype("<f8")),
    DataType.COMPLEX64: (9, np.dtype("<f4")),
    DataType.COMPLEX128: (12, np.dtype("<f8")),
}
_INTEGER_VALUES = {
    DataType.INT64: 10,
    DataType.BOOL: 11,
    DataType.HALF: 13,
    DataType.BFLOAT16: 13,
    DataType.UINT32: 16,
    DataType.UINT64: 17,
}
_INT_VALUES = 7
"""The field of every other integer type."""
_MOST_FILLED_BYTES = 64 << 20
"""Of an array with more elements than values: a few bytes of a file can ask for any size."""


def array_of_proto(data: memoryview) -> np.ndarray:
    """Decode one serialized TensorProto.

    `tensor_content` wins over the typed field. In that, the last value stands for
    those that are missing, and those too many are ignored.

    Raises:
        ValueError: it is none, or TensorFlow would not read it.
    """
    proto = Message(data)
    data_type = known_data_type(proto.integer(_DATA_TYPE))
    numpy_type = numpy_type_of(data_type)
    if numpy_type is None:
        raise ValueError(f"no array has elements of type {data_type.label}")
    shape = shape_of(proto.content(_SHAPE)) or ()
    if any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} has an unknown size")
    count = math.prod(shape)
    if proto.content(_CONTENT):
        return _read_content(proto.content(_CONTENT), numpy_type, count).reshape(shape)
    return _filled(_typed_values(proto, data_type, numpy_type), count).reshape(shape)


def shape_of(data: memoryview) -> tuple[int, ...] | None:
    """Decode one serialized TensorShapeProto; None for an unknown rank."""
    proto = Message(data)
    if proto.integer(3):
        return None
    return tuple(Message(dimension).integer(1) for dimension in proto.contents(2))


def known_data_type(number: int) -> DataType:
    """The data type of a number; INVALID if there is none.

    Numbers above 100 stand for references to variables, which are read as their value.
    """
    try:
        return DataType(number - 100 if number > 100 else number)
    except ValueError:
        return DataType.INVALID


def _read_content(content: memoryview, numpy_type: np.dtype, count: int) -> np.ndarray:
    if not numpy_type.hasobject:
        if len(content) != count * numpy_type.itemsize:
            raise ValueError(f"{len(content)} bytes for {count} elements of {numpy_type}")
        return np.frombuffer(bytes(content), numpy_type)
    sizes, offset = [], 0
    for _ in range(count):
        size, offset = read_varint(content, offset)
        sizes.append(size)
    if offset + sum(sizes) != len(content):
        raise ValueError(f"{len(content)} bytes for {count} strings")
    texts = np.empty(count, object)
    for i, size in enumerate(sizes):
        texts[i] = bytes(content[offset : offset + size])
        offset += size
    return texts


def _typed_values(proto: Message, data_type: DataType, numpy_type: np.dtype) -> np.ndarray:
    if data_type is DataType.STRING:
        values = np.empty(len(proto.contents(_STRING_VALUES)), object)
        values[:] = [bytes(text) for text in proto.contents(_STRING_VALUES)]
        return values
    if data_type in _FIXED_VALUES:
        number, element = _FIXED_VALUES[data_type]
        numbers = proto.fixed(number, element)
        whole = numbers.size * element.itemsize // numpy_type.itemsize
        return numbers[: whole * numpy_type.itemsize // element.itemsize].view(numpy_type)
    if data_type.name.startswith("FLOAT8"):
        return np.frombuffer(bytes(proto.content(_FLOAT8_VALUES)), numpy_type)
    integers = proto.integers(_INTEGER_VALUES.get(data_type, _INT_VALUES))
    if data_type is DataType.BOOL:
        return integers.astype(np.bool_)
    if data_type in (DataType.HALF, DataType.BFLOAT16):
        return integers.astype(np.uint16).view(numpy_type)
    if numpy_type.fields:
        narrow: np.dtype = numpy_type[0]
        return integers.astype(narrow).view(numpy_type)
    return integers.astype(numpy_type)


def _filled(values: np.ndarray, count: int) -> np.ndarray:
    if values.size >= count:
        return values[:count]
    if count * values.itemsize > _MOST_FILLED_BYTES:
        raise ValueError(f"{count} elements out of {values.size} values are too many")
    filled = np.zeros(count, values.dtype)
    if values.dtype.hasobject:
        filled[:] = b""
    if values.size:
        filled[: values.size] = values
        filled[values.size :] = values[-1]
    return filled
