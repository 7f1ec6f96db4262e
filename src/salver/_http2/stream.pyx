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
    MAX_TRUSTED_LENGTH = 1 << 20  # of a body that is only announced, room made at once


@cython.no_gc
@cython.freelist(64)
cdef class Stream:
    def __dealloc__(self):
        Py_XDECREF(self.body)

    cdef int gather(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t needed = self.size + size
        if self.body == NULL:
            self.capacity = max(needed, min(self.content_length, MAX_TRUSTED_LENGTH))
            self.body = new_bytes(NULL, self.capacity)
        elif needed > self.capacity:
            self.capacity = max(needed, 2 * self.capacity)
            _PyBytes_Resize(&self.body, self.capacity)
        memcpy(bytes_data(self.body) + self.size, data, size)
        self.size = needed
        return 0

    cdef bytes gathered(self):
        if self.body == NULL:
            return b""
        if self.size < self.capacity:
            _PyBytes_Resize(&self.body, self.size)
        body = <bytes>self.body
        self.drop()
        return body

    cdef void drop(self) noexcept:
        cdef PyObject* body = self.body
        self.body = NULL
        self.size = self.capacity = 0
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
