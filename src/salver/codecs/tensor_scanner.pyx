# cython: boundscheck=False, wraparound=False, cdivision=True
"""A first walk over a TensorProto: is it one, and where does each thing lie?"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from salver.codecs.protobuf_wire cimport (
    DELIMITED, FIXED32, FIXED64, VARINT, Span, is_utf8, read_delimited, read_tag, read_varint,
    skip_bytes, skip_field,
)
from salver.codecs.tensor_layout cimport FIELDS, FLOAT8_VAL, STRING_VAL, TENSOR_CONTENT

# Bytes of an element in a packed field: 4 and 8 fixed, 1 varint; 0 for no packed field.
cdef uint8_t[FIELDS] PACKED_WIDTH = [
    0, 0, 0, 0, 0, 4, 8, 1, 0, 4, 1, 1, 8, 1, 0, 0, 1, 1, 0]

cdef uint64_t CONTINUED = <uint64_t>0x8080808080808080


cdef bint scan_tensor(Span body, Tensor* tensor) noexcept nogil:
    """Check the structure and note where things lie; False if this is no TensorProto."""
    cdef Span span = body
    cdef Span piece
    cdef uint32_t tag
    cdef uint64_t value
    tensor.body = body
    tensor.content.at = tensor.content.end = body.at
    tensor.float8 = tensor.values = tensor.content
    tensor.values_field = 0
    tensor.scattered = False
    tensor.data_type = 0
    tensor.rank = 0
    while span.at < span.end:
        if not read_tag(&span, &tag):
            return False
        if tag == (1 << 3 | VARINT):
            if not read_varint(&span, &value):
                return False
            tensor.data_type = <int32_t>value
        elif tag == (2 << 3 | DELIMITED):
            # Twice is merged: the dimensions of both, one after the other.
            if not read_delimited(&span, &piece):
                return False
            if not _read_shape(piece, tensor.shape, INLINE_RANK, &tensor.rank):
                return False
        elif tag == (TENSOR_CONTENT << 3 | DELIMITED):
            if not read_delimited(&span, &tensor.content):
                return False
        elif tag == (FLOAT8_VAL << 3 | DELIMITED):
            if not read_delimited(&span, &tensor.float8):
                return False
        elif _is_typed_field(tag):
            if not _read_piece(&span, tag, &piece):
                return False
            if tensor.values_field:
                tensor.scattered = True
            else:
                tensor.values_field = tag >> 3
                tensor.values = piece
        elif not skip_field(&span, tag):
            return False
    return True


cdef bint _read_shape(Span span, int64_t* shape, int room, int* rank) noexcept nogil:
    """Append the dimensions of a TensorShapeProto; `rank` counts on where `room` ends."""
    cdef Span dimension
    cdef Span name
    cdef uint32_t tag
    cdef uint64_t size
    while span.at < span.end:
        if not read_tag(&span, &tag):
            return False
        if tag != (2 << 3 | DELIMITED):
            # unknown_rank changes nothing: the dimensions count, and none is a scalar.
            if not skip_field(&span, tag):
                return False
            continue
        if not read_delimited(&span, &dimension):
            return False
        size = 0
        while dimension.at < dimension.end:
            if not read_tag(&dimension, &tag):
                return False
            if tag == (1 << 3 | VARINT):
                if not read_varint(&dimension, &size):
                    return False
            elif tag == (2 << 3 | DELIMITED):
                if not read_delimited(&dimension, &name) or not is_utf8(name):
                    return False
            elif not skip_field(&dimension, tag):
                return False
        if rank[0] < room:
            shape[rank[0]] = <int64_t>size
        rank[0] += 1
    return True


cdef inline bint _is_typed_field(uint32_t tag) noexcept nogil:
    """Whether the tag starts one or more values of a typed field, packed or not."""
    cdef uint32_t field = tag >> 3
    cdef uint32_t wire_type = tag & 7
    if field >= FIELDS:
        return False
    if wire_type == DELIMITED:
        return PACKED_WIDTH[field] != 0 or field == STRING_VAL
    if wire_type == VARINT:
        return PACKED_WIDTH[field] == 1
    if wire_type == FIXED32:
        return PACKED_WIDTH[field] == 4
    return wire_type == FIXED64 and PACKED_WIDTH[field] == 8


cdef inline bint _read_piece(Span* span, uint32_t tag, Span* piece) noexcept nogil:
    """The values after `tag`: a value alone has the bytes of a packed field with one."""
    cdef uint32_t width = PACKED_WIDTH[tag >> 3]
    cdef uint64_t value
    if tag & 7 == DELIMITED:
        if not read_delimited(span, piece):
            return False
        if width > 1:
            return (piece.end - piece.at) % width == 0
        return width == 0 or _are_varints(piece[0])
    piece.at = span.at
    if width == 1:
        if not read_varint(span, &value):
            return False
    elif not skip_bytes(span, width):
        return False
    piece.end = span.at
    return True


cdef inline bint _are_varints(Span span) noexcept nogil:
    """Whether every varint ends within ten bytes, and the last within the span."""
    cdef const uint8_t* last = span.at
    cdef uint64_t word = 0
    # Ten bytes without an end hold one of these: eight such bytes, looked for in steps of three.
    while span.end - last >= 8 and word != CONTINUED:
        memcpy(&word, last, 8)
        word &= CONTINUED
        last += 3
    if word != CONTINUED:
        return span.at == span.end or (span.end - 1)[0] < 0x80
    while span.end - span.at >= 10:
        # From the back: the last end among ten bytes passes over all the others.
        last = span.at + 9
        while last[0] >= 0x80:
            if last == span.at:
                return False
            last -= 1
        span.at = last + 1
    return span.at == span.end or (span.end - 1)[0] < 0x80


cdef bint next_piece(Span* span, uint32_t field, Span* piece) noexcept nogil:
    """The next values of `field` in a body that was scanned; False at the end."""
    cdef uint32_t tag
    while span.at < span.end:
        if not read_tag(span, &tag):
            return False
        if not _is_typed_field(tag):
            if not skip_field(span, tag):
                return False
        elif not _read_piece(span, tag, piece):
            return False
        elif tag >> 3 == field:
            return True
    return False


cdef void read_long_shape(const Tensor* tensor, int64_t* shape, int room) noexcept nogil:
    """All dimensions of a scanned tensor, up to `room`."""
    cdef Span body = tensor.body
    cdef Span piece
    cdef uint32_t tag
    cdef int rank = 0
    while body.at < body.end and read_tag(&body, &tag):
        if tag != (2 << 3 | DELIMITED):
            skip_field(&body, tag)
        elif read_delimited(&body, &piece):
            _read_shape(piece, shape, room, &rank)
