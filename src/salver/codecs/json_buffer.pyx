# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Strings and bytes as JSON has them, at the end of a growing text."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

cdef const char* HEX_DIGITS = b"0123456789ABCDEF"
cdef const char* BASE64_DIGITS = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


cdef inline char short_escape(uint8_t byte) noexcept:
    if byte == b'"' or byte == b"\\":
        return byte
    if byte == 8:
        return b"b"
    if byte == 9:
        return b"t"
    if byte == 10:
        return b"n"
    if byte == 12:
        return b"f"
    return b"r" if byte == 13 else b"u"


cdef int put_string(Buffer* out, const char* text, Py_ssize_t size) except -1:
    """A string with quotation marks; all but `"`, `\\` and control characters as it is."""
    cdef const uint8_t* at = <const uint8_t*>text
    cdef const uint8_t* end = at + size
    cdef const uint8_t* plain
    cdef uint8_t byte
    put(out, b'"', 1)
    while at < end:
        plain = at
        while at < end and at[0] >= 0x20 and at[0] != b'"' and at[0] != b"\\":
            at += 1
        put(out, <const char*>plain, at - plain)
        if at == end:
            break
        byte = at[0]
        at += 1
        reserve(out, 6)
        out.at[0] = b"\\"
        out.at[1] = short_escape(byte)
        if out.at[1] == b"u":
            memcpy(out.at + 2, b"00", 2)
            out.at[4] = HEX_DIGITS[byte >> 4]
            out.at[5] = HEX_DIGITS[byte & 15]
            out.at += 4
        out.at += 2
    return put(out, b'"', 1)


cdef int put_base64(Buffer* out, const uint8_t* data, Py_ssize_t size) except -1:
    cdef Py_ssize_t index
    cdef uint32_t bits
    cdef char* at
    reserve(out, 4 * (size // 3) + 6)
    at = out.at
    at[0] = b'"'
    at += 1
    for index in range(0, size, 3):
        bits = data[index] << 16
        if size - index > 1:
            bits |= data[index + 1] << 8
        if size - index > 2:
            bits |= data[index + 2]
        at[0] = BASE64_DIGITS[bits >> 18]
        at[1] = BASE64_DIGITS[bits >> 12 & 63]
        at[2] = BASE64_DIGITS[bits >> 6 & 63] if size - index > 1 else b"="
        at[3] = BASE64_DIGITS[bits & 63] if size - index > 2 else b"="
        at += 4
    at[0] = b'"'
    out.at = at + 1
    return 0
