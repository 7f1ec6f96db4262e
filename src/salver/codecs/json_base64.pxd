"""Base64 in JSON."""

from cpython.bytes cimport PyBytes_CheckExact
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE


cpdef bytes unescape_base64(bytes text)


cdef inline bint is_base64(object node):
    return (
        PyTuple_CheckExact(node) and PyTuple_GET_SIZE(node) == 2
        and <object>PyTuple_GET_ITEM(node, 0) == b"b64"
        and PyBytes_CheckExact(<object>PyTuple_GET_ITEM(node, 1)))
