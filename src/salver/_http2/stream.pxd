cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t


@cython.final
cdef class Stream:
    """A request being gathered, then its answer being sent."""

    cdef object key  # its number
    cdef list headers
    cdef PyObject* body  # bytes with room to grow, which nobody else has seen
    cdef Py_ssize_t trusted  # of the room for it, as long as the body is arriving
    cdef Py_ssize_t start  # of the body in `body`, see `make_room`
    cdef Py_ssize_t size, capacity, frames
    cdef int64_t content_length  # -1 if not announced
    cdef bint announced  # the handler knows of it
    cdef bint abandoned  # the handler reset it, or it is closed
    cdef bint discarding
    cdef bint streaming  # its body is handed over as it comes
    cdef bint answered  # the handler has begun its answer
    cdef bint finished  # the handler has ended its answer
    cdef tuple fields, trailers  # nghttp2 points into them until the stream closes
    cdef object source  # of `data`
    cdef const char* data
    cdef Py_ssize_t length, sent
    cdef Py_ssize_t backlog  # bytes of the answer not sent yet
    cdef object queue  # what comes after `source`

    cdef int make_room(self, Py_ssize_t expected, Py_ssize_t aligned_at) except -1
    cdef int gather(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef object gathered(self)
    cdef void drop(self) noexcept
    cdef int load(self, source) except -1
    cdef int load_whole(self, body) except -1
    cdef int append(self, source) except -1
    cdef Py_ssize_t next_size(self) except -1
    cdef bint ends(self, Py_ssize_t size) noexcept
