# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Numbers, by the grammar and the limits of rapidjson 1.1.0.

Values are rounded correctly, which the original's are not always: it is off by
one unit in the last place for many long fractions. Its own arithmetic decides
which numbers are refused, and, where the cursor asks for it, gives the value,
because that is what its error messages show.
"""

from libc.math cimport HUGE_VAL, NAN, copysign, fabs
from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

from salver.codecs.json_cursor cimport (
    BROKEN, EXPONENT, FRACTION, INTEGER, REAL, TOO_BIG, UNSIGNED, VALUE, Cursor, Kind, Slot,
    digit_of, fail, past_word)
from salver.codecs.json_rounding cimport nearest_double

cdef extern from *:
    """
    #include <charconv>
    // Correctly rounded; false when the number is beyond the range of a double.
    static inline bool salver_read_double(const char* first, const char* last, double* out) {
        return std::from_chars(first, last, *out).ec == std::errc();
    }
    """
    bint read_double "salver_read_double"(const char* first, const char* last, double* out) noexcept nogil

cdef double SMALLEST_NORMAL = 2.2250738585072014e-308

cdef double[309] POWERS
cdef int _power
for _power in range(309):
    POWERS[_power] = float(f"1e{_power}")


cdef inline double scaled(double digits, int exponent) noexcept nogil:
    if exponent < -308:
        return 0.0
    if exponent < 0:
        return digits / POWERS[-exponent]
    return digits * POWERS[exponent]


cdef inline double flushed(double number) noexcept nogil:
    # Numbers below the normal range count as zero, as on TensorFlow's threads.
    return copysign(0.0, number) if fabs(number) < SMALLEST_NORMAL else number


cdef Kind scan_special(Cursor* cursor, const char* at, bint negative, Slot* out) noexcept nogil:
    # Like the original, an infinity may follow upon a NaN that breaks off: `NaInf`.
    if past_word(&at, b"NaN"):
        out.real = NAN
    elif past_word(&at, b"Inf") and (at[0] != b"i" or past_word(&at, b"inity")):
        out.real = -HUGE_VAL if negative else HUGE_VAL
    else:
        return <Kind>fail(cursor, VALUE, at)
    cursor.at = at
    return REAL


cdef Kind scan_exactly(Cursor* cursor, Slot* out) noexcept nogil:
    """Any number, with the original's own arithmetic, its limits and its wrong rounding."""
    cdef const char* start = cursor.at
    cdef const char* at = start
    cdef bint negative = at[0] == b"-"
    at += negative
    cdef bint special = at[0] == b"I" or at[0] == b"N"
    if special:
        if scan_special(cursor, at, negative, out) == BROKEN:
            return BROKEN
        # The original reads on, as if a zero had stood there: `NaN.5` is a half.
        at = cursor.at
        if at[0] != b"." and at[0] != b"e" and at[0] != b"E":
            return REAL
    elif digit_of(at[0]) > 9:
        return <Kind>fail(cursor, VALUE, at)

    # Whole digits go into an integer of the size that just holds them, then into a double.
    cdef uint64_t most = (<uint64_t>1 << 63) if negative else ~<uint64_t>0
    cdef uint64_t digits = 0
    cdef double real = 0.0
    cdef bint is_real = False
    cdef int significant = -1
    cdef int shift = 0
    if special or at[0] == b"0":
        at += not special
        significant = 0
    else:
        while digit_of(at[0]) <= 9:
            if digits > (most - digit_of(at[0])) / 10:
                is_real = True
                real = <double>digits
                break
            digits = digits * 10 + digit_of(at[0])
            significant += 1
            at += 1
        while is_real and digit_of(at[0]) <= 9:
            if real >= 1.7976931348623157e307:
                return <Kind>fail(cursor, TOO_BIG, start)
            real = real * 10 + digit_of(at[0])
            at += 1

    if at[0] == b".":
        at += 1
        if digit_of(at[0]) > 9:
            return <Kind>fail(cursor, FRACTION, at)
        if not is_real:
            while digit_of(at[0]) <= 9 and digits <= (<uint64_t>1 << 53) - 1:
                digits = digits * 10 + digit_of(at[0])
                shift -= 1
                significant += digits != 0
                at += 1
            real = <double>digits
            is_real = True
        while digit_of(at[0]) <= 9:
            if significant < 17:
                real = real * 10 + digit_of(at[0])
                shift -= 1
                significant += real > 0
            at += 1

    cdef int exponent = 0
    cdef bint negative_exponent
    if at[0] == b"e" or at[0] == b"E":
        at += 1
        if not is_real:
            real = <double>digits
            is_real = True
        negative_exponent = at[0] == b"-"
        at += at[0] == b"-" or at[0] == b"+"
        if digit_of(at[0]) > 9:
            return <Kind>fail(cursor, EXPONENT, at)
        exponent = digit_of(at[0])
        at += 1
        while digit_of(at[0]) <= 9:
            if exponent < 100000000:
                exponent = exponent * 10 + digit_of(at[0])
            at += 1
            if not negative_exponent and exponent > 308 - shift:
                return <Kind>fail(cursor, TOO_BIG, start)
        if negative_exponent:
            exponent = -exponent

    cursor.at = at
    if is_real:
        exponent += shift
        if exponent < -308:
            real = flushed(scaled(flushed(scaled(real, -308)), exponent + 308))
        else:
            real = flushed(scaled(real, exponent))
        out.real = -real if negative else real
        return REAL
    out.integer = <int64_t>(0 - digits if negative else digits)
    return UNSIGNED if not negative and digits > <uint64_t>INT64_MAX else INTEGER


