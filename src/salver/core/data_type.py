"""Element types of tensors, and the NumPy type that holds each.

The numbers are those of `tensorflow.DataType`, because models and both wire
protocols carry them. Every type has exactly one NumPy type and back: strings
are object arrays of `bytes`; bfloat16, float8 and 4-bit integers come from
ml_dtypes; quantized integers are structured types with one field, as in
TensorFlow itself.
"""

from enum import IntEnum
from functools import cache

import ml_dtypes
import numpy as np


class DataType(IntEnum):
    """The type of one element. Source: tensorflow/core/framework/types.proto."""

    INVALID = 0
    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    RESOURCE = 20
    VARIANT = 21
    UINT32 = 22
    UINT64 = 23
    FLOAT8_E5M2 = 24
    FLOAT8_E4M3FN = 25
    FLOAT8_E4M3FNUZ = 26
    FLOAT8_E4M3B11FNUZ = 27
    FLOAT8_E5M2FNUZ = 28
    INT4 = 29
    UINT4 = 30
    INT2 = 31
    UINT2 = 32

    @property
    def label(self) -> str:
        """The name in messages and in `SignatureDef`: `DT_FLOAT`."""
        return f"DT_{self.name}"

    @property
    def short_name(self) -> str:
        """The name in the errors of the runtime: `float`, `int32`, `string`."""
        return self.name.lower()


_NUMPY_TYPES: dict[DataType, np.dtype] = {
    DataType.FLOAT: np.dtype(np.float32),
    DataType.DOUBLE: np.dtype(np.float64),
    DataType.INT32: np.dtype(np.int32),
    DataType.UINT8: np.dtype(np.uint8),
    DataType.INT16: np.dtype(np.int16),
    DataType.INT8: np.dtype(np.int8),
    DataType.STRING: np.dtype(object),
    DataType.COMPLEX64: np.dtype(np.complex64),
    DataType.INT64: np.dtype(np.int64),
    DataType.BOOL: np.dtype(np.bool_),
    DataType.QINT8: np.dtype([("qint8", np.int8)]),
    DataType.QUINT8: np.dtype([("quint8", np.uint8)]),
    DataType.QINT32: np.dtype([("qint32", np.int32)]),
    DataType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    DataType.QINT16: np.dtype([("qint16", np.int16)]),
    DataType.QUINT16: np.dtype([("quint16", np.uint16)]),
    DataType.UINT16: np.dtype(np.uint16),
    DataType.COMPLEX128: np.dtype(np.complex128),
    DataType.HALF: np.dtype(np.float16),
    DataType.UINT32: np.dtype(np.uint32),
    DataType.UINT64: np.dtype(np.uint64),
    DataType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DataType.FLOAT8_E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DataType.FLOAT8_E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz),
    DataType.FLOAT8_E4M3B11FNUZ: np.dtype(ml_dtypes.float8_e4m3b11fnuz),
    DataType.FLOAT8_E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz),
    DataType.INT4: np.dtype(ml_dtypes.int4),
    DataType.UINT4: np.dtype(ml_dtypes.uint4),
    DataType.INT2: np.dtype(ml_dtypes.int2),
    DataType.UINT2: np.dtype(ml_dtypes.uint2),
}
_DATA_TYPES = {numpy_type: data_type for data_type, numpy_type in _NUMPY_TYPES.items()}


def numpy_type_of(data_type: DataType) -> np.dtype | None:
    """The NumPy type that holds `data_type`, None for resources, variants and INVALID."""
    return _NUMPY_TYPES.get(data_type)


@cache
def data_type_of(numpy_type: np.dtype) -> DataType:
    """The data type of an array's dtype, INVALID if no model can have it.

    Byte order does not count; fixed-width string types count as STRING.
    """
    if numpy_type.kind in "SU":
        return DataType.STRING
    return _DATA_TYPES.get(numpy_type.newbyteorder("="), DataType.INVALID)
