# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Base64 in JSON: `{"b64": "..."}` stands for bytes, as TensorFlow Serving takes it."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int8_t, int32_t, uint8_t, uint32_t

cdef int8_t[256] SEXTETS
SEXTETS[:] = [-1] * 256
cdef const char* ALPHABET = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
cdef int _index
for _index in range(64):
    SEXTETS[<int>ALPHABET[_index]] = <int8_t>_index

cdef inline bint is_blank(uint8_t letter) noexcept:
    return letter == 32 or 9 <= letter <= 13


cpdef bytes unescape_base64(bytes text):
    cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(text)
    cdef const uint8_t* end = at + PyBytes_GET_SIZE(text)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, (end - at) // 4 * 3 + 3)
    cdef uint8_t* first = <uint8_t*>PyBytes_AS_STRING(data)
    cdef uint8_t* out = first
    cdef uint32_t bits = 0
    cdef int count = 0
    cdef int pads = 0
    cdef int32_t four
    while at < end:
        if count == 0:
            while end - at >= 4:
                # Only of what is not negative, or the shifts are undefined.
                if (SEXTETS[at[0]] | SEXTETS[at[1]] | SEXTETS[at[2]] | SEXTETS[at[3]]) < 0:
                    break
                four = (
                    SEXTETS[at[0]] << 18 | SEXTETS[at[1]] << 12 | SEXTETS[at[2]] << 6
                    | SEXTETS[at[3]])
                out[0] = <uint8_t>(four >> 16)
                out[1] = <uint8_t>(four >> 8)
                out[2] = <uint8_t>four
                out += 3
                at += 4
            if at == end:
                break
        if SEXTETS[at[0]] >= 0:
            bits = bits << 6 | SEXTETS[at[0]]
            count += 1
            if count == 4:
                out[0] = <uint8_t>(bits >> 16)
                out[1] = <uint8_t>(bits >> 8)
                out[2] = <uint8_t>bits
                out += 3
                count = 0
        elif not is_blank(at[0]):
            break
        at += 1
    while at < end:
        if at[0] == b"=" or at[0] == b".":
            pads += 1
        elif not is_blank(at[0]):
            return None
        at += 1
    # The padding may be left out, but not be of another length.
    if count == 1 or (pads and pads != (4 - count) % 4):
        return None
    if count:
        bits <<= 6 * (4 - count)
        out[0] = <uint8_t>(bits >> 16)
        out[1] = <uint8_t>(bits >> 8)
        out += count - 1
    return data[:out - first]
