cimport numpy as cnp


cdef class ElementTypes:
    cdef dict _by_number
    cdef dict _by_numpy_type
    cdef object _deep_array

    cdef object numpy_type(self, int number)
    cdef int number(self, object numpy_type) except -1

# A new tensor with the elements of `value`. `expected` is the NumPy type of `number`,
# or NULL: an array of that very type goes the short way.
cdef void* tensor_of(object value, void* expected, int number, ElementTypes types) except NULL

# The array of a tensor, which now belongs to the array.
cdef cnp.ndarray array_of(void* tensor, ElementTypes types)
