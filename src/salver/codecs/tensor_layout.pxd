cimport numpy as cnp
from libc.stdint cimport uint32_t

cdef enum:
    DATA_TYPES = 33
    STRING_TYPE = 7
    TENSOR_CONTENT = 4  # field numbers of tensorflow.TensorProto
    STRING_VAL = 8
    FLOAT8_VAL = 18
    FIELDS = 19

cdef enum Coding:
    UNSUPPORTED = 0
    RAW = 1  # the array's own bytes
    VARINTS = 2
    TRUTHS = 3  # varints that are 0 or 1
    STRINGS = 4
    FLOAT8 = 5  # one bytes field with a byte for each element
    NIBBLES = 6  # varints of four or two bits, a byte for each in memory

cdef struct Layout:
    # How the elements of one data type lie on the wire and in memory.
    Coding coding
    uint32_t field
    int width  # bytes of an element in memory
    bint signed
    void* numpy_type  # a borrowed numpy.dtype

cdef Layout[DATA_TYPES] LAYOUTS  # by number of tensorflow.DataType

cdef int data_type_number(cnp.ndarray array) except? 0
