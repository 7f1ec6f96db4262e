# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Floats in decimal, as TensorFlow Serving writes them in JSON.

`%g` if that reads back to the same number, else `%.9g` (float32) or `%.17g` (float64), and
`.0` behind a whole number. Denormal numbers count as zero, as on TensorFlow's threads.

The digits come from one exact product or quotient in 128 bits, which covers float32 from
1e-36 up and float64 from 1e-15 to 1e47; the few others take the standard library's way.
"""

from libc.math cimport isnan
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

cdef extern from *:
    """
    #include <charconv>
    typedef unsigned __int128 salver_wide;

    static inline bool salver_reads_back(const char* first, const char* last, float value) {
        float read = 0;
        return std::from_chars(first, last, read).ec == std::errc() && read == value;
    }
    static inline bool salver_reads_back(const char* first, const char* last, double value) {
        double read = 0;
        return std::from_chars(first, last, read).ec == std::errc() && read == value;
    }
    template <typename T>
    static inline char* salver_put_general(char* out, T value, int precision) {
        return std::to_chars(out, out + 40, value, std::chars_format::general, precision).ptr;
    }
    template <typename T>
    static inline char* salver_put_integer(char* out, T value) {
        return std::to_chars(out, out + 40, value).ptr;
    }
    """
    ctypedef unsigned long long wide "salver_wide"
    bint reads_back "salver_reads_back"(const char*, const char*, float) noexcept nogil
    bint reads_back_double "salver_reads_back"(const char*, const char*, double) noexcept nogil
    char* put_general "salver_put_general"(char*, float, int) noexcept nogil
    char* put_general_double "salver_put_general"(char*, double, int) noexcept nogil
    char* put_integer "salver_put_integer"(char*, int64_t) noexcept nogil
    char* put_unsigned "salver_put_integer"(char*, uint64_t) noexcept nogil

cdef extern from *:
    int __builtin_clzll(unsigned long long) noexcept nogil

cdef uint64_t[20] TENS
cdef wide[45] FIVES
cdef int _index
TENS[0] = 1
FIVES[0] = 1
for _index in range(1, 20):
    TENS[_index] = TENS[_index - 1] * 10
for _index in range(1, 45):
    FIVES[_index] = FIVES[_index - 1] * 5
cdef char[200] PAIRS
for _index in range(100):
    PAIRS[2 * _index] = <char>(48 + _index // 10)
    PAIRS[2 * _index + 1] = <char>(48 + _index % 10)


cdef struct Decimal:
    uint64_t digits     # as many as were asked for, the first not zero
    int exponent        # power of ten of the first digit
    bint exact


cdef inline bint divided(wide number, wide divisor, Decimal* out) noexcept nogil:
    cdef wide quotient = number / divisor
    cdef wide rest = (number - quotient * divisor) * 2
    out.exact = rest == 0
    out.digits = <uint64_t>quotient
    out.digits += (rest > divisor) | ((rest == divisor) & <int>(out.digits & 1))
    return True


cdef inline bint round_to(
    uint64_t significand, int exponent, int bits, int precision, Decimal* out
) noexcept nogil:
    """significand * 2**exponent to `precision` digits; False if 128 bits are too few for it."""
    cdef int scale = precision - 1 - out.exponent
    cdef int shift = exponent + scale
    cdef wide product, rest, half
    if scale >= 0:
        # The product needs as many bits as its factors together; log2(5) < 2.322.
        if scale > 44 or bits * 1000 + scale * 2322 > 126000:
            return False
        product = significand * FIVES[scale]
        if shift >= 0:
            out.digits = <uint64_t>(product << shift)
            out.exact = True
            return True
        half = <wide>1 << (-shift - 1)
        rest = product & (half * 2 - 1)
        out.digits = <uint64_t>(product >> -shift)
        out.digits += (rest > half) | ((rest == half) & <int>(out.digits & 1))
        out.exact = rest == 0
        return True
    if scale < -44 or shift < 0 or bits + shift > 126:
        return False
    return divided(<wide>significand << shift, FIVES[-scale], out)


cdef inline bint decimal_of(
    uint64_t significand, int exponent, int bits, int precision, Decimal* out
) noexcept nogil:
    # log10(2), rounded down: the estimate is right or one too small.
    out.exponent = ((63 - __builtin_clzll(significand) + exponent) * 315652) >> 20
    if not round_to(significand, exponent, bits, precision, out):
        return False
    if out.digits >= TENS[precision]:
        out.exponent += 1
        return round_to(significand, exponent, bits, precision, out)
    return True


cdef inline char* put_digits(char* out, uint64_t digits, int count) noexcept nogil:
    cdef int index = count
    while index >= 2:
        index -= 2
        memcpy(out + index, &PAIRS[2 * (digits % 100)], 2)
        digits /= 100
    if index:
        out[0] = <char>(48 + digits)
    return out + count


cdef inline char* put_layout(char* out, uint64_t digits, int exponent, int precision) noexcept nogil:
    """`precision` digits the way of `%g`, and `.0` where neither point nor exponent is."""
    cdef int count = precision
    cdef int size
    cdef char[24] text
    while count > 4 and digits % 10000 == 0:
        digits /= 10000
        count -= 4
    while count > 1 and digits % 10 == 0:
        digits /= 10
        count -= 1
    if exponent < -4 or exponent >= precision:
        put_digits(text, digits, count)
        out[0] = text[0]
        out += 1
        if count > 1:
            out[0] = b"."
            memcpy(out + 1, text + 1, count - 1)
            out += count
        out[0] = b"e"
        out[1] = b"-" if exponent < 0 else b"+"
        exponent = -exponent if exponent < 0 else exponent
        return put_digits(out + 2, exponent, 3 if exponent > 99 else 2)
    if exponent < 0:
        memcpy(out, b"0.000", 5)
        return put_digits(out + 1 - exponent, digits, count)
    size = exponent + 1
    if count <= size:
        out = put_digits(out, digits, count)
        memset(out, 48, size - count)
        out += size - count
        memcpy(out, b".0", 2)
        return out + 2
    put_digits(text, digits, count)
    memcpy(out, text, size)
    out[size] = b"."
    memcpy(out + size + 1, text + size, count - size)
    return out + count + 1


cdef inline char* put_short(
    char* out, const Decimal* decimal, int precision, uint64_t window, bint* sure
) noexcept nogil:
    """The number in six digits; NULL if they cannot read back, `sure` if they must."""
    cdef uint64_t unit = TENS[precision - 6]
    cdef uint64_t digits = decimal.digits / unit
    cdef uint64_t rest = decimal.digits - digits * unit
    cdef int exponent = decimal.exponent
    sure[0] = decimal.exact and rest == 0
    if rest > window:
        if rest < unit - window:
            return NULL
        digits += 1
        if digits == 1000000:
            digits = 100000
            exponent += 1
    return put_layout(out, digits, exponent, 6)


cdef inline char* put_point(char* first, char* last) noexcept nogil:
    if memchr(first, b".", last - first) is NULL and memchr(first, b"e", last - first) is NULL:
        memcpy(last, b".0", 2)
        last += 2
    return last


cdef inline char* put_special(char* out, bint negative, bint zero, bint nan) noexcept nogil:
    if nan:
        memcpy(out, b"NaN", 3)
        return out + 3
    if negative:
        out[0] = b"-"
        out += 1
    if zero:
        memcpy(out, b"0.0", 3)
        return out + 3
    memcpy(out, b"Infinity", 8)
    return out + 8


cdef char* put_float(char* out, float value) noexcept nogil:
    cdef uint32_t bits
    cdef Decimal decimal
    cdef char* last
    cdef bint sure
    memcpy(&bits, &value, 4)
    cdef int exponent = bits >> 23 & 0xFF
    if exponent == 0 or exponent == 0xFF:
        return put_special(out, bits >> 31, exponent == 0, isnan(value))
    if decimal_of(bits & 0x7FFFFF | 0x800000, exponent - 150, 24, 9, &decimal):
        if bits >> 31:
            out[0] = b"-"
            out += 1
            value = -value
        # Half a unit in the last place is at most 60 in the ninth digit.
        last = put_short(out, &decimal, 9, 61, &sure)
        if last is NULL or not (sure or reads_back(out, last, value)):
            last = put_layout(out, decimal.digits, decimal.exponent, 9)
        return last
    last = put_general(out, value, 6)
    if not reads_back(out, last, value):
        last = put_general(out, value, 9)
    return put_point(out, last)


cdef char* put_double(char* out, double value) noexcept nogil:
    cdef uint64_t bits
    cdef Decimal decimal
    cdef char* last
    cdef bint sure
    memcpy(&bits, &value, 8)
    cdef int exponent = bits >> 52 & 0x7FF
    cdef uint64_t significand = bits & 0xFFFFFFFFFFFFFULL | 0x10000000000000ULL
    if exponent == 0 or exponent == 0x7FF:
        return put_special(out, bits >> 63, exponent == 0, isnan(value))
    if decimal_of(significand, exponent - 1075, 53, 17, &decimal):
        if bits >> 63:
            out[0] = b"-"
            out += 1
            value = -value
        # Half a unit in the last place is at most 12 in the seventeenth digit.
        last = put_short(out, &decimal, 17, 13, &sure)
        if last is NULL or not (sure or reads_back_double(out, last, value)):
            last = put_layout(out, decimal.digits, decimal.exponent, 17)
        return last
    last = put_general_double(out, value, 6)
    if not reads_back_double(out, last, value):
        last = put_general_double(out, value, 17)
    return put_point(out, last)


cdef char* put_int64(char* out, int64_t value) noexcept nogil:
    return put_integer(out, value)


cdef char* put_uint64(char* out, uint64_t value) noexcept nogil:
    return put_unsigned(out, value)
