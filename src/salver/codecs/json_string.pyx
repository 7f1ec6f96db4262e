# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Strings, by the grammar of rapidjson 1.1.0: bytes in, bytes out.

Escapes are checked and resolved; whatever else stands there passes through,
invalid UTF-8 included.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy

from salver.codecs.json_cursor cimport ESCAPE, HEX, QUOTE, SURROGATE, Cursor, fail



cdef inline const char* past_plain(const char* at, const char* end) noexcept:
    """The next quotation mark, backslash or control character."""
    cdef uint64_t text, quotes, slashes
    while end - at >= 8:
        memcpy(&text, at, 8)
        quotes = text ^ 0x2222222222222222ULL
        slashes = text ^ 0x5C5C5C5C5C5C5C5CULL
        # Eight bytes at once: is one of them zero, or below 0x20?
        if (((quotes - 0x0101010101010101ULL) & ~quotes)
                | ((slashes - 0x0101010101010101ULL) & ~slashes)
                | ((text - 0x2020202020202020ULL) & ~text)) & 0x8080808080808080ULL:
            break
        at += 8
    while at[0] != b'"' and at[0] != b"\\" and <uint8_t>at[0] >= 0x20:
        at += 1
    return at


cdef inline int hex_of(char character) noexcept:
    if 48 <= character <= 57:
        return character - 48
    if 65 <= (character & ~0x20) <= 70:
        return (character & ~0x20) - 55
    return -1


cdef int scan_hex(Cursor* cursor, const char* at) noexcept:
    """Four hex digits; -1 if they are not."""
    cdef int value = 0
    cdef int index
    for index in range(4):
        if hex_of(at[index]) < 0:
            return -1
        value = value * 16 + hex_of(at[index])
    return value


cdef inline char unescaped(char letter) noexcept:
    if letter == b'"' or letter == b"\\" or letter == b"/":
        return letter
    if letter == b"b":
        return 8
    if letter == b"f":
        return 12
    if letter == b"n":
        return 10
    if letter == b"r":
        return 13
    if letter == b"t":
        return 9
    return 0


cdef char* put_utf8(char* out, uint32_t point) noexcept:
    if point < 0x80:
        out[0] = <char>point
        return out + 1
    if point < 0x800:
        out[0] = <char>(0xC0 | point >> 6)
        out[1] = <char>(0x80 | (point & 0x3F))
        return out + 2
    if point < 0x10000:
        out[0] = <char>(0xE0 | point >> 12)
        out[1] = <char>(0x80 | (point >> 6 & 0x3F))
        out[2] = <char>(0x80 | (point & 0x3F))
        return out + 3
    out[0] = <char>(0xF0 | point >> 18)
    out[1] = <char>(0x80 | (point >> 12 & 0x3F))
    out[2] = <char>(0x80 | (point >> 6 & 0x3F))
    out[3] = <char>(0x80 | (point & 0x3F))
    return out + 4


cdef const char* scan_escape(Cursor* cursor, const char* at, char** out) noexcept:
    """One escape, written to `out` unless that is NULL; NULL if it is wrong."""
    cdef char plain = unescaped(at[1])
    cdef int point, second
    if plain:
        if out is not NULL:
            out[0][0] = plain
            out[0] += 1
        return at + 2
    if at[1] != b"u":
        fail(cursor, ESCAPE, at)
        return NULL
    point = scan_hex(cursor, at + 2)
    if point < 0:
        fail(cursor, HEX, at)
        return NULL
    cdef const char* rest = at + 6
    if 0xD800 <= point <= 0xDBFF:
        if rest[0] != b"\\" or rest[1] != b"u":
            fail(cursor, SURROGATE, at)
            return NULL
        second = scan_hex(cursor, rest + 2)
        if second < 0:
            fail(cursor, HEX, at)
            return NULL
        if not 0xDC00 <= second <= 0xDFFF:
            fail(cursor, SURROGATE, at)
            return NULL
        point = 0x10000 + ((point - 0xD800) << 10) + (second - 0xDC00)
        rest += 6
    if out is not NULL:
        out[0] = put_utf8(out[0], <uint32_t>point)
    return rest


cdef bytes decoded(Cursor* cursor, const char* at, const char* end):
    cdef char* text = <char*>malloc(end - at)  # an escape is longer than what it stands for
    if text is NULL:
        raise MemoryError
    cdef char* out = text
    cdef const char* escape
    try:
        while at < end:
            escape = <const char*>memchr(at, b"\\", end - at)
            if escape is NULL:
                escape = end
            memcpy(out, at, escape - at)
            out += escape - at
            at = end if escape == end else scan_escape(cursor, escape, &out)
        return PyBytes_FromStringAndSize(text, out - text)
    finally:
        free(text)


cdef bint skip_string(Cursor* cursor, bint* escaped) noexcept:
    """From one quotation mark past the other; False on a failure."""
    cdef const char* at = cursor.at + 1
    escaped[0] = False
    while True:
        at = past_plain(at, cursor.end)
        if at[0] == b'"':
            cursor.at = at + 1
            return True
        if at[0] != b"\\":
            fail(cursor, ESCAPE if at[0] else QUOTE, at)
            return False
        escaped[0] = True
        at = scan_escape(cursor, at, NULL)
        if at is NULL:
            return False


cdef bytes scan_string(Cursor* cursor):
    """The string at the cursor; None on a failure."""
    cdef const char* first = cursor.at + 1
    cdef bint escaped = False
    if not skip_string(cursor, &escaped):
        return None
    if escaped:
        return decoded(cursor, first, cursor.at - 1)
    return PyBytes_FromStringAndSize(first, cursor.at - 1 - first)
