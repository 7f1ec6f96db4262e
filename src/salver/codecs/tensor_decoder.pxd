cimport numpy as cnp

from salver.codecs.protobuf_wire cimport Span
from salver.codecs.tensor_scanner cimport Tensor

cdef cnp.ndarray array_of(const Tensor* tensor, object owner)
cdef object buffer_owner(object data, Span* span)
