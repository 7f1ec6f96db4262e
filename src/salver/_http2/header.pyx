# distutils: libraries = nghttp2
# cython: language_level=3, boundscheck=False, wraparound=False
"""Header fields: pairs of bytes made of nghttp2's buffers, and nghttp2's entries made of pairs."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from salver._http2 cimport cnghttp2 as c

cdef extern from "Python.h":
    void Py_XDECREF(PyObject*)

cdef enum:
    KEPT_FIELDS = 256  # a power of two
    MAX_KEPT_BYTES = 1024
    MAX_ANSWER_BYTES = 60_000  # nghttp2 sends no header block above 64 KiB


@cython.no_gc
cdef class HeaderBlock:
    def __cinit__(self):
        self.kept = <Field*>calloc(KEPT_FIELDS, sizeof(Field))
        if self.kept == NULL:
            raise MemoryError

    def __dealloc__(self):
        self.begin()
        if self.kept != NULL:
            for index in range(KEPT_FIELDS):
                release(&self.kept[index])
            free(self.kept)

    cdef void begin(self) noexcept:
        while self.count:
            self.count -= 1
            Py_XDECREF(self.pairs[self.count])
        self.size = 0
        self.content_length = -1
        self.streaming = False

    cdef int add(self, c.nghttp2_rcbuf* name, c.nghttp2_rcbuf* value) except -1:
        # A field out of HPACK's tables comes in the same two buffers each time, so the pair
        # made of them the first time serves the later requests too.
        cdef uintptr_t index = (<uintptr_t>name >> 3) * 31 + (<uintptr_t>value >> 4)
        cdef Field* field = &self.kept[(index ^ index >> 8) & (KEPT_FIELDS - 1)]
        if field.name != name or field.value != value:
            release(field)
            hold(field, name, value, self.streaming_paths)
        self.size += field.size
        if self.count == MAX_FIELDS:
            self.size += self.max_size
        if self.size <= self.max_size:
            Py_INCREF(<object>field.pair)
            self.pairs[self.count] = field.pair
            self.count += 1
            if field.content_length >= 0:
                self.content_length = field.content_length
            if field.streaming:
                self.streaming = True
        if field.size > MAX_KEPT_BYTES:
            release(field)
        return 0

    cdef list take(self):
        cdef list pairs = PyList_New(self.count)
        for index in range(self.count):
            # The list takes over the reference that the block holds.
            PyList_SET_ITEM(pairs, index, <object>self.pairs[index])
        self.count = 0
        return pairs


cdef int hold(
        Field* field, c.nghttp2_rcbuf* name, c.nghttp2_rcbuf* value, frozenset paths) except -1:
    cdef c.nghttp2_vec key = c.nghttp2_rcbuf_get_buf(name)
    cdef c.nghttp2_vec text = c.nghttp2_rcbuf_get_buf(value)
    pair = (
        PyBytes_FromStringAndSize(<char*>key.base, key.len),
        PyBytes_FromStringAndSize(<char*>text.base, text.len),
    )
    field.size = key.len + text.len + 32
    field.content_length = -1
    field.streaming = key.len == 5 and memcmp(key.base, b":path", 5) == 0 and pair[1] in paths
    if key.len == 14 and memcmp(key.base, b"content-length", 14) == 0:
        field.content_length = int(pair[1])  # nghttp2 lets through what fits 63 bits
    Py_INCREF(pair)
    field.pair = <PyObject*>pair
    c.nghttp2_rcbuf_incref(name)
    c.nghttp2_rcbuf_incref(value)
    field.name = name
    field.value = value
    return 0


cdef void release(Field* field) noexcept:
    if field.name != NULL:
        c.nghttp2_rcbuf_decref(field.name)
        c.nghttp2_rcbuf_decref(field.value)
        field.name = field.value = NULL
        Py_XDECREF(field.pair)


cdef Py_ssize_t pack(tuple fields, c.nghttp2_nv* entries) except -1:
    """Point `entries`, of which there are MAX_FIELDS, into `fields`; return their number."""
    cdef Py_ssize_t count = 0, size = 0
    cdef bytes name, value
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"{len(fields)} header fields, limit {MAX_FIELDS}")
    for field in fields:
        name, value = <tuple?>field
        if name is None or value is None:
            raise TypeError("a header field is a pair of bytes, not of None")
        entries[count].name = <uint8_t*>PyBytes_AS_STRING(name)
        entries[count].namelen = PyBytes_GET_SIZE(name)
        entries[count].value = <uint8_t*>PyBytes_AS_STRING(value)
        entries[count].valuelen = PyBytes_GET_SIZE(value)
        entries[count].flags = c.NGHTTP2_NV_FLAG_NO_COPY_NAME | c.NGHTTP2_NV_FLAG_NO_COPY_VALUE
        size += entries[count].namelen + entries[count].valuelen + 32
        count += 1
    if size > MAX_ANSWER_BYTES:
        raise ValueError(f"header fields of {size} bytes, limit {MAX_ANSWER_BYTES}")
    return count