cdef Kind scan_unusual(Cursor* cursor, Slot* out) noexcept nogil:
    cdef const char* start = cursor.at
    cdef double nearest
    cdef Kind kind = scan_exactly(cursor, out)
    if (kind == REAL and not cursor.exact and digit_of(start[start[0] == b"-"]) <= 9
            and read_double(start, cursor.at, &nearest)):
        out.real = flushed(nearest)
    return kind


cdef inline const char* past_digits(
    const char* at, const char* end, uint64_t* digits
) noexcept nogil:
    """Move past digits and append them to the number `digits`, which may overflow."""
    cdef uint64_t text
    cdef int count
    while end - at >= 8:
        memcpy(&text, at, 8)
        count = leading_digits(&text)
        if count < 8:
            if count:
                # The digits move to the end, zeros take their place.
                digits[0] = digits[0] * TENS[count] + joined(text << (64 - 8 * count))
            return at + count
        digits[0] = digits[0] * 100000000 + joined(text)
        at += 8
    while digit_of(at[0]) <= 9:
        digits[0] = digits[0] * 10 + digit_of(at[0])
        at += 1
    return at


cdef Kind scan_number(Cursor* cursor, Slot* out) noexcept nogil:
    """The usual number, fast; the rest is left to `scan_unusual`."""
    cdef const char* start = cursor.at
    cdef const char* at = start
    cdef bint negative = at[0] == b"-"
    at += negative
    cdef const char* first = at
    cdef uint64_t digits = digit_of(at[0])
    if cursor.exact or digits > 9:
        return scan_unusual(cursor, out)
    at += 1
    if digits:
        while digit_of(at[0]) <= 9:
            digits = digits * 10 + digit_of(at[0])
            at += 1
    cdef Py_ssize_t count = at - first
    if at[0] != b"." and (at[0] | 0x20) != b"e":
        if count > 18:
            return scan_unusual(cursor, out)
        cursor.at = at
        out.integer = -<int64_t>digits if negative else <int64_t>digits
        return INTEGER

    cdef int exponent = 0
    cdef int written = 0
    cdef bint negative_exponent
    if at[0] == b".":
        first = at + 1
        at = past_digits(first, cursor.end, &digits)
        if at == first:
            return scan_unusual(cursor, out)
        count += at - first
        exponent = -<int>(at - first)
    if (at[0] | 0x20) == b"e":
        at += 1
        negative_exponent = at[0] == b"-"
        at += at[0] == b"-" or at[0] == b"+"
        first = at
        while digit_of(at[0]) <= 9 and at - first < 4:
            written = written * 10 + digit_of(at[0])
            at += 1
        if at == first or at - first > 3 or written > 290:
            return scan_unusual(cursor, out)
        exponent += -written if negative_exponent else written

    cdef double real
    if count <= 19 and digits <= <uint64_t>1 << 53 and -22 <= exponent <= 22:
        # Both are exact doubles, so one operation rounds once.
        real = <double>digits
        real = real / POWERS[-exponent] if exponent < 0 else real * POWERS[exponent]
        out.real = -real if negative else real
    elif count <= 19 and nearest_double(digits, exponent, &real):
        out.real = -real if negative else real
    elif count > 300 or not read_double(start, at, &real):
        return scan_unusual(cursor, out)
    else:
        out.real = flushed(real)
    cursor.at = at
    return REAL
