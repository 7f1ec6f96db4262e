"""A text that grows at its end, and the strings of JSON in it."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset, strlen


cdef struct Buffer:
    # All NULL at first; whoever made it frees `begin`.
    char* begin
    char* at
    char* end


cdef inline int reserve(Buffer* out, Py_ssize_t size) except -1 nogil:
    """Make room for `size` more bytes."""
    cdef Py_ssize_t used = out.at - out.begin
    cdef Py_ssize_t capacity
    cdef char* grown
    if out.end - out.at >= size:
        return 0
    capacity = 2 * (used + size) + 256
    grown = <char*>realloc(out.begin, capacity)
    if grown is NULL:
        with gil:
            raise MemoryError
    out.begin = grown
    out.at = grown + used
    out.end = grown + capacity
    return 0


cdef inline int put(Buffer* out, const char* text, Py_ssize_t size) except -1 nogil:
    reserve(out, size)
    memcpy(out.at, text, size)
    out.at += size
    return 0


cdef inline int put_text(Buffer* out, const char* text) except -1 nogil:
    return put(out, text, strlen(text))


cdef inline int put_line(Buffer* out, int depth) except -1 nogil:
    """A line break, and the indentation of this depth."""
    reserve(out, 1 + 4 * depth)
    out.at[0] = b"\n"
    memset(out.at + 1, 32, 4 * depth)
    out.at += 1 + 4 * depth
    return 0


cdef int put_string(Buffer* out, const char* text, Py_ssize_t size) except -1
cdef int put_base64(Buffer* out, const uint8_t* data, Py_ssize_t size) except -1
