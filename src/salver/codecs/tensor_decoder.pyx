# distutils: define_macros=NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
# cython: boundscheck=False, wraparound=False, cdivision=True
"""TensorProto to NumPy.

Source: `tensorflow::Tensor::FromProto`, whose rules for too few and too many values,
missing shapes and wrong fields are kept.
"""

cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport (
    INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memcpy, memset

from salver.codecs.protobuf_wire cimport Span, join_varint, read_varint
from salver.codecs.tensor_layout cimport (
    DATA_TYPES, FLOAT8, LAYOUTS, RAW, STRING_VAL, STRINGS, TRUTHS, UNSUPPORTED, Layout,
)
from salver.codecs.tensor_scanner cimport (
    INLINE_RANK, Tensor, next_piece, read_long_shape, scan_tensor,
)

from salver.core.data_type import DataType
from salver.core.deep_array import deep_array
from salver.errors import InvalidArgument

cdef extern from "numpy/arrayobject.h":
    cnp.ndarray PyArray_NewFromDescr(
        void* subtype, void* numpy_type, int rank, const cnp.npy_intp* shape,
        const cnp.npy_intp* strides, void* data, int flags, void* parent)
    cnp.ndarray PyArray_Zeros(int rank, const cnp.npy_intp* shape, void* numpy_type, int fortran)

cnp.import_array()

cdef enum:
    MAX_RANK = 64  # of a NumPy array
    MAX_DEEP_RANK = 254  # of a tensor

# The most that one tensor may take in memory. A message of a few bytes can ask for any
# size, since missing values are filled in.
cdef int64_t MAX_TENSOR_BYTES = 1 << 31
# What may be filled in beyond the values that are sent: a client that leaves out this many
# would have a few bytes take the server's time and memory.
cdef int64_t MAX_FILLED_BYTES = 1 << 28
# A string is worth more than its pointer: TensorFlow and Python each have a head for it.
cdef int64_t STRING_BYTES = 64

cdef struct Form:
    # What the values of one tensor become.
    const Layout* layout
    const int64_t* shape
    int rank
    int64_t elements


def decode_tensor(data):
    cdef Span span
    cdef Tensor tensor
    cdef object owner = buffer_owner(data, &span)
    if not scan_tensor(span, &tensor):
        raise InvalidArgument("malformed TensorProto")
    return array_of(&tensor, owner)


cdef object buffer_owner(object data, Span* span):
    """The span of any bytes-like object, and what must live as long as it is used."""
    cdef Py_buffer view
    if PyBytes_Check(data):
        span.at = <const uint8_t*>PyBytes_AS_STRING(data)
        span.end = span.at + PyBytes_GET_SIZE(data)
        return data
    # The memoryview goes on holding the buffer when our own short view is released.
    owner = memoryview(data)
    PyObject_GetBuffer(owner, &view, PyBUF_SIMPLE)
    span.at = <const uint8_t*>view.buf
    span.end = span.at + view.len
    PyBuffer_Release(&view)
    return owner


cdef cnp.ndarray array_of(const Tensor* tensor, object owner):
    """The array of a scanned tensor; `owner` holds the memory of the message."""
    cdef Form form
    cdef int64_t[MAX_RANK] shape
    if tensor.rank > MAX_RANK:
        return _deep_array_of(tensor, owner)
    form.layout = _layout_of(tensor)
    form.rank = tensor.rank
    form.shape = &tensor.shape[0]
    if tensor.rank > INLINE_RANK:
        read_long_shape(tensor, shape, MAX_RANK)
        form.shape = &shape[0]
    form.elements = _count_elements(&form)
    return _values(tensor, &form, owner)


cdef cnp.ndarray _deep_array_of(const Tensor* tensor, object owner):
    """The same of more dimensions than NumPy has."""
    cdef Form form
    cdef int64_t[MAX_DEEP_RANK] shape
    cdef int i
    if tensor.rank > MAX_DEEP_RANK:
        raise InvalidArgument(f"{tensor.rank} dimensions, limit {MAX_DEEP_RANK}")
    form.layout = _layout_of(tensor)
    form.rank = tensor.rank
    read_long_shape(tensor, shape, MAX_DEEP_RANK)
    form.shape = &shape[0]
    form.elements = _count_elements(&form)
    form.rank = 1
    form.shape = &form.elements
    dims = [shape[i] for i in range(tensor.rank)]
    return deep_array(_values(tensor, &form, owner), dims)


cdef const Layout* _layout_of(const Tensor* tensor) except NULL:
    cdef const Layout* layout
    if not 0 < tensor.data_type < DATA_TYPES:
        raise InvalidArgument(f"a tensor cannot have data type {tensor.data_type}")
    layout = &LAYOUTS[tensor.data_type]
    if layout.coding == UNSUPPORTED:
        raise InvalidArgument(f"{DataType(tensor.data_type).label} has no values to send")
    return layout


cdef cnp.ndarray _values(const Tensor* tensor, Form* form_, object owner):
    cdef Form form = form_[0]
    if form.elements == 0:
        return _new_array(&form)
    _check_filled(&form, tensor.body.end - tensor.body.at)
    if form.layout.coding == STRINGS:
        if tensor.content.at != tensor.content.end:
            return _strings_from_content(tensor, &form)
        return _strings_from_field(tensor, &form)
    if tensor.content.at != tensor.content.end:
        return _from_content(tensor, &form, owner)
    if form.layout.coding == RAW:
        return _from_raw_field(tensor, &form, owner)
    if form.layout.coding == FLOAT8:
        return _from_bytes(&form, tensor.float8, owner)
    return _from_varint_field(tensor, &form)


cdef int64_t _count_elements(const Form* form) except -1:
    cdef int64_t product = 1  # of all but zeros, which NumPy also wants to be a possible size
    cdef bint empty = False
    cdef int i
    for i in range(form.rank):
        if form.shape[i] < 0:
            raise InvalidArgument(f"dimension {i} is negative: {form.shape[i]}")
        if form.shape[i] == 0:
            empty = True
        elif product > INT64_MAX // form.layout.width // form.shape[i]:
            raise InvalidArgument("the shape is too large: limit 2 GiB")
        else:
            product *= form.shape[i]
    if empty:
        return 0
    if product > MAX_TENSOR_BYTES // form.layout.width:
        raise InvalidArgument(f"{product} elements of {form.layout.width} bytes: limit 2 GiB")
    return product


cdef inline int _check_filled(const Form* form, int64_t message_bytes) except -1:
    """Refuse a shape of far more elements than such a message can bring: one takes a byte."""
    cdef int64_t width = STRING_BYTES if form.layout.coding == STRINGS else form.layout.width
    if form.elements - message_bytes > MAX_FILLED_BYTES // width:
        raise InvalidArgument(
            f"{form.elements} elements in {message_bytes} bytes: too many would be filled in, "
            "limit 256 MiB")
    return 0


cdef inline cnp.ndarray _new_array(const Form* form):
    Py_INCREF(<object>form.layout.numpy_type)
    return PyArray_NewFromDescr(
        <void*>cnp.ndarray, form.layout.numpy_type, form.rank,
        <const cnp.npy_intp*>form.shape, NULL, NULL, 0, NULL)


cdef inline cnp.ndarray _zeros(const Form* form):
    Py_INCREF(<object>form.layout.numpy_type)
    return PyArray_Zeros(
        form.rank, <const cnp.npy_intp*>form.shape, form.layout.numpy_type, 0)


cdef inline cnp.ndarray _view(const Form* form, const uint8_t* data, object owner):
    """A read-only array over the message itself; perhaps not aligned."""
    cdef cnp.ndarray array
    Py_INCREF(<object>form.layout.numpy_type)
    array = PyArray_NewFromDescr(
        <void*>cnp.ndarray, form.layout.numpy_type, form.rank,
        <const cnp.npy_intp*>form.shape, NULL, <void*>data, cnp.NPY_ARRAY_C_CONTIGUOUS, NULL)
    cnp.set_array_base(array, owner)
    cnp.PyArray_UpdateFlags(array, cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_F_CONTIGUOUS)
    return array


cdef cnp.ndarray _from_content(const Tensor* tensor, const Form* form, object owner):
    cdef Py_ssize_t size = tensor.content.end - tensor.content.at
    cdef Py_ssize_t needed = form.elements * form.layout.width
    cdef const uint8_t* at = tensor.content.at
    if size != needed:
        raise InvalidArgument(f"tensor_content has {size} bytes, the shape needs {needed}")
    if form.layout.coding == TRUTHS:
        while at < tensor.content.end:
            if at[0] > 1:
                raise InvalidArgument(f"tensor_content has {at[0]} for a bool")
            at += 1
    return _view(form, tensor.content.at, owner)


cdef cnp.ndarray _from_raw_field(const Tensor* tensor, const Form* form, object owner):
    """Fixed-width values: the array's own bytes, if they lie in one piece."""
    cdef Span body = tensor.body
    cdef Span piece = tensor.values
    cdef cnp.ndarray array
    cdef uint8_t* out
    cdef Py_ssize_t room = form.elements * form.layout.width
    cdef Py_ssize_t filled = 0
    cdef Py_ssize_t whole
    if not tensor.scattered:
        if tensor.values_field != form.layout.field:
            piece.end = piece.at = body.at
        return _from_bytes(form, piece, owner)
    array = _zeros(form)
    out = <uint8_t*>cnp.PyArray_DATA(array)
    while filled < room and next_piece(&body, form.layout.field, &piece):
        memcpy(out + filled, piece.at, min(piece.end - piece.at, room - filled))
        filled += min(piece.end - piece.at, room - filled)
    # Half a complex number does not count.
    whole = filled // form.layout.width
    memset(out + whole * form.layout.width, 0, filled % form.layout.width)
    _repeat_last(out, whole, form)
    return array


cdef cnp.ndarray _from_bytes(const Form* form, Span piece, object owner):
    """One piece of the array's own bytes, which may be too many or too few."""
    cdef Py_ssize_t whole = (piece.end - piece.at) // form.layout.width
    cdef cnp.ndarray array
    if whole >= form.elements:
        return _view(form, piece.at, owner)
    array = _zeros(form)
    memcpy(cnp.PyArray_DATA(array), piece.at, whole * form.layout.width)
    _repeat_last(<uint8_t*>cnp.PyArray_DATA(array), whole, form)
    return array


cdef void _repeat_last(uint8_t* out, int64_t filled, const Form* form) noexcept nogil:
    """Fill up with the last value there is; without one nothing changes."""
    cdef int64_t size
    cdef int64_t done = 0
    cdef int64_t width = form.layout.width
    cdef int64_t missing = (form.elements - filled) * width
    cdef uint8_t* last = out + (filled - 1) * width
    if filled == 0:
        return
    # Each round copies all that is there, the last value included: twice as much.
    while done < missing:
        size = min(done + width, missing - done)
        memcpy(last + width + done, last, size)
        done += size


cdef cnp.ndarray _from_varint_field(const Tensor* tensor, const Form* form):
    cdef const Layout* layout = form.layout
    cdef cnp.ndarray array
    cdef Span body = tensor.body
    cdef Span piece = tensor.values
    cdef uint8_t* out
    cdef int64_t filled = 0
    if not tensor.scattered and tensor.values_field != layout.field:
        return _zeros(form)
    array = _new_array(form)
    out = <uint8_t*>cnp.PyArray_DATA(array)
    if tensor.scattered and not next_piece(&body, layout.field, &piece):
        piece.at = piece.end = body.at
    while True:
        filled += _fill_varints(
            layout, piece, out + filled * layout.width, form.elements - filled)
        if filled == form.elements or not tensor.scattered:
            break
        if not next_piece(&body, layout.field, &piece):
            break
    if filled == 0:
        memset(out, 0, form.elements * layout.width)
    _repeat_last(out, filled, form)
    return array


ctypedef fused Unsigned:
    uint8_t
    uint16_t
    uint32_t
    uint64_t


cdef int64_t _fill_varints(
        const Layout* layout, Span piece, uint8_t* out, int64_t room) noexcept nogil:
    cdef bint truths = layout.coding == TRUTHS
    if layout.width == 1:
        return _read_varints(piece, out, room, truths)
    if layout.width == 2:
        return _read_varints(piece, <uint16_t*>out, room, truths)
    if layout.width == 4:
        return _read_varints(piece, <uint32_t*>out, room, truths)
    return _read_varints(piece, <uint64_t*>out, room, truths)


cdef int64_t _read_varints(
        Span piece, Unsigned* out, int64_t room, bint truths) noexcept nogil:
    """Read at most `room` varints of a scanned piece, each cut down to the element."""
    cdef Unsigned* first = out
    cdef Unsigned* last = out + room
    cdef const uint8_t* at = piece.at
    cdef uint64_t value
    cdef int length
    cdef int shift
    cdef int i
    while at < piece.end and out < last:
        if piece.end - at >= 8:
            memcpy(&value, at, 8)
            if value & <uint64_t>0x8080808080808080 == 0 and last - out >= 8:
                for i in range(8):
                    out[i] = (at[i] != 0) if truths else at[i]
                at += 8
                out += 8
                continue
            length = join_varint(&value)
            if length:
                out[0] = (value != 0) if truths else <Unsigned>value
                at += length
                out += 1
                continue
        value = 0
        shift = 0
        while at[0] >= 0x80:
            value |= <uint64_t>(at[0] & 0x7F) << shift
            at += 1
            shift += 7
        value |= <uint64_t>at[0] << shift
        at += 1
        out[0] = (value != 0) if truths else <Unsigned>value
        out += 1
    return out - first


cdef cnp.ndarray _strings_from_field(const Tensor* tensor, const Form* form):
    cdef cnp.ndarray array = _new_array(form)
    cdef PyObject** out = <PyObject**>cnp.PyArray_DATA(array)
    cdef Span body = tensor.body
    cdef Span piece
    cdef int64_t i = 0
    cdef object text = b""
    if tensor.scattered or tensor.values_field == STRING_VAL:
        while i < form.elements and next_piece(&body, STRING_VAL, &piece):
            text = PyBytes_FromStringAndSize(<const char*>piece.at, piece.end - piece.at)
            _set_item(&out[i], text)
            i += 1
    while i < form.elements:
        _set_item(&out[i], text)
        i += 1
    return array


cdef cnp.ndarray _strings_from_content(const Tensor* tensor, const Form* form):
    """All lengths as varints, then the bytes back to back."""
    cdef Span lengths = tensor.content
    cdef Span texts = tensor.content
    cdef cnp.ndarray array
    cdef PyObject** out
    cdef uint64_t size
    cdef uint64_t total = 0
    cdef int64_t i
    for i in range(form.elements):
        if not read_varint(&texts, &size) or size > <uint64_t>(texts.end - texts.at):
            raise InvalidArgument("tensor_content is too short for its strings")
        total += size
    if total != <uint64_t>(texts.end - texts.at):
        raise InvalidArgument("tensor_content does not have the length of its strings")
    array = _new_array(form)
    out = <PyObject**>cnp.PyArray_DATA(array)
    for i in range(form.elements):
        read_varint(&lengths, &size)
        _set_item(&out[i], PyBytes_FromStringAndSize(<const char*>texts.at, size))
        texts.at += size
    return array


cdef inline void _set_item(PyObject** slot, object item) noexcept:
    Py_INCREF(item)
    Py_XDECREF(slot[0])
    slot[0] = <PyObject*>item
