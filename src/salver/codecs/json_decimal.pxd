"""Numbers as the JSON answers print them."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    # No number that is written here takes more.
    MAX_NUMBER_BYTES = 40


cdef char* put_float(char* out, float value) noexcept nogil
cdef char* put_double(char* out, double value) noexcept nogil
cdef char* put_int64(char* out, int64_t value) noexcept nogil
cdef char* put_uint64(char* out, uint64_t value) noexcept nogil
