# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# distutils: define_macros = NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Nodes of a JSON document to arrays, for documents without a mistake.

Whatever is not plainly right gives None, never an error: `json_conversion` then
goes through the document value by value, finds the first mistake and words it.
"""

cimport numpy as cnp
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.dict cimport PyDict_SetItem
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.math cimport copysignf, fabsf
from libc.stdint cimport (
    INT32_MAX, INT32_MIN, UINT32_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t,
    uint64_t)
from libc.string cimport memcmp, memcpy

from salver.codecs.json_base64 cimport is_base64, unescape_base64
from salver.codecs.json_cursor cimport Slot
from salver.codecs.json_numbers cimport Numbers

cnp.import_array()

cdef enum Element:
    # The numbers of tensorflow.DataType.
    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    INT64 = 9
    BOOL = 10
    UINT32 = 22
    UINT64 = 23

cdef enum:
    MAX_RANK = 64  # of a NumPy array

cdef int[24] NUMPY_TYPES
NUMPY_TYPES[:] = [-1] * 24
NUMPY_TYPES[<int>FLOAT] = cnp.NPY_FLOAT
NUMPY_TYPES[<int>DOUBLE] = cnp.NPY_DOUBLE
NUMPY_TYPES[<int>INT32] = cnp.NPY_INT32
NUMPY_TYPES[<int>UINT8] = cnp.NPY_UINT8
NUMPY_TYPES[<int>INT16] = cnp.NPY_INT16
NUMPY_TYPES[<int>INT8] = cnp.NPY_INT8
NUMPY_TYPES[<int>STRING] = cnp.NPY_OBJECT
NUMPY_TYPES[<int>INT64] = cnp.NPY_INT64
NUMPY_TYPES[<int>BOOL] = cnp.NPY_BOOL
NUMPY_TYPES[<int>UINT32] = cnp.NPY_UINT32
NUMPY_TYPES[<int>UINT64] = cnp.NPY_UINT64


cdef inline int numpy_type(int element) noexcept:
    return NUMPY_TYPES[element] if 0 <= element < 24 else -1


cdef inline float narrowed(double number) noexcept:
    # Beyond the range of float32 lies infinity; below its normal range, zero.
    cdef float narrow = <float>number
    return copysignf(0.0, narrow) if fabsf(narrow) < <float>1.1754943508222875e-38 else narrow


# ---------------------------------------------------------------- numbers

cdef bint in_range(const Slot* slots, Py_ssize_t size, int64_t least, int64_t most) noexcept:
    cdef Py_ssize_t index
    cdef bint inside = True
    for index in range(size):
        inside &= (least <= slots[index].integer) & (slots[index].integer <= most)
    return inside


cdef bint store_reals(Numbers numbers, int element, void* out) noexcept:
    cdef Py_ssize_t index
    cdef const Slot* slots = numbers.slots
    if element == DOUBLE:
        if numbers.has_real:
            memcpy(out, slots, numbers.size * sizeof(double))
        else:
            for index in range(numbers.size):
                (<double*>out)[index] = <double>slots[index].integer
    elif numbers.has_real:
        for index in range(numbers.size):
            (<float*>out)[index] = narrowed(slots[index].real)
    else:
        for index in range(numbers.size):
            (<float*>out)[index] = <float><double>slots[index].integer
    return True


cdef bint store_integers(Numbers numbers, int element, void* out) noexcept:
    cdef Py_ssize_t index
    cdef Py_ssize_t size = numbers.size
    cdef const Slot* slots = numbers.slots
    if element == INT64 or element == UINT64:
        if element == UINT64 and not in_range(slots, size, 0, <int64_t>0x7FFFFFFFFFFFFFFFLL):
            return False
        if size:
            memcpy(out, slots, size * sizeof(int64_t))
    elif element == UINT32:
        if not in_range(slots, size, 0, UINT32_MAX):
            return False
        for index in range(size):
            (<uint32_t*>out)[index] = <uint32_t>slots[index].integer
    else:
        # The narrower types are checked against int32 only, and wrap.
        if not in_range(slots, size, INT32_MIN, INT32_MAX):
            return False
        if element == INT32:
            for index in range(size):
                (<int32_t*>out)[index] = <int32_t>slots[index].integer
        elif element == INT16:
            for index in range(size):
                (<int16_t*>out)[index] = <int16_t>slots[index].integer
        else:
            for index in range(size):
                (<int8_t*>out)[index] = <int8_t>slots[index].integer
    return True


cdef bint store_numbers(Numbers numbers, int element, char** out) noexcept:
    """Write all of `numbers`; False if one does not fit the type."""
    cdef int width = 4
    cdef bint stored
    if element == FLOAT or element == DOUBLE:
        stored = store_reals(numbers, element, out[0])
    elif numbers.has_real or element == STRING or element == BOOL:
        return False
    else:
        stored = store_integers(numbers, element, out[0])
    if element == DOUBLE or element == INT64 or element == UINT64:
        width = 8
    elif element == INT16:
        width = 2
    elif element == INT8 or element == UINT8:
        width = 1
    out[0] += numbers.size * width
    return stored


# ---------------------------------------------------------------- values

cdef bint store_integer(object node, int element, char* out) except -1:
    cdef int64_t number
    if element == UINT64:
        if node < 0:
            return False
        (<uint64_t*>out)[0] = <uint64_t>node
        return True
    if node > 0x7FFFFFFFFFFFFFFF:
        return False
    number = <int64_t>node
    if element == INT64:
        (<int64_t*>out)[0] = number
        return True
    if element == UINT32:
        (<uint32_t*>out)[0] = <uint32_t>number
        return 0 <= number <= UINT32_MAX
    if element == INT32:
        (<int32_t*>out)[0] = <int32_t>number
    elif element == INT16:
        (<int16_t*>out)[0] = <int16_t>number
    else:
        (<int8_t*>out)[0] = <int8_t>number
    return INT32_MIN <= number <= INT32_MAX


cdef bint store_value(object node, int element, char** out) except -1:
    """Write one value that is no list; False if it does not fit the type."""
    cdef PyObject** place
    if element == STRING:
        if not PyBytes_CheckExact(node):
            if not is_base64(node):
                return False
            node = unescape_base64(<object>PyTuple_GET_ITEM(node, 1))
            if node is None:
                return False
        place = <PyObject**>out[0]
        Py_INCREF(node)
        Py_XDECREF(place[0])
        place[0] = <PyObject*>node
        out[0] += sizeof(PyObject*)
        return True
    if element == BOOL:
        if type(node) is not bool:
            return False
        (<uint8_t*>out[0])[0] = node is True
        out[0] += 1
        return True
    if type(node) is not int and type(node) is not float:
        return False
    if element == FLOAT:
        (<float*>out[0])[0] = narrowed(<double>node)
        out[0] += 4
        return True
    if element == DOUBLE:
        (<double*>out[0])[0] = <double>node
        out[0] += 8
        return True
    if type(node) is not int or not store_integer(node, element, out[0]):
        return False
    if element == INT64 or element == UINT64:
        out[0] += 8
    elif element == INT32 or element == UINT32:
        out[0] += 4
    else:
        out[0] += 2 if element == INT16 else 1
    return True


cdef bint store(
    object node, int element, const cnp.npy_intp* shape, int rank, char** out
) except -1:
    """Write a node of exactly this shape; False if it has another, or wrong values."""
    cdef Numbers numbers
    cdef Py_ssize_t index
    if PyList_CheckExact(node):
        if rank == 0 or PyList_GET_SIZE(node) != shape[0]:
            return False
        for index in range(shape[0]):
            if not store(<object>PyList_GET_ITEM(node, index), element, shape + 1, rank - 1, out):
                return False
        return True
    if type(node) is Numbers:
        numbers = <Numbers>node
        if numbers.rank != rank:
            return False
        for index in range(rank):
            if numbers.shape[index] != shape[index]:
                return False
        return store_numbers(numbers, element, out)
    return rank == 0 and store_value(node, element, out)


cdef int measure(object node, cnp.npy_intp* shape, int rank) noexcept:
    """Add the sizes of a node, by its first elements, to the shape; the rank, or -1."""
    cdef Numbers numbers
    cdef int index
    while PyList_CheckExact(node):
        if rank == MAX_RANK:
            return -1
        shape[rank] = PyList_GET_SIZE(node)
        rank += 1
        if shape[rank - 1] == 0:
            return rank
        node = <object>PyList_GET_ITEM(node, 0)
    if type(node) is Numbers:
        numbers = <Numbers>node
        if rank + numbers.rank > MAX_RANK:
            return -1
        for index in range(numbers.rank):
            shape[rank + index] = numbers.shape[index]
        rank += numbers.rank
    return rank


cdef cnp.ndarray empty(int element, const cnp.npy_intp* shape, int rank, Py_ssize_t most):
    """An array to be filled; None for a type that JSON cannot carry, or a size above `most`."""
    cdef int index
    cdef Py_ssize_t size = 1
    cdef int number = numpy_type(element)
    if number < 0:
        return None
    for index in range(rank):
        # A ragged list may promise far more than the body can hold.
        if shape[index] and size > most // shape[index]:
            return None
        size *= shape[index]
    return <cnp.ndarray>cnp.PyArray_EMPTY(rank, <cnp.npy_intp*>shape, number, 0)


cdef cnp.ndarray array_of(object node, int element, Py_ssize_t most):
    """The whole node as an array; None if that needs a closer look."""
    cdef cnp.npy_intp[MAX_RANK] shape
    cdef int rank = measure(node, shape, 0)
    if rank < 0:
        return None
    cdef cnp.ndarray array = empty(element, shape, rank, most)
    if array is None:
        return None
    cdef char* out = <char*>cnp.PyArray_DATA(array)
    return array if store(node, element, shape, rank, &out) else None


# ---------------------------------------------------------------- requests

cdef inline Py_ssize_t place_of(tuple members, str name) except -2:
    """Where the first member of this name has its value; -1 without one."""
    cdef Py_ssize_t size, index
    cdef const char* text = PyUnicode_AsUTF8AndSize(name, &size)
    cdef bytes key
    for index in range(0, PyTuple_GET_SIZE(members), 2):
        key = <bytes>PyTuple_GET_ITEM(members, index)
        if PyBytes_GET_SIZE(key) == size and not memcmp(PyBytes_AS_STRING(key), text, size):
            return index + 1
    return -1


cdef cnp.ndarray named_rows(list rows, str name, int element, Py_ssize_t width, Py_ssize_t most):
    """One member of every row, stacked."""
    cdef cnp.npy_intp[MAX_RANK] shape
    cdef Py_ssize_t place = -1
    cdef Py_ssize_t first = -1
    cdef int rank = 0
    cdef char* out = NULL
    cdef cnp.ndarray array = None
    cdef bytes key
    shape[0] = PyList_GET_SIZE(rows)
    for row in rows:
        if not PyTuple_CheckExact(row) or PyTuple_GET_SIZE(row) != width or is_base64(row):
            return None
        place = place_of(<tuple>row, name)
        if place < 0:
            return None
        value = <object>PyTuple_GET_ITEM(row, place)
        if array is None:
            rank = measure(value, shape, 1)
            if rank < 0:
                return None
            array = empty(element, shape, rank, most)
            if array is None:
                return None
            out = <char*>cnp.PyArray_DATA(array)
        if not store(value, element, shape + 1, rank - 1, &out):
            return None
    return array


def rows(object instances, object inputs, Py_ssize_t max_size):
    cdef dict arrays = {}
    cdef cnp.ndarray array
    cdef bint named = False
    cdef Py_ssize_t count = len(inputs)
    if PyList_CheckExact(instances):
        if PyList_GET_SIZE(instances) == 0:
            return None
        first = <object>PyList_GET_ITEM(instances, 0)
        named = PyTuple_CheckExact(first) and not is_base64(first)
    elif type(instances) is not Numbers or (<Numbers>instances).shape[0] == 0:
        return None
    if not named and count != 1:
        return None
    for name, spec in inputs.items():
        if named:
            array = named_rows(<list>instances, name, spec.data_type, 2 * count, max_size)
        else:
            array = array_of(instances, spec.data_type, max_size)
        if array is None:
            return None
        PyDict_SetItem(arrays, name, array)
    return arrays


def columns(object value, object inputs, Py_ssize_t max_size):
    cdef dict arrays = {}
    cdef cnp.ndarray array
    cdef Py_ssize_t place
    cdef bint named = PyTuple_CheckExact(value) and not is_base64(value)
    if not named and len(inputs) != 1:
        return None
    for name, spec in inputs.items():
        item = value
        if named:
            place = place_of(<tuple>value, name)
            if place < 0:
                return None
            item = <object>PyTuple_GET_ITEM(value, place)
        array = array_of(item, spec.data_type, max_size)
        if array is None:
            return None
        PyDict_SetItem(arrays, name, array)
    return arrays


def float32_bytes(list values not None):
    cdef Py_ssize_t index
    cdef bytes data = PyBytes_FromStringAndSize(NULL, 4 * PyList_GET_SIZE(values))
    cdef float* out = <float*>PyBytes_AS_STRING(data)
    for index in range(PyList_GET_SIZE(values)):
        out[index] = narrowed(<double><object>PyList_GET_ITEM(values, index))
    return data
