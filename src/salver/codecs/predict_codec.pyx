# distutils: define_macros=NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
# cython: boundscheck=False, wraparound=False, cdivision=True
"""PredictRequest and PredictResponse between bytes and NumPy, without protobuf's objects."""

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from salver.codecs.protobuf_wire cimport (
    DELIMITED, MAX_MESSAGE_BYTES, VARINT, Span, delimited_size, read_delimited, read_tag,
    read_varint, skip_field, varint_size, write_bytes, write_varint,
)
from salver.codecs.tensor_decoder cimport array_of, buffer_owner
from salver.codecs.tensor_encoder cimport (
    Plan, has_wire_values, plan_tensor, write_head, write_tensor,
)
from salver.codecs.tensor_scanner cimport Tensor, scan_tensor

import numpy as np

from salver.errors import InvalidArgument, ResourceExhausted

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    str PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)

cnp.import_array()

cdef enum:
    NAME_SLOTS = 256  # a power of two
    MAX_CACHED_NAME = 48
    OUTPUTS_ON_STACK = 8
    GRPC_PREFIX_BYTES = 5
    LONG_TENSOR_BYTES = 8192
    LONG_VALUES_BYTES = 65536

# Requests repeat a few names: one str for each, with its hash known. Names that share a slot
# replace each other.
cdef list NAMES = [""] * NAME_SLOTS


@cython.final
@cython.freelist(16)
@cython.no_gc
cdef class PredictRequest:
    cdef readonly bint has_model_spec
    cdef readonly str model_name
    cdef readonly object version
    cdef readonly object version_label
    cdef readonly str signature_name
    cdef readonly list output_filter
    cdef dict _positions  # in _tensors, by name of the input
    cdef Tensor* _tensors
    cdef Py_ssize_t _count
    cdef Py_ssize_t _capacity
    cdef object _owner  # of the bytes that _tensors point into

    def __cinit__(self):
        self.model_name = self.signature_name = ""
        self.output_filter = []
        self._positions = {}

    def __init__(self):
        raise TypeError("made by decode_predict_request")

    def __dealloc__(self):
        PyMem_Free(self._tensors)

    @property
    def input_names(self):
        return list(self._positions)

    def tensor(self, str name not None):
        cdef Py_ssize_t position = self._positions[name]
        return array_of(&self._tensors[position], self._owner)


def decode_predict_request(data):
    cdef PredictRequest request = PredictRequest.__new__(PredictRequest)
    cdef Span span
    cdef Span content
    cdef uint32_t tag
    request._owner = buffer_owner(data, &span)
    while span.at < span.end:
        _require(read_tag(&span, &tag))
        if tag == (1 << 3 | DELIMITED):
            _require(read_delimited(&span, &content))
            _read_model_spec(request, content)
        elif tag == (2 << 3 | DELIMITED):
            _require(read_delimited(&span, &content))
            _read_input(request, content)
        elif tag == (3 << 3 | DELIMITED):
            _require(read_delimited(&span, &content))
            request.output_filter.append(_name(content))
        else:
            _require(skip_field(&span, tag))
    return request


def first_tensor_data(head):
    cdef Span span
    cdef Span content
    cdef uint32_t tag
    cdef uint64_t size
    cdef int depth = 0  # PredictRequest, entry of `inputs`, TensorProto
    cdef object owner = buffer_owner(head, &span)
    cdef const uint8_t* start = span.at
    while read_tag(&span, &tag):
        if tag & 7 != DELIMITED:
            if not skip_field(&span, tag):
                break
            continue
        if not read_varint(&span, &size):
            break
        if depth < 2 and tag >> 3 == 2 and size >= LONG_TENSOR_BYTES:
            depth += 1
        elif depth == 2 and size >= LONG_TENSOR_BYTES:
            return span.at - start
        elif size > <uint64_t>(span.end - span.at):
            break
        else:
            span.at += size
    return -1


cdef inline int _require(bint good) except -1:
    if not good:
        raise InvalidArgument("malformed PredictRequest")
    return 0


cdef int _read_model_spec(PredictRequest request, Span span) except -1:
    """A second model_spec is merged into the first; of the version's oneof the last stays."""
    cdef Span content
    cdef uint32_t tag
    request.has_model_spec = True
    while span.at < span.end:
        _require(read_tag(&span, &tag))
        if tag & 7 != DELIMITED or not 1 <= tag >> 3 <= 4:
            _require(skip_field(&span, tag))
            continue
        _require(read_delimited(&span, &content))
        if tag >> 3 == 1:
            request.model_name = _name(content)
        elif tag >> 3 == 2:
            _read_version(request, content)
        elif tag >> 3 == 3:
            request.signature_name = _name(content)
        else:
            request.version_label = _name(content)
            request.version = None
    return 0


