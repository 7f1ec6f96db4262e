# cython: language_level=3, boundscheck=False, wraparound=False
"""One stream of a session: its request being gathered, then its answer being sent."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from collections import deque

cdef extern from "Python.h":
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char*, Py_ssize_t) except NULL
    int _PyBytes_Resize(PyObject**, Py_ssize_t) except -1
    char* bytes_data "PyBytes_AS_STRING"(PyObject*)
    void Py_XDECREF(PyObject*)

cdef enum:
    ALIGNMENT = 64  # a line of the cache
    # Of bodies that are only announced: room made at once for one, and for all together.
    # It costs addresses at first; pages are filled as the bytes come.
    MAX_TRUSTED_BYTES = 1 << 20
    MAX_TRUSTED_LONG_BYTES = 1 << 25
    MAX_TRUSTED_TOTAL = 1 << 28

cdef Py_ssize_t trusted = 0  # bytes of room for long bodies that are arriving


@cython.no_gc
@cython.freelist(64)
cdef class Stream:
    def __dealloc__(self):
        self.drop()

    cdef int make_room(self, Py_ssize_t expected, Py_ssize_t aligned_at) except -1:
        """Make room for a body of so many bytes; byte `aligned_at`, if not -1, will lie aligned."""
        global trusted
        cdef Py_ssize_t room = min(max(expected, 0), MAX_TRUSTED_LONG_BYTES)
        if room > MAX_TRUSTED_BYTES and trusted + room > MAX_TRUSTED_TOTAL:
            room = MAX_TRUSTED_BYTES
        if aligned_at >= 0:
            room += ALIGNMENT - 1
        self.body = new_bytes(NULL, room)
        self.capacity = room
        if aligned_at >= 0:
            self.start = -(<Py_ssize_t>bytes_data(self.body) + aligned_at) & (ALIGNMENT - 1)
        if room > MAX_TRUSTED_BYTES:
            self.trusted = room
            trusted += room
        return 0

    cdef int gather(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t needed
        if self.body == NULL:
            self.make_room(max(size, min(self.content_length, MAX_TRUSTED_BYTES)), -1)
        needed = self.start + self.size + size
        if needed > self.capacity:
            self.capacity = max(needed, 2 * self.capacity)
            _PyBytes_Resize(&self.body, self.capacity)
        memcpy(bytes_data(self.body) + self.start + self.size, data, size)
        self.size += size
        return 0

    cdef object gathered(self):
        cdef Py_ssize_t start = self.start
        cdef Py_ssize_t end = start + self.size
        if self.body == NULL:
            return b""
        if end < self.capacity:
            _PyBytes_Resize(&self.body, end)
        body = <bytes>self.body
        self.drop()
        return memoryview(body)[start:] if start else body

    cdef void drop(self) noexcept:
        global trusted
        cdef PyObject* body = self.body
        self.body = NULL
        self.start = self.size = self.capacity = 0
        trusted -= self.trusted
        self.trusted = 0
        Py_XDECREF(body)

    cdef int load(self, source) except -1:
        """Begin with a piece of the answer; `source` stays exported until the next one."""
        if type(source) is bytes:
            self.data = PyBytes_AS_STRING(source)
            self.length = PyBytes_GET_SIZE(source)
        else:
            source = memoryview(source).cast("B")
            self.data = <const char*>PyMemoryView_GET_BUFFER(source).buf
            self.length = PyMemoryView_GET_BUFFER(source).len
        self.source = source
        self.sent = 0
        return 0

    cdef int load_whole(self, body) except -1:
        """Begin with a whole answer, or with all the pieces of one."""
        self.queue = None
        self.backlog = 0
        if type(body) is list:
            self.load(b"")
            for piece in body:
                self.append(piece)
        else:
            self.load(body)
            self.backlog = self.length
        return 0

    cdef int append(self, source) except -1:
        cdef object piece = memoryview(source).cast("B")
        cdef Py_ssize_t size = len(piece)
        if size:
            if self.sent == self.length and not self.queue:
                self.load(piece)
            else:
                self.queue = deque() if self.queue is None else self.queue
                self.queue.append(piece)
            self.backlog += size
        return 0

    cdef Py_ssize_t next_size(self) except -1:
        """Bytes of the answer that lie in one piece, 0 if there are none yet."""
        if self.sent == self.length and self.queue:
            self.load(self.queue.popleft())
        return self.length - self.sent

    cdef bint ends(self, Py_ssize_t size) noexcept:
        """Whether the answer ends with so many bytes of this piece."""
        return self.finished and not self.queue and self.sent + size == self.length
