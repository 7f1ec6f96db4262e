"""Decimal numbers rounded to the nearest double."""

from libc.stdint cimport uint64_t


cdef bint nearest_double(uint64_t digits, int exponent, double* out) noexcept nogil