cdef int _read_version(PredictRequest request, Span span) except -1:
    """An Int64Value, where absent means 0 and unset something else."""
    cdef uint64_t value = 0
    cdef uint32_t tag
    if request.version is not None:
        value = <uint64_t><int64_t>request.version
    while span.at < span.end:
        _require(read_tag(&span, &tag))
        if tag == (1 << 3 | VARINT):
            _require(read_varint(&span, &value))
        else:
            _require(skip_field(&span, tag))
    request.version = <int64_t>value
    request.version_label = None
    return 0


cdef int _read_input(PredictRequest request, Span span) except -1:
    """A map entry: a key seen before replaces its value, a value given twice is merged."""
    cdef Span key
    cdef Span value
    cdef Span content
    cdef uint32_t tag
    cdef bytearray gathered = None
    cdef bytes joined
    key.at = key.end = value.at = value.end = span.end
    while span.at < span.end:
        _require(read_tag(&span, &tag))
        if tag == (1 << 3 | DELIMITED):
            _require(read_delimited(&span, &key))
        elif tag == (2 << 3 | DELIMITED):
            _require(read_delimited(&span, &content))
            if value.at == value.end:
                value = content
            elif content.at != content.end:
                # Protobuf's rule: merging is parsing the bytes of both as one message.
                if gathered is None:
                    gathered = bytearray((<char*>value.at)[:value.end - value.at])
                gathered += (<char*>content.at)[:content.end - content.at]
        else:
            _require(skip_field(&span, tag))
    if gathered is not None:
        joined = bytes(gathered)
        request._owner = request._owner, joined
        value.at = <const uint8_t*>PyBytes_AS_STRING(joined)
        value.end = value.at + len(joined)
    name = _name(key)
    position = request._positions.setdefault(name, request._count)
    if position == request._count:
        _add_tensor(request)
    _require(scan_tensor(value, &request._tensors[<Py_ssize_t>position]))
    return 0


cdef int _add_tensor(PredictRequest request) except -1:
    cdef Tensor* tensors = request._tensors
    if request._count == request._capacity:
        request._capacity = 2 * request._capacity if request._capacity else 1
        tensors = <Tensor*>PyMem_Realloc(tensors, request._capacity * sizeof(Tensor))
        if tensors == NULL:
            raise MemoryError
        request._tensors = tensors
    request._count += 1
    return 0


cdef str _name(Span span):
    """The text of a string field, the same object for a name seen shortly before."""
    cdef Py_ssize_t size = span.end - span.at
    cdef Py_ssize_t cached_size
    cdef const char* cached
    cdef uint64_t head = 0
    cdef uint64_t tail = 0
    cdef Py_ssize_t slot
    if size == 0:
        return ""
    if size > MAX_CACHED_NAME:
        return _text(span)
    memcpy(&head, span.at, min(size, 8))
    memcpy(&tail, span.end - min(size, 8), min(size, 8))
    head = (head ^ (tail << 1) ^ <uint64_t>size) * <uint64_t>0x9E3779B97F4A7C15
    slot = (head >> 48) & (NAME_SLOTS - 1)
    name = <str>NAMES[slot]
    cached = PyUnicode_AsUTF8AndSize(name, &cached_size)
    if cached_size == size and memcmp(cached, span.at, size) == 0:
        return name
    name = _text(span)
    NAMES[slot] = name
    return name


cdef str _text(Span span):
    try:
        return PyUnicode_DecodeUTF8(<const char*>span.at, span.end - span.at, NULL)
    except UnicodeDecodeError as error:
        raise InvalidArgument("malformed PredictRequest: a name is not UTF-8") from error


def encode_predict_response(
        names, arrays, str model_name not None, int64_t version, str signature_name not None,
        bint as_tensor_content=False, bint grpc_prefix=False, bint in_pieces=False):
    cdef Plan[OUTPUTS_ON_STACK] on_stack
    cdef Plan* plans = on_stack
    cdef list keys = list(names)
    cdef list values = list(arrays)
    cdef Py_ssize_t count = len(keys)
    if count != len(values):
        raise ValueError(f"{count} names for {len(values)} arrays")
    if count > OUTPUTS_ON_STACK:
        plans = <Plan*>PyMem_Malloc(count * sizeof(Plan))
        if plans == NULL:
            raise MemoryError
    try:
        return _encode(
            keys, values, plans, model_name, version, signature_name, as_tensor_content,
            GRPC_PREFIX_BYTES if grpc_prefix else 0, in_pieces)
    finally:
        if plans != on_stack:
            PyMem_Free(plans)


