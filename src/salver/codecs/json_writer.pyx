# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# distutils: define_macros = NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Arrays to the JSON of TensorFlow Serving's answers, blanks and line breaks included.

One buffer grows under one pass over the arrays. The layouts are those of rapidjson's
pretty writer with four blanks of indentation, its arrays on one line or not.
"""

cimport numpy as cnp
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport strlen

import numpy as np

from salver.codecs.json_buffer cimport (
    Buffer, put, put_base64, put_line, put_string, put_text, reserve)
from salver.codecs.json_decimal cimport (
    MAX_NUMBER_BYTES, put_double, put_float, put_int64, put_uint64)

from salver.core.data_type import data_type_of
from salver.core.deep_array import DeepArray
from salver.errors import InvalidArgument, Unimplemented

cnp.import_array()

cdef enum Element:
    UNWRITABLE, FLOAT, DOUBLE, INT8, UINT8, INT16, INT32, UINT32, INT64, UINT64, BOOL, TEXT, BASE64

cdef enum:
    LONG_NUMBERS = 4096

cdef struct Tensor:
    # What is left of an array to be written: `at` moves on with each element.
    const char* at
    Element element
    int width
    int rank
    const cnp.npy_intp* shape


cdef bytes taken(Buffer* out):
    return PyBytes_FromStringAndSize(out.begin, out.at - out.begin)


# ---------------------------------------------------------------- values

cdef inline int put_number(Buffer* out, Tensor* tensor) except -1 nogil:
    cdef const char* at = tensor.at
    reserve(out, MAX_NUMBER_BYTES + 2)
    if tensor.element == FLOAT:
        out.at = put_float(out.at, (<const float*>at)[0])
    elif tensor.element == DOUBLE:
        out.at = put_double(out.at, (<const double*>at)[0])
    elif tensor.element == BOOL:
        return put_text(out, b"true" if at[0] else b"false")
    elif tensor.element == INT64:
        out.at = put_int64(out.at, (<const int64_t*>at)[0])
    elif tensor.element == INT32:
        out.at = put_int64(out.at, (<const int32_t*>at)[0])
    elif tensor.element == UINT64:
        out.at = put_uint64(out.at, (<const uint64_t*>at)[0])
    elif tensor.element == UINT32:
        out.at = put_int64(out.at, (<const uint32_t*>at)[0])
    elif tensor.element == INT16:
        out.at = put_int64(out.at, (<const int16_t*>at)[0])
    elif tensor.element == INT8:
        out.at = put_int64(out.at, (<const int8_t*>at)[0])
    else:
        out.at = put_int64(out.at, (<const uint8_t*>at)[0])
    return 0


cdef bytes string_at(const char* at):
    """The string of one element: bytes as they are, text in UTF-8."""
    cdef PyObject* element = (<PyObject**>at)[0]
    if element is not NULL:
        value = <object>element
        if PyBytes_CheckExact(value):
            return <bytes>value
        if isinstance(value, bytes):
            return bytes(value)
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
    raise InvalidArgument("Failed to write JSON value for tensor type: string")


cdef int put_bytes(Buffer* out, bytes value, int depth) except -1:
    put(out, b"{", 1)
    put_line(out, depth + 1)
    put_text(out, b'"b64": ')
    put_base64(out, <const uint8_t*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    put_line(out, depth)
    return put(out, b"}", 1)


cdef int put_string_value(Buffer* out, Tensor* tensor, int depth) except -1:
    cdef bytes value = string_at(tensor.at)
    if tensor.element == BASE64:
        return put_bytes(out, value, depth)
    return put_string(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


cdef inline int put_value(Buffer* out, Tensor* tensor, int depth) except -1 nogil:
    """The next element, which stands inside `depth` arrays and objects."""
    if tensor.element < TEXT:
        put_number(out, tensor)
    else:
        with gil:
            put_string_value(out, tensor, depth)
    tensor.at += tensor.width
    return 0


cdef int put_inline(Buffer* out, Tensor* tensor, int axis, int depth) except -1 nogil:
    """All that lies below an axis, on one line."""
    cdef Py_ssize_t index
    if axis == tensor.rank:
        return put_value(out, tensor, depth)
    put(out, b"[", 1)
    for index in range(tensor.shape[axis]):
        if index:
            put(out, b", ", 2)
        put_inline(out, tensor, axis + 1, depth + 1)
    return put(out, b"]", 1)


cdef int put_expanded(Buffer* out, Tensor* tensor, int axis, int depth) except -1 nogil:
    """All that lies below an axis, every element on its own line."""
    cdef Py_ssize_t index
    if axis == tensor.rank:
        return put_value(out, tensor, depth)
    put(out, b"[", 1)
    for index in range(tensor.shape[axis]):
        if index:
            put(out, b",", 1)
        put_line(out, depth + 1)
        put_expanded(out, tensor, axis + 1, depth + 1)
    if tensor.shape[axis]:
        put_line(out, depth)
    return put(out, b"]", 1)


# ---------------------------------------------------------------- answers

cdef bint is_long(const Tensor* tensor) noexcept:
    """Whether writing takes so long that letting go of the interpreter lock pays."""
    cdef int axis
    cdef double size = 1  # no overflow, whatever the shape
    for axis in range(tensor.rank):
        size *= tensor.shape[axis]
    return tensor.element < TEXT and size >= LONG_NUMBERS


cdef Element element_of(cnp.ndarray array) noexcept:
    cdef int number = cnp.PyArray_TYPE(array)
    cdef int width = cnp.PyArray_ITEMSIZE(array)
    if number == cnp.NPY_FLOAT:
        return FLOAT
    if number == cnp.NPY_DOUBLE:
        return DOUBLE
    if number == cnp.NPY_BOOL:
        return BOOL
    if number == cnp.NPY_OBJECT:
        return TEXT
    if cnp.PyTypeNum_ISSIGNED(number):
        return INT64 if width == 8 else INT32 if width == 4 else INT16 if width == 2 else INT8
    if cnp.PyTypeNum_ISUNSIGNED(number) and width != 2:
        return UINT64 if width == 8 else UINT32 if width == 4 else UINT8
    return UNWRITABLE


cdef cnp.ndarray plain(object value):
    """The array in C order and native byte order, strings as objects."""
    cdef cnp.ndarray array
    if cnp.PyArray_CheckExact(value):
        array = <cnp.ndarray>value
        if cnp.PyArray_ISCARRAY_RO(array) and cnp.PyArray_TYPE(array) < cnp.NPY_STRING:
            return array
    if isinstance(value, DeepArray):
        raise Unimplemented(
            f"The result has {len(value.dims)} axes; JSON is written of 64 at the most: use gRPC")
    array = np.asarray(value)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


cdef int fill(Tensor* tensor, cnp.ndarray array, bint is_bytes) except -1:
    tensor.element = element_of(array)
    if tensor.element == TEXT and is_bytes:
        tensor.element = BASE64
    if tensor.element == UNWRITABLE and array.size:
        raise InvalidArgument(
            "Failed to write JSON value for tensor type: "
            f"{data_type_of(array.dtype).short_name}")
    tensor.at = <const char*>cnp.PyArray_DATA(array)
    tensor.width = cnp.PyArray_ITEMSIZE(array)
    tensor.rank = cnp.PyArray_NDIM(array)
    tensor.shape = cnp.PyArray_DIMS(array)
    return 0


cdef int put_name(Buffer* out, str name) except -1:
    cdef bytes text = name.encode("utf-8", "surrogateescape")
    put_string(out, PyBytes_AS_STRING(text), strlen(PyBytes_AS_STRING(text)))
    return put(out, b": ", 2)


cdef Py_ssize_t batch_size(list names, list arrays) except -1:
    cdef Py_ssize_t size = -1
    cdef Py_ssize_t own, index
    cdef cnp.ndarray array
    for index in range(len(arrays)):
        array = <cnp.ndarray>arrays[index]
        if cnp.PyArray_NDIM(array) == 0:
            raise InvalidArgument(f"Tensor name: {names[index]} has no shape information ")
        own = cnp.PyArray_DIMS(array)[0]
        if index and own != size:
            raise InvalidArgument(
                f"Tensor name: {names[index]} has inconsistent batch size: {own} "
                f"expecting: {size}")
        size = own
    return size


cdef int put_bare_rows(Buffer* out, Py_ssize_t size, Tensor* tensor) except -1 nogil:
    """All rows of the only output, side by side."""
    cdef Py_ssize_t row
    for row in range(size):
        if row:
            put(out, b", ", 2)
        put_inline(out, tensor, 1, 2)
    return put_line(out, 1) if size else 0


cdef int put_rows(Buffer* out, Py_ssize_t size, list names, Tensor* tensors) except -1:
    cdef Py_ssize_t row, index
    cdef Py_ssize_t count = len(names)
    put_text(out, b'{\n    "predictions": [')
    if count == 1:
        if is_long(tensors):
            with nogil:
                put_bare_rows(out, size, tensors)
        else:
            put_bare_rows(out, size, tensors)
        return put_text(out, b"]\n}")
    for row in range(size):
        if row:
            put(out, b",", 1)
        put_line(out, 2)
        put(out, b"{", 1)
        for index in range(count):
            if index:
                put(out, b",", 1)
            put_line(out, 3)
            put_name(out, names[index])
            put_inline(out, &tensors[index], 1, 3)
        put_line(out, 2)
        put(out, b"}", 1)
    if size:
        put_line(out, 1)
    return put_text(out, b"]\n}")


cdef int put_column(Buffer* out, Tensor* tensor, int depth) except -1:
    if is_long(tensor):
        with nogil:
            put_expanded(out, tensor, 0, depth)
        return 0
    return put_expanded(out, tensor, 0, depth)


cdef int put_columns(Buffer* out, list names, Tensor* tensors) except -1:
    cdef Py_ssize_t index
    cdef Py_ssize_t count = len(names)
    put_text(out, b'{\n    "outputs": ')
    if count == 1:
        put_column(out, &tensors[0], 1)
    else:
        put(out, b"{", 1)
        for index in range(count):
            if index:
                put(out, b",", 1)
            put_line(out, 2)
            put_name(out, names[index])
            put_column(out, &tensors[index], 2)
        put_line(out, 1)
        put(out, b"}", 1)
    return put_text(out, b"\n}")


def encode_predict(object outputs not None, bint row_format):
    cdef Buffer out
    cdef Tensor one
    cdef Tensor* tensors = &one
    cdef list names = list(outputs)
    cdef list arrays = [plain(value) for value in outputs.values()]
    cdef Py_ssize_t count = len(names)
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t index
    cdef bint is_bytes
    if count == 0:
        raise InvalidArgument("Cannot convert empty tensor map to JSON")
    if row_format:
        size = batch_size(names, arrays)
    out.begin = out.at = out.end = NULL
    try:
        if count > 1:
            tensors = <Tensor*>realloc(NULL, count * sizeof(Tensor))
            if tensors is NULL:
                raise MemoryError
        for index in range(count):
            is_bytes = (<str>names[index]).endswith("_bytes")
            fill(&tensors[index], <cnp.ndarray>arrays[index], is_bytes)
        if row_format:
            put_rows(&out, size, names, tensors)
        else:
            put_columns(&out, names, tensors)
        return taken(&out)
    finally:
        free(out.begin)
        if tensors is not &one:
            free(tensors)


def encode_classify(classes, scores):
    cdef Buffer out
    cdef Tensor labels, values
    cdef cnp.ndarray label_array = None if classes is None else plain(classes)
    cdef cnp.ndarray score_array = None if scores is None else plain(
        np.asarray(scores, np.float32))
    cdef cnp.ndarray given = score_array if label_array is None else label_array
    cdef Py_ssize_t example, index, examples
    examples = 0 if given is None else given.shape[0]
    if examples == 0:
        raise InvalidArgument("Cannot convert empty ClassificationResults to JSON")
    out.begin = out.at = out.end = NULL
    try:
        if label_array is not None:
            fill(&labels, label_array, False)
        if score_array is not None:
            fill(&values, score_array, False)
        put_text(&out, b'{\n    "results": [')
        for example in range(examples):
            put_text(&out, b", [" if example else b"[")
            for index in range(given.shape[1]):
                put_text(&out, b", [" if index else b"[")
                if label_array is None:
                    put_text(&out, b'""')
                else:
                    put_value(&out, &labels, 4)
                put(&out, b", ", 2)
                if score_array is None:
                    put_text(&out, b"0.0")
                else:
                    put_value(&out, &values, 4)
                put(&out, b"]", 1)
            put(&out, b"]", 1)
        put_text(&out, b"\n    ]\n}")
        return taken(&out)
    finally:
        free(out.begin)


def encode_regress(values):
    cdef Buffer out
    cdef Tensor tensor
    cdef cnp.ndarray array = plain(np.asarray(values, np.float32).reshape(-1))
    if array.size == 0:
        raise InvalidArgument("Cannot convert empty RegressionResults to JSON")
    out.begin = out.at = out.end = NULL
    try:
        fill(&tensor, array, False)
        put_text(&out, b'{\n    "results": ')
        put_inline(&out, &tensor, 0, 1)
        put_text(&out, b"\n}")
        return taken(&out)
    finally:
        free(out.begin)


def encode_error(message):
    cdef Buffer out
    cdef bytes text
    if isinstance(message, bytes):
        text = message
    else:
        try:
            text = message.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            text = message.encode("utf-8", "surrogatepass")
    out.begin = out.at = out.end = NULL
    try:
        put_text(&out, b'{\n    "error": ')
        put_string(&out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        put_text(&out, b"\n}")
        return taken(&out)
    finally:
        free(out.begin)
