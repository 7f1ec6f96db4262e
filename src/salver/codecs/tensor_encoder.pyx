# distutils: define_macros=NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
# cython: boundscheck=False, wraparound=False, cdivision=True
"""NumPy to TensorProto: all sizes first, then one write into memory of the right size."""

cimport numpy as cnp
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)

from salver.codecs.protobuf_wire cimport (
    DELIMITED, MAX_MESSAGE_BYTES, VARINT, delimited_size, varint_size, write_bytes, write_varint,
)
from salver.codecs.tensor_layout cimport (
    FLOAT8, LAYOUTS, NIBBLES, RAW, STRING_TYPE, STRING_VAL, STRINGS, TENSOR_CONTENT, TRUTHS,
    UNSUPPORTED, VARINTS, Coding, Layout, data_type_number,
)

import numpy as np

from salver.core.deep_array import DeepArray, deep_array
from salver.errors import InternalError, ResourceExhausted

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cnp.import_array()


def encode_tensor(cnp.ndarray array not None, bint as_tensor_content=False):
    cdef Plan plan
    cdef bytes message
    array = plan_tensor(array, as_tensor_content, &plan)
    message = PyBytes_FromStringAndSize(NULL, plan.size)
    write_tensor(array, &plan, <uint8_t*>PyBytes_AS_STRING(message))
    return message


cdef cnp.ndarray plan_tensor(cnp.ndarray array, bint as_content, Plan* plan):
    """Compute all sizes. Returns the array to write: the same one, or a plain copy."""
    cdef const Layout* layout
    cdef cnp.ndarray dims
    cdef Py_ssize_t dimension
    cdef int i
    plan.data_type = data_type_number(array)
    if LAYOUTS[plan.data_type].coding == UNSUPPORTED:
        raise InternalError(f"an array of {array.dtype} cannot be sent as a tensor")
    if plan.data_type == STRING_TYPE and cnp.PyArray_TYPE(array) != cnp.NPY_OBJECT:
        array = _string_objects(array)
    if not cnp.PyArray_ISCARRAY_RO(array):
        array = _plain(array)
    layout = &LAYOUTS[plan.data_type]
    plan.as_content = as_content
    plan.elements = cnp.PyArray_SIZE(array)
    plan.rank = cnp.PyArray_NDIM(array)
    plan.shape = cnp.PyArray_DIMS(array)
    if not cnp.PyArray_CheckExact(array) and isinstance(array, DeepArray):
        dims = array.dims
        plan.rank = cnp.PyArray_SIZE(dims)
        plan.shape = <const cnp.npy_intp*>cnp.PyArray_DATA(dims)
    plan.shape_size = 0
    for i in range(plan.rank):
        dimension = plan.shape[i]
        plan.shape_size += delimited_size(1 + varint_size(dimension) if dimension else 0)
    plan.size = 1 + varint_size(plan.data_type) + delimited_size(plan.shape_size)
    plan.values_size = 0
    if plan.elements:
        plan.values_size = _values_size(array, layout, plan)
        if layout.coding == STRINGS and not as_content:
            plan.size += plan.values_size
        else:
            plan.size += delimited_size(plan.values_size)
            if layout.field > 15 and not as_content:
                plan.size += 1  # the tag has two bytes
    if plan.size > MAX_MESSAGE_BYTES:
        raise ResourceExhausted(f"a tensor takes {plan.size} bytes as a message, limit 2 GiB")
    return array


def _plain(array):
    """The same elements, contiguous, aligned and in native byte order."""
    plain = np.require(np.asarray(array), array.dtype.newbyteorder("="), ["C", "A"])
    return deep_array(plain, array.dims) if isinstance(array, DeepArray) else plain


def _string_objects(array):
    """Fixed-width text or bytes as objects, text in UTF-8."""
    if array.dtype.kind == "U":
        array = np.strings.encode(array, "utf-8")
    return array.astype(object)


cdef Py_ssize_t _values_size(cnp.ndarray array, const Layout* layout, const Plan* plan) except -1:
    if layout.coding == STRINGS:
        return _strings_size(array, plan)
    if not plan.as_content and layout.coding in (VARINTS, NIBBLES):
        return _put_varints(layout, plan, cnp.PyArray_DATA(array), NULL)
    return plan.elements * layout.width


cdef Py_ssize_t _strings_size(cnp.ndarray array, const Plan* plan) except -1:
    cdef PyObject** items = <PyObject**>cnp.PyArray_DATA(array)
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t size
    cdef Py_ssize_t i
    for i in range(plan.elements):
        _text(items[i], &size)
        total += varint_size(size) + size
    return total if plan.as_content else total + plan.elements


cdef const char* _text(PyObject* item, Py_ssize_t* size) except NULL:
    """The bytes of a bytes or str object; they live as long as the object."""
    if item == NULL:
        raise InternalError("an element of a string tensor was never set")
    if PyBytes_Check(<object>item):
        size[0] = PyBytes_GET_SIZE(<object>item)
        return PyBytes_AS_STRING(<object>item)
    if not PyUnicode_Check(<object>item):
        kind = type(<object>item).__name__
        raise InternalError(f"an element of a string tensor is a {kind}, not bytes or str")
    try:
        return PyUnicode_AsUTF8AndSize(<object>item, size)
    except UnicodeEncodeError as error:
        raise InternalError("an element of a string tensor cannot be encoded") from error


