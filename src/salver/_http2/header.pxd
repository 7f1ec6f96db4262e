cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from salver._http2 cimport cnghttp2 as c

cdef enum:
    MAX_FIELDS = 128  # of a request or an answer

cdef struct Field:
    # nghttp2's buffers, held: as long as they are, their addresses stand for what is in them.
    c.nghttp2_rcbuf* name
    c.nghttp2_rcbuf* value
    PyObject* pair
    Py_ssize_t size  # as SETTINGS_MAX_HEADER_LIST_SIZE counts it
    int64_t content_length  # -1 in every other field
    bint streaming  # the path of a streamed request

@cython.final
cdef class HeaderBlock:
    """The header block being read: nothing comes between the frames of one block."""

    cdef Field* kept
    cdef PyObject* pairs[MAX_FIELDS]
    cdef int count
    cdef Py_ssize_t size, max_size
    cdef int64_t content_length  # -1 if there is none
    cdef frozenset streaming_paths
    cdef bint streaming  # the path is one of them

    cdef void begin(self) noexcept
    cdef int add(self, c.nghttp2_rcbuf* name, c.nghttp2_rcbuf* value) except -1
    cdef list take(self)

cdef Py_ssize_t pack(tuple fields, c.nghttp2_nv* entries) except -1
