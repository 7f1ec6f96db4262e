"""The compact node of a JSON document, for the modules that turn it into arrays."""

from salver.codecs.json_cursor cimport Cursor, Slot


cdef enum:
    # Deeper arrays of numbers are rare and go through the plain nodes.
    MAX_COMPACT_RANK = 8


cdef class Numbers:
    cdef int rank
    cdef Py_ssize_t[MAX_COMPACT_RANK] shape
    cdef Py_ssize_t size
    cdef Slot* slots
    cdef bint has_real      # then every slot is a double
    cdef bint has_integer


cdef Numbers scan_numbers(Cursor* cursor)
