from salver._tensorflow.capi cimport Functions

# Filled by `open_library`; every other function of the binding needs it filled.
cdef Functions api

cdef int require_library() except -1
cdef int check(void* status) except -1