cdef object _encode(
        list names, list arrays, Plan* plans, str model_name, int64_t version,
        str signature_name, bint as_content, Py_ssize_t prefix, bint in_pieces):
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t apart = 0  # bytes that stay where they are, in the arrays
    cdef Py_ssize_t spec_size
    cdef Py_ssize_t version_size = 1 + varint_size(<uint64_t>version) if version else 0
    cdef Py_ssize_t i
    cdef bytes message
    cdef list pieces = None
    cdef uint8_t* out
    cdef uint8_t* cut
    for i in range(len(names)):
        arrays[i] = plan_tensor(arrays[i], as_content, &plans[i])
        size += delimited_size(_entry_size(names[i], &plans[i]))
        if in_pieces and _stays_apart(&plans[i]):
            apart += plans[i].values_size
    spec_size = (
        _string_size(model_name) + delimited_size(version_size) + _string_size(signature_name))
    size += delimited_size(spec_size)
    if size > MAX_MESSAGE_BYTES:
        raise ResourceExhausted(f"the response takes {size} bytes as a message, limit 2 GiB")
    message = PyBytes_FromStringAndSize(NULL, prefix + size - apart)
    out = <uint8_t*>PyBytes_AS_STRING(message)
    cut = out
    if prefix:
        out = _write_grpc_prefix(out, size)
    if apart:
        pieces = []
        rest = memoryview(message)
    for i in range(len(names)):
        out[0] = 1 << 3 | DELIMITED
        out = write_varint(out + 1, _entry_size(names[i], &plans[i]))
        out = _write_string(out, 1, names[i])
        out[0] = 2 << 3 | DELIMITED
        out = write_varint(out + 1, plans[i].size)
        if apart and _stays_apart(&plans[i]):
            out = write_head(arrays[i], &plans[i], out)
            pieces += (rest[:out - cut], _values(arrays[i]))
            rest = rest[out - cut:]
            cut = out
        else:
            out = write_tensor(arrays[i], &plans[i], out)
    out[0] = 2 << 3 | DELIMITED
    out = _write_string(write_varint(out + 1, spec_size), 1, model_name)
    out[0] = 2 << 3 | DELIMITED
    out = write_varint(out + 1, version_size)
    if version:
        out[0] = 1 << 3 | VARINT
        out = write_varint(out + 1, <uint64_t>version)
    _write_string(out, 3, signature_name)
    if pieces is None:
        return message
    pieces.append(rest)
    return pieces


cdef inline bint _stays_apart(const Plan* plan) noexcept:
    """Whether the values are so many that they are sent from where they are."""
    return plan.values_size >= LONG_VALUES_BYTES and has_wire_values(plan)


cdef object _values(cnp.ndarray array):
    # Types that are not NumPy's own have no buffers.
    return memoryview(array.reshape(-1).view(np.uint8))


cdef inline Py_ssize_t _entry_size(str name, const Plan* plan) except -1:
    return _string_size(name) + delimited_size(plan.size)


cdef inline Py_ssize_t _string_size(str text) except -1:
    """Of the whole field; an empty string is not sent."""
    cdef Py_ssize_t size
    PyUnicode_AsUTF8AndSize(text, &size)
    return delimited_size(size) if size else 0


cdef inline uint8_t* _write_string(uint8_t* out, int field, str text) except NULL:
    cdef Py_ssize_t size
    cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
    if size == 0:
        return out
    out[0] = <uint8_t>(field << 3 | DELIMITED)
    return write_bytes(write_varint(out + 1, size), data, size)


cdef inline uint8_t* _write_grpc_prefix(uint8_t* out, Py_ssize_t size) noexcept nogil:
    """Not compressed, then the size in four bytes, big end first. Source: gRPC over HTTP/2."""
    out[0] = 0
    out[1] = <uint8_t>(size >> 24)
    out[2] = <uint8_t>(size >> 16)
    out[3] = <uint8_t>(size >> 8)
    out[4] = <uint8_t>size
    return out + GRPC_PREFIX_BYTES
