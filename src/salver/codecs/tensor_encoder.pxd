cimport numpy as cnp
from libc.stdint cimport uint8_t

cdef struct Plan:
    # How an array becomes a TensorProto: all sizes, so that it can be written at one go.
    int data_type
    int rank
    const cnp.npy_intp* shape  # in the memory of the array, or of its `dims`
    bint as_content
    Py_ssize_t elements
    Py_ssize_t shape_size
    Py_ssize_t values_size  # content of the field with the values
    Py_ssize_t size  # the whole TensorProto

cdef cnp.ndarray plan_tensor(cnp.ndarray array, bint as_content, Plan* plan)
cdef uint8_t* write_tensor(cnp.ndarray array, const Plan* plan, uint8_t* out) noexcept

# Whether the values on the wire are, byte for byte, those of the array.
cdef bint has_wire_values(const Plan* plan) noexcept

# Of a tensor that `has_wire_values`, all that comes before them.
cdef uint8_t* write_head(cnp.ndarray array, const Plan* plan, uint8_t* out) noexcept
