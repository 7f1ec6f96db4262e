# The protobuf wire format: varints, tags, fields to skip. Inline functions over a span of bytes,
# without Python and without allocation. Source: the encoding page of protobuf's documentation;
# where that is silent, what the C++ library accepts.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    static inline int salver_bit_length(unsigned long long value) {
        return 64 - __builtin_clzll(value | 1);
    }
    """
    int bit_length "salver_bit_length"(unsigned long long value) noexcept nogil
    int trailing_zeros "__builtin_ctzll"(unsigned long long value) noexcept nogil

cdef enum WireType:
    VARINT = 0
    FIXED64 = 1
    DELIMITED = 2
    START_GROUP = 3
    END_GROUP = 4
    FIXED32 = 5

cdef enum:
    MAX_GROUP_DEPTH = 100
    MAX_MESSAGE_BYTES = 0x7FFFFFFF

cdef struct Span:
    const uint8_t* at
    const uint8_t* end


cdef inline bint read_varint(Span* span, uint64_t* value) noexcept nogil:
    """Up to ten bytes; bits above the 64th are dropped."""
    cdef uint64_t result = 0
    cdef int shift = 0
    cdef uint8_t byte
    while span.at < span.end and shift < 70:
        byte = span.at[0]
        span.at += 1
        result |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            return True
        shift += 7
    return False


cdef inline bint read_tag(Span* span, uint32_t* tag) noexcept nogil:
    """Field number and wire type. Up to five bytes; number 0 is refused."""
    cdef uint32_t result = 0
    cdef int shift = 0
    cdef uint8_t byte
    if span.at < span.end and span.at[0] < 0x80:
        tag[0] = span.at[0]
        span.at += 1
        return tag[0] >= 8
    while span.at < span.end and shift < 35:
        byte = span.at[0]
        span.at += 1
        if shift == 28 and byte > 0x0F:
            return False  # more than 32 bits
        result |= <uint32_t>(byte & 0x7F) << shift
        if byte < 0x80:
            tag[0] = result
            return result >= 8
        shift += 7
    return False


cdef inline bint read_delimited(Span* span, Span* content) noexcept nogil:
    """A length and as many bytes."""
    cdef uint64_t size
    if span.at < span.end and span.at[0] < 0x80:
        size = span.at[0]
        span.at += 1
    elif not read_varint(span, &size):
        return False
    if size > <uint64_t>(span.end - span.at):
        return False
    content.at = span.at
    span.at += size
    content.end = span.at
    return True


cdef inline bint skip_bytes(Span* span, Py_ssize_t size) noexcept nogil:
    if span.end - span.at < size:
        return False
    span.at += size
    return True


cdef inline bint skip_scalar(Span* span, uint32_t tag) noexcept nogil:
    """Skip the value of an unknown field that is no group."""
    cdef uint64_t value
    cdef Span content
    cdef uint32_t wire_type = tag & 7
    if wire_type == VARINT:
        return read_varint(span, &value)
    if wire_type == FIXED64:
        return skip_bytes(span, 8)
    if wire_type == DELIMITED:
        return read_delimited(span, &content)
    if wire_type == FIXED32:
        return skip_bytes(span, 4)
    return False


cdef inline bint skip_field(Span* span, uint32_t tag) noexcept nogil:
    """Skip the value of an unknown field, with all that a group contains."""
    cdef uint32_t[MAX_GROUP_DEPTH] open_groups
    cdef int depth = 0
    if tag & 7 != START_GROUP:
        return skip_scalar(span, tag)
    while True:
        if tag & 7 == START_GROUP:
            if depth == MAX_GROUP_DEPTH:
                return False
            open_groups[depth] = tag >> 3
            depth += 1
        elif tag & 7 == END_GROUP:
            depth -= 1
            if open_groups[depth] != tag >> 3:
                return False
            if depth == 0:
                return True
        elif not skip_scalar(span, tag):
            return False
        if not read_tag(span, &tag):
            return False


cdef inline int join_varint(uint64_t* word) noexcept nogil:
    """Turn eight bytes that start with a varint into its value; its length, 0 if it is longer.

    Without a branch on the data: groups of seven bits are pushed together in three steps.
    """
    cdef uint64_t value = word[0]
    cdef uint64_t ends = ~value & <uint64_t>0x8080808080808080
    if ends == 0:
        return 0
    value &= (ends ^ (ends - 1)) & <uint64_t>0x7F7F7F7F7F7F7F7F
    value = ((value & <uint64_t>0x7F007F007F007F00) >> 1) | (value & <uint64_t>0x007F007F007F007F)
    value = ((value & <uint64_t>0x3FFF00003FFF0000) >> 2) | (value & <uint64_t>0x00003FFF00003FFF)
    word[0] = ((value & <uint64_t>0x0FFFFFFF00000000) >> 4) | (value & <uint64_t>0x0FFFFFFF)
    return (trailing_zeros(ends) + 1) >> 3


cdef inline Py_ssize_t varint_size(uint64_t value) noexcept nogil:
    return (bit_length(value) * 9 + 64) >> 6


cdef inline uint8_t* write_varint(uint8_t* out, uint64_t value) noexcept nogil:
    while value >= 0x80:
        out[0] = <uint8_t>(value | 0x80)
        out += 1
        value >>= 7
    out[0] = <uint8_t>value
    return out + 1


cdef inline uint8_t* write_bytes(uint8_t* out, const void* data, Py_ssize_t size) noexcept nogil:
    memcpy(out, data, size)
    return out + size


cdef inline Py_ssize_t delimited_size(Py_ssize_t size) noexcept nogil:
    """Of a field with a one-byte tag and `size` bytes of content."""
    return 1 + varint_size(size) + size


cdef inline bint is_utf8(Span span) noexcept nogil:
    """Well-formed, shortest form, no surrogates. Source: RFC 3629, section 4."""
    cdef const uint8_t* at = span.at
    cdef uint8_t first
    cdef uint8_t low  # bounds of the second byte
    cdef uint8_t high
    cdef int follow
    while at < span.end:
        first = at[0]
        at += 1
        if first < 0x80:
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        follow = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        low = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        high = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if span.end - at < follow or at[0] < low or at[0] > high:
            return False
        at += 1
        while follow > 1:
            if at[0] & 0xC0 != 0x80:
                return False
            at += 1
            follow -= 1
    return True
