# distutils: language = c++
# distutils: extra_compile_args = -std=c++17 -O3
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Decimal numbers of up to 19 digits, rounded to the nearest double by one product of words.

Source: D. Lemire, "Number Parsing at a Gigabyte per Second" (Software: Practice and
Experience, 2021), and N. Mushtak and D. Lemire, "Fast Number Parsing Without Fallback"
(2023), which proves that 128 bits of the power of five are always enough.

Here lies what bodies are full of: floats as Python prints them, with 16 to 18 digits. The
standard library would read their digits once more.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    typedef unsigned __int128 salver_rounding_wide;
    """
    ctypedef unsigned long long wide "salver_rounding_wide"
    int leading_zeros "__builtin_clzll"(unsigned long long) noexcept nogil

cdef enum:
    # Numbers of 19 digits with these powers of ten are all normal doubles.
    LEAST = -60
    MOST = 60

cdef struct Power:
    # The 128 highest bits of a power of five, rounded down; up where 19 digits may be divisible
    # by it, so that the quotient does not end in a row of ones.
    uint64_t high
    uint64_t low

cdef Power[MOST - LEAST + 1] POWERS


def _bits_of_power(int exponent):
    power = (<object>5) ** abs(exponent)
    if exponent >= 0:
        excess = power.bit_length() - 128
        return power >> excess if excess > 0 else power << -excess
    return (1 << (power.bit_length() + 127)) // power + (exponent >= -27)


for _exponent in range(LEAST, MOST + 1):
    _bits = _bits_of_power(_exponent)
    POWERS[_exponent - LEAST].high = _bits >> 64
    POWERS[_exponent - LEAST].low = _bits & 0xFFFFFFFFFFFFFFFF


cdef bint nearest_double(uint64_t digits, int exponent, double* out) noexcept nogil:
    if digits == 0 or exponent < LEAST or exponent > MOST:
        return False
    cdef const Power* power = &POWERS[exponent - LEAST]
    cdef int zeros = leading_zeros(digits)
    digits <<= zeros
    cdef wide product = <wide>digits * power.high
    cdef wide rest
    if (<uint64_t>(product >> 64) & 0x1FF) == 0x1FF:
        # The lower half of the power may carry into the bits that are kept.
        rest = <wide>digits * power.low
        product += rest >> 64
    cdef uint64_t high = <uint64_t>(product >> 64)
    cdef uint64_t low = <uint64_t>product
    cdef int carried = <int>(high >> 63)
    cdef int shift = carried + 9
    # 53 bits and one to round by. log2(5), times 2**16, is 152170.
    cdef uint64_t bits = high >> shift
    cdef uint64_t binary = ((217706 * exponent) >> 16) + 63 + 1023 + carried - zeros
    if low <= 1 and -4 <= exponent <= 23 and (bits & 3) == 1 and bits << shift == high:
        # Exactly between two doubles, and the even one is below.
        bits &= ~<uint64_t>1
    bits = (bits + (bits & 1)) >> 1
    # The leading bit adds one to the exponent, and so does a carry beyond it.
    bits += (binary - 1) << 52
    memcpy(out, &bits, 8)
    return True
