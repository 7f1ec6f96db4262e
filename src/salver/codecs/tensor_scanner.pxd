from libc.stdint cimport int64_t, uint32_t

from salver.codecs.protobuf_wire cimport Span

cdef enum:
    INLINE_RANK = 8

cdef struct Tensor:
    # A TensorProto whose structure is checked and whose values still lie in the message.
    Span body
    Span content  # tensor_content
    Span float8  # float8_val
    Span values  # the first piece of a typed field
    uint32_t values_field  # 0: none seen
    bint scattered  # there are more pieces than that one: read the body again
    int data_type
    int rank
    int64_t[INLINE_RANK] shape  # of a higher rank, the first dimensions only

cdef bint scan_tensor(Span body, Tensor* tensor) noexcept nogil
cdef bint next_piece(Span* span, uint32_t field, Span* piece) noexcept nogil
cdef void read_long_shape(const Tensor* tensor, int64_t* shape, int room) noexcept nogil
