# distutils: define_macros=NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION
"""NumPy arrays to TensorFlow's tensors and back."""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memcpy
from posix.stdlib cimport posix_memalign

import numpy as np

from salver._tensorflow.capi cimport TF_TString
from salver._tensorflow.library cimport api
from salver._tensorflow.library import TensorFlowError

cdef extern from "numpy/arrayobject.h":
    cnp.ndarray PyArray_NewFromDescr(
        void* subtype, void* numpy_type, int rank, const cnp.npy_intp* shape,
        const cnp.npy_intp* strides, void* data, int flags, void* parent)

cnp.import_array()

cdef enum:
    STRING = 7
    ALIGNMENT = 64  # what TensorFlow's kernels want, EIGEN_MAX_ALIGN_BYTES
    MAX_RANK = 64  # of a NumPy array
    MAX_DEEP_RANK = 254  # of a tensor
    INVALID_ARGUMENT = 3
    UNIMPLEMENTED = 12
    INTERNAL = 13

# Below these sizes a copy costs less than the bookkeeping that saves it.
cdef size_t SHARED_INPUT_BYTES = 8192
cdef size_t SHARED_OUTPUT_BYTES = 2048


cdef class ElementTypes:
    def __init__(self, numpy_types, deep_array):
        self._deep_array = deep_array
        self._by_number = {int(number): np.dtype(t) for number, t in numpy_types.items()}
        self._by_numpy_type = {t: number for number, t in self._by_number.items()}

    cdef object numpy_type(self, int number):
        return self._by_number.get(number)

    cdef int number(self, object numpy_type) except -1:
        found = self._by_numpy_type.get(numpy_type)
        if found is None:
            raise TensorFlowError(INVALID_ARGUMENT, f"No tensor has elements of type {numpy_type}")
        return found


cdef class _TensorMemory:
    """Owns the tensor under an array that shares its memory."""

    cdef void* tensor

    def __dealloc__(self):
        api.TF_DeleteTensor(self.tensor)


cdef void* tensor_of(object value, void* expected, int number, ElementTypes types) except NULL:
    cdef cnp.ndarray array
    cdef object dims = None
    if (
        not cnp.PyArray_CheckExact(value)
        or <void*>cnp.PyArray_DESCR(<cnp.ndarray>value) is not expected
        or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>value)
    ):
        array = _plain(value)
        number = types.number(array.dtype)
        dims = getattr(value, "dims", None)
    else:
        array = <cnp.ndarray>value
    cdef void* tensor
    cdef int rank = cnp.PyArray_NDIM(array)
    cdef const int64_t* shape = <const int64_t*>cnp.PyArray_DIMS(array)
    if dims is not None:
        # More axes than NumPy has: the elements lie in one line, the shape beside them.
        rank = cnp.PyArray_SIZE(<cnp.ndarray?>dims)
        shape = <const int64_t*>cnp.PyArray_DATA(<cnp.ndarray>dims)
    if number == STRING:
        tensor = _string_tensor(array, rank, shape)
    else:
        tensor = _number_tensor(array, number, rank, shape)
    if tensor is NULL:
        raise TensorFlowError(INTERNAL, f"No tensor can be made of {array!r}")
    return tensor


cdef cnp.ndarray _plain(object value):
    """The same elements, contiguous, in native byte order, strings as objects."""
    array = np.asarray(value)
    if array.dtype.kind == "U":
        array = np.strings.encode(array, "utf-8")
    if array.dtype.kind == "S":
        array = array.astype(object)
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)


cdef void* _number_tensor(cnp.ndarray array, int number, int rank, const int64_t* shape):
    cdef void* data = cnp.PyArray_DATA(array)
    cdef size_t size = cnp.PyArray_NBYTES(array)
    if size >= SHARED_INPUT_BYTES and <size_t>data % ALIGNMENT == 0:
        Py_INCREF(array)
        return api.TF_NewTensor(number, shape, rank, data, size, _release_array, <void*>array)
    cdef void* tensor = api.TF_AllocateTensor(number, shape, rank, size)
    if tensor is not NULL:
        memcpy(api.TF_TensorData(tensor), data, size)
    return tensor


cdef void _release_array(void* data, size_t size, void* array) noexcept with gil:
    # Any thread of TensorFlow's may be the last to use the tensor.
    Py_DECREF(<object>array)


