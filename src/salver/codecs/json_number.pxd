"""Numbers of a JSON text."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from salver.codecs.json_cursor cimport Cursor, Kind, Slot, digit_of
from salver.codecs.json_rounding cimport nearest_double

cdef extern from *:
    """
    static const unsigned long long salver_tens[9] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    // Cython would check the divisor, as Python does.
    static inline double salver_over(double number, int count) {
        static const double tens[9] = {1, 10, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
        return number / tens[count];
    }
    """
    double over_tens "salver_over"(double number, int count) noexcept nogil
    const uint64_t[9] TENS "salver_tens"
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


cdef inline uint32_t joined_first(uint64_t values, int count) noexcept nogil:
    # The digits move to the end, zeros take their place.
    return joined(values << (64 - 8 * count)) if count else 0


cdef inline const char* past_fraction(
    const char* at, const char* end, double* out
) noexcept nogil:
    """Read `0.944904` or `-1.2345678901234567`, most of the numbers of most long bodies.

    NULL for all that is not one digit, a point and up to 19 digits without an exponent, and
    for what stands close to the end of the text.
    """
    cdef bint negative = at[0] == b"-"
    cdef uint64_t text
    cdef uint64_t digits
    cdef int count, more
    at += negative
    if end - at < 10 or digit_of(at[0]) > 9 or at[1] != b".":
        return NULL
    digits = digit_of(at[0])
    at += 2
    memcpy(&text, at, 8)
    count = leading_digits(&text)
    if count < 8:
        if count == 0 or (at[count] | 0x20) == b"e":
            return NULL
        # Both numbers are exact doubles, so one operation rounds once.
        digits = digits * TENS[count] + joined_first(text, count)
        out[0] = over_tens(<double>digits, count)
    else:
        if end - at < 25:
            return NULL
        digits = digits * 100000000 + joined(text)
        memcpy(&text, at + 8, 8)
        more = leading_digits(&text)
        digits = digits * TENS[more] + joined_first(text, more)
        count = 8 + more
        if more == 8:
            memcpy(&text, at + 16, 8)
            more = leading_digits(&text)
            # 19 digits are what fits into a word whatever they are.
            if more > (3 if digits < <uint64_t>10000000000000000 else 2):
                return NULL
            digits = digits * TENS[more] + joined_first(text, more)
            count = 16 + more
        if (at[count] | 0x20) == b"e" or not nearest_double(digits, -count, out):
            return NULL
    if negative:
        out[0] = -out[0]
    return at + count
