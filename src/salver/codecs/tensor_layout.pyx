# distutils: define_macros=NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
"""Which field of a TensorProto holds which data type, and in which form: one C table."""

cimport numpy as cnp

import numpy as np

from salver.core.data_type import DataType, data_type_of, numpy_type_of

cnp.import_array()

cdef enum:
    BUILTIN_TYPES = 24  # type numbers of NumPy below this are its own

cdef int[BUILTIN_TYPES] DATA_TYPE_OF_BUILTIN
cdef dict DATA_TYPE_OF_OTHER = {}  # by NumPy type: those of ml_dtypes, and structured ones
cdef list NUMPY_TYPES = []  # keeps alive what LAYOUTS points to


def _fill_tables(rows):
    """From rows of data types, coding, field number, signed."""
    cdef int number
    for data_types, coding, field, signed in rows:
        for data_type in data_types:
            number = data_type
            numpy_type = numpy_type_of(data_type)
            NUMPY_TYPES.append(numpy_type)
            LAYOUTS[number] = Layout(
                coding, field, numpy_type.itemsize, signed, <void*>numpy_type)
    for code in "?bBhHiIlLqQefdFDO":
        numpy_type = np.dtype(code)
        DATA_TYPE_OF_BUILTIN[numpy_type.num] = data_type_of(numpy_type)


# Source: tensorflow/core/framework/tensor.proto and types.proto.
_fill_tables([
    ([DataType.FLOAT], RAW, 5, False),
    ([DataType.DOUBLE], RAW, 6, False),
    ([DataType.INT32, DataType.INT16, DataType.INT8], VARINTS, 7, True),
    ([DataType.QINT8, DataType.QINT16, DataType.QINT32], VARINTS, 7, True),
    ([DataType.UINT8, DataType.UINT16, DataType.QUINT8, DataType.QUINT16], VARINTS, 7, False),
    ([DataType.INT4, DataType.INT2], NIBBLES, 7, True),
    ([DataType.UINT4, DataType.UINT2], NIBBLES, 7, False),
    ([DataType.STRING], STRINGS, STRING_VAL, False),
    ([DataType.COMPLEX64], RAW, 9, False),
    ([DataType.INT64], VARINTS, 10, True),
    ([DataType.BOOL], TRUTHS, 11, False),
    ([DataType.COMPLEX128], RAW, 12, False),
    ([DataType.HALF, DataType.BFLOAT16], VARINTS, 13, False),
    ([DataType.UINT32], VARINTS, 16, False),
    ([DataType.UINT64], VARINTS, 17, False),
    ([DataType.FLOAT8_E5M2, DataType.FLOAT8_E4M3FN, DataType.FLOAT8_E4M3FNUZ,
      DataType.FLOAT8_E4M3B11FNUZ, DataType.FLOAT8_E5M2FNUZ], FLOAT8, FLOAT8_VAL, False),
])


cdef int data_type_number(cnp.ndarray array) except? 0:
    """The number of the data type of an array; 0 if no tensor can hold it."""
    cdef int type_number = cnp.PyArray_TYPE(array)
    if type_number < BUILTIN_TYPES and DATA_TYPE_OF_BUILTIN[type_number]:
        return DATA_TYPE_OF_BUILTIN[type_number]
    found = DATA_TYPE_OF_OTHER.get(array.dtype)
    if found is None:
        found = int(data_type_of(array.dtype))
        # Types of fixed-width strings are many: those are not remembered.
        if cnp.PyArray_TYPE(array) not in (cnp.NPY_STRING, cnp.NPY_UNICODE):
            DATA_TYPE_OF_OTHER[array.dtype] = found
    return found