cdef uint8_t* write_tensor(cnp.ndarray array, const Plan* plan, uint8_t* out) noexcept:
    """Write exactly `plan.size` bytes; returns where they end."""
    cdef const Layout* layout = &LAYOUTS[plan.data_type]
    cdef const void* data = cnp.PyArray_DATA(array)
    out = write_head(array, plan, out)
    if plan.elements == 0:
        return out
    if layout.coding == STRINGS:
        return _write_strings(<PyObject**>data, plan, out)
    if has_wire_values(plan):
        return write_bytes(out, data, plan.values_size)
    if layout.coding == TRUTHS:
        return _write_truths(out, <const uint8_t*>data, plan.elements)
    return out + _put_varints(layout, plan, data, out)


cdef bint has_wire_values(const Plan* plan) noexcept:
    cdef Coding coding = LAYOUTS[plan.data_type].coding
    return coding == RAW or coding == FLOAT8 or (plan.as_content and coding != STRINGS)


cdef uint8_t* write_head(cnp.ndarray array, const Plan* plan, uint8_t* out) noexcept:
    cdef const Layout* layout = &LAYOUTS[plan.data_type]
    out[0] = 1 << 3 | VARINT
    out = write_varint(out + 1, plan.data_type)
    out = _write_shape(plan, out)
    if plan.elements == 0 or layout.coding == STRINGS:
        return out
    out = write_varint(out, (TENSOR_CONTENT if plan.as_content else layout.field) << 3 | DELIMITED)
    return write_varint(out, plan.values_size)


cdef uint8_t* _write_shape(const Plan* plan, uint8_t* out) noexcept:
    cdef Py_ssize_t dimension
    cdef int i
    out[0] = 2 << 3 | DELIMITED
    out = write_varint(out + 1, plan.shape_size)
    for i in range(plan.rank):
        dimension = plan.shape[i]
        out[0] = 2 << 3 | DELIMITED
        if dimension == 0:
            out[1] = 0
            out += 2
        else:
            out[1] = <uint8_t>(1 + varint_size(dimension))
            out[2] = 1 << 3 | VARINT
            out = write_varint(out + 3, dimension)
    return out


cdef uint8_t* _write_strings(PyObject** items, const Plan* plan, uint8_t* out) noexcept:
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t i
    cdef const char* data
    if not plan.as_content:
        for i in range(plan.elements):
            data = _text(items[i], &size)
            out[0] = STRING_VAL << 3 | DELIMITED
            out = write_bytes(write_varint(out + 1, size), data, size)
        return out
    out[0] = TENSOR_CONTENT << 3 | DELIMITED
    out = write_varint(out + 1, plan.values_size)
    for i in range(plan.elements):
        _text(items[i], &size)
        out = write_varint(out, size)
    for i in range(plan.elements):
        data = _text(items[i], &size)
        out = write_bytes(out, data, size)
    return out


cdef uint8_t* _write_truths(uint8_t* out, const uint8_t* data, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = data[i] != 0
    return out + count


ctypedef fused Integer:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t


cdef Py_ssize_t _put_varints(
        const Layout* layout, const Plan* plan, const void* data, uint8_t* out) noexcept nogil:
    """Write the elements as varints, or only count the bytes if `out` is NULL."""
    cdef Py_ssize_t count = plan.elements
    if layout.coding == NIBBLES:
        return _put_nibbles(<const uint8_t*>data, count, plan.data_type, layout.signed, out)
    if layout.signed:
        if layout.width == 1:
            return _put(<const int8_t*>data, count, out)
        if layout.width == 2:
            return _put(<const int16_t*>data, count, out)
        if layout.width == 4:
            return _put(<const int32_t*>data, count, out)
        return _put(<const int64_t*>data, count, out)
    if layout.width == 1:
        return _put(<const uint8_t*>data, count, out)
    if layout.width == 2:
        return _put(<const uint16_t*>data, count, out)
    if layout.width == 4:
        return _put(<const uint32_t*>data, count, out)
    return _put(<const uint64_t*>data, count, out)


cdef Py_ssize_t _put(const Integer* data, Py_ssize_t count, uint8_t* out) noexcept nogil:
    cdef uint8_t* start = out
    cdef uint64_t value
    cdef uint32_t more
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t i
    if out == NULL:
        for i in range(count):
            size += varint_size(<uint64_t>data[i])
        return size
    for i in range(count):
        value = <uint64_t>data[i]
        if value < 0x4000:
            # One byte or two: without a branch, since data decides which. A second byte that
            # is not needed is 0, and overwritten by what follows or by the end of the object.
            more = value >= 0x80
            out[0] = <uint8_t>((value & 0x7F) | (more << 7))
            out[1] = <uint8_t>(value >> 7)
            out += 1 + more
        else:
            out = write_varint(out, value)
    return out - start


cdef Py_ssize_t _put_nibbles(
        const uint8_t* data, Py_ssize_t count, int data_type, bint signed, uint8_t* out,
) noexcept nogil:
    """The low four or two bits of each byte; the others may hold anything."""
    cdef int64_t sign = 8 if data_type < 31 else 2
    cdef int64_t value
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t i
    for i in range(count):
        value = data[i] & (2 * sign - 1)
        if signed:
            value = (value ^ sign) - sign
        if out == NULL:
            size += varint_size(<uint64_t>value)
        else:
            size += write_varint(out + size, <uint64_t>value) - (out + size)
    return size