cdef void* _string_tensor(cnp.ndarray array, int rank, const int64_t* shape) except? NULL:
    cdef size_t count = cnp.PyArray_SIZE(array)
    cdef size_t size = count * sizeof(TF_TString)
    cdef PyObject** elements = <PyObject**>cnp.PyArray_DATA(array)
    cdef void* data
    cdef TF_TString* strings
    cdef bytes text
    cdef size_t i
    if posix_memalign(&data, ALIGNMENT, size + 1):
        raise MemoryError
    strings = <TF_TString*>data
    for i in range(count):
        api.TF_StringInit(&strings[i])
    try:
        for i in range(count):
            text = _bytes_of(<object>elements[i]) if elements[i] is not NULL else _bytes_of(None)
            api.TF_StringCopy(&strings[i], PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    except BaseException:
        _free_strings(data, size, NULL)
        raise
    return api.TF_NewTensor(STRING, shape, rank, data, size, _free_strings, NULL)


cdef bytes _bytes_of(object element):
    if PyBytes_Check(element):
        return element
    if isinstance(element, str):
        return element.encode()
    raise TensorFlowError(
        INVALID_ARGUMENT, f"A string tensor has bytes, not {type(element).__name__}")


cdef void _free_strings(void* data, size_t size, void* _) noexcept nogil:
    cdef TF_TString* strings = <TF_TString*>data
    cdef size_t i
    for i in range(size // sizeof(TF_TString)):
        api.TF_StringDealloc(&strings[i])
    free(data)


cdef cnp.ndarray array_of(void* tensor, ElementTypes types):
    cdef _TensorMemory memory = _TensorMemory.__new__(_TensorMemory)
    memory.tensor = tensor
    cdef int number = api.TF_TensorType(tensor)
    cdef int rank = api.TF_NumDims(tensor)
    cdef cnp.npy_intp[MAX_DEEP_RANK] shape
    cdef cnp.npy_intp count = 1
    cdef int axis
    cdef cnp.dtype numpy_type = types.numpy_type(number)
    if numpy_type is None:
        raise TensorFlowError(UNIMPLEMENTED, f"A tensor of type {number} has no values to return")
    if rank > MAX_DEEP_RANK:
        raise TensorFlowError(
            UNIMPLEMENTED, f"The result has {rank} axes, more than {MAX_DEEP_RANK}")
    for axis in range(rank):
        shape[axis] = api.TF_Dim(tensor, axis)
        count *= shape[axis]
    if rank > MAX_RANK:
        dims = [shape[axis] for axis in range(rank)]
        shape[0] = count
        return types._deep_array(
            _array_of(memory, number, numpy_type, 1, shape, count), dims)
    return _array_of(memory, number, numpy_type, rank, shape, count)


cdef cnp.ndarray _array_of(
    _TensorMemory memory, int number, cnp.dtype numpy_type, int rank, cnp.npy_intp* shape,
    cnp.npy_intp count):
    cdef void* tensor = memory.tensor
    if number == STRING:
        return _string_array(api.TF_TensorData(tensor), rank, shape, count)
    cdef size_t size = api.TF_TensorByteSize(tensor)
    if size != <size_t>(count * numpy_type.itemsize):
        raise TensorFlowError(INTERNAL, f"{count} elements of {numpy_type} in {size} bytes")
    return _number_array(memory, numpy_type, rank, shape, size)


cdef cnp.ndarray _number_array(
    _TensorMemory memory, cnp.dtype numpy_type, int rank, cnp.npy_intp* shape, size_t size):
    cdef cnp.ndarray array
    cdef void* data = api.TF_TensorData(memory.tensor)
    cdef bint shared = size >= SHARED_OUTPUT_BYTES
    Py_INCREF(numpy_type)  # the array takes over a reference
    array = PyArray_NewFromDescr(
        <void*>cnp.ndarray, <void*>numpy_type, rank, shape, NULL, data if shared else NULL,
        cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED if shared else 0, NULL)
    if shared:
        # Read-only: the memory may be that of a constant or a variable of the model.
        cnp.set_array_base(array, memory)
    else:
        memcpy(cnp.PyArray_DATA(array), data, size)
    return array


cdef cnp.ndarray _string_array(
    const void* data, int rank, cnp.npy_intp* shape, cnp.npy_intp count):
    cdef cnp.ndarray array = cnp.PyArray_SimpleNew(rank, shape, cnp.NPY_OBJECT)
    cdef PyObject** elements = <PyObject**>cnp.PyArray_DATA(array)
    cdef const TF_TString* strings = <const TF_TString*>data
    cdef bytes text
    cdef cnp.npy_intp i
    for i in range(count):
        text = PyBytes_FromStringAndSize(
            api.TF_StringGetDataPointer(&strings[i]), api.TF_StringGetSize(&strings[i]))
        Py_INCREF(text)
        elements[i] = <PyObject*>text
    return array
