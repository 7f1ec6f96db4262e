"""Header fields: pairs of bytes made of nghttp2's buffers, and nghttp2's entries made of ours."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp

from salver._http2 cimport cnghttp2 as c

cdef extern from "Python.h":
    void Py_XDECREF(PyObject*)

cdef enum:
    MAX_FIELDS = 128  # of a request or an answer
    MAX_ANSWER_FIELD_BYTES = 60_000  # nghttp2 sends no header block above 64 KiB


cdef struct Field:
    # nghttp2's buffers, held: while they are, their addresses stand for what is in them.
    c.nghttp2_rcbuf* name
    c.nghttp2_rcbuf* value
    PyObject* pair
    Py_ssize_t size  # as SETTINGS_MAX_HEADER_LIST_SIZE counts it
    int64_t content_length  # -1 in every other field


cdef inline int hold(Field* field, c.nghttp2_rcbuf* name, c.nghttp2_rcbuf* value) except -1:
    cdef c.nghttp2_vec key = c.nghttp2_rcbuf_get_buf(name)
    cdef c.nghttp2_vec text = c.nghttp2_rcbuf_get_buf(value)
    pair = (
        PyBytes_FromStringAndSize(<char*>key.base, key.len),
        PyBytes_FromStringAndSize(<char*>text.base, text.len),
    )
    field.size = key.len + text.len + 32
    field.content_length = -1
    if key.len == 14 and memcmp(key.base, b"content-length", 14) == 0:
        field.content_length = int(pair[1])  # nghttp2 lets through what fits 63 bits
    Py_INCREF(pair)
    field.pair = <PyObject*>pair
    c.nghttp2_rcbuf_incref(name)
    c.nghttp2_rcbuf_incref(value)
    field.name = name
    field.value = value
    return 0


cdef inline void release(Field* field) noexcept:
    if field.name != NULL:
        c.nghttp2_rcbuf_decref(field.name)
        c.nghttp2_rcbuf_decref(field.value)
        field.name = field.value = NULL
        Py_XDECREF(field.pair)


cdef inline Py_ssize_t pack(tuple fields, c.nghttp2_nv* entries) except -1:
    """Point `entries` into `fields`, which must live as long as they do."""
    cdef Py_ssize_t count = 0, size = 0
    cdef bytes name, value
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"{len(fields)} header fields, limit {MAX_FIELDS}")
    for field in fields:
        name, value = <tuple?>field
        if name is None or value is None:
            raise TypeError("a header field is a tuple of bytes, not of None")
        entries[count].name = <uint8_t*>PyBytes_AS_STRING(name)
        entries[count].namelen = PyBytes_GET_SIZE(name)
        entries[count].value = <uint8_t*>PyBytes_AS_STRING(value)
        entries[count].valuelen = PyBytes_GET_SIZE(value)
        entries[count].flags = c.NGHTTP2_NV_FLAG_NO_COPY_NAME | c.NGHTTP2_NV_FLAG_NO_COPY_VALUE
        size += entries[count].namelen + entries[count].valuelen + 32
        count += 1
    if size > MAX_ANSWER_FIELD_BYTES:
        raise ValueError(f"header fields of {size} bytes, limit {MAX_ANSWER_FIELD_BYTES}")
    return count
