"""Numbers of a JSON text."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from salver.codecs.json_cursor cimport Cursor, Kind, Slot, digit_of

cdef extern from *:
    """
    static const long long salver_tens[9] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    // Cython would check the divisor, as Python does.
    static inline double salver_over(double number, int count) {
        static const double tens[9] = {1, 10, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
        return number / tens[count];
    }
    """
    double over_tens "salver_over"(double number, int count) noexcept nogil
    const int64_t[9] TENS "salver_tens"
    int trailing_zeros "__builtin_ctzll"(unsigned long long) noexcept nogil


cdef Kind scan_number(Cursor* cursor, Slot* out) noexcept nogil


cdef inline int leading_digits(uint64_t* text) noexcept nogil:
    """How many of the next eight bytes are digits; makes them values, the others' bits stay."""
    text[0] ^= 0x3030303030303030ULL
    cdef uint64_t others = (
        ((text[0] & 0x7F7F7F7F7F7F7F7FULL) + 0x7676767676767676ULL) | text[0]
    ) & 0x8080808080808080ULL
    return trailing_zeros(others) >> 3 if others else 8


cdef inline uint32_t joined(uint64_t values) noexcept nogil:
    # Neighbours are joined in pairs: 8 digits, 4 pairs, 2 fours, 1 number.
    values = (values * 10) + (values >> 8)
    return <uint32_t>((
        (values & 0x000000FF000000FFULL) * 0x000F424000000064ULL
        + ((values >> 16) & 0x000000FF000000FFULL) * 0x0000271000000001ULL) >> 32)


cdef inline bint scan_short_fraction(Cursor* cursor, Slot* out) noexcept nogil:
    """Read `0.944904` and its like, most of the numbers of most long bodies, in place.

    False, the cursor unmoved, for all that is not one digit, a point, and one to seven digits.
    """
    cdef const char* at = cursor.at
    cdef bint negative = at[0] == b"-"
    cdef uint64_t text
    cdef int64_t digits
    cdef int count
    cdef double real
    at += negative
    if cursor.end - at < 10 or digit_of(at[0]) > 9 or at[1] != b".":
        return False
    memcpy(&text, at + 2, 8)
    count = leading_digits(&text)
    if count == 0 or count == 8 or (at[2 + count] | 0x20) == b"e":
        return False
    # The digits move to the end, zeros take their place. Both numbers are exact doubles, so
    # one operation rounds once.
    digits = digit_of(at[0]) * TENS[count] + joined(text << (64 - 8 * count))
    real = over_tens(<double>digits, count)
    out.real = -real if negative else real
    cursor.at = at + 2 + count
    return True
