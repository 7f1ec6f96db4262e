"""Doubles as the error messages print them: Grisu2, as rapidjson 1.1.0 has it.

Source: F. Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with
Integers" (PLDI 2010), section 6. The result reads back to the same number but is not
always the shortest, so `repr` would print other digits. It runs for error texts only:
exact integers stand for the 64-bit words of the paper.
"""

import struct
from functools import cache

_HIDDEN_BIT = 1 << 52
_WORD = 64
_LOG10_2 = 0.30102999566398114


def shortest(value: float) -> str:
    """A finite double in decimal, always with a point or an exponent."""
    sign = "-" if struct.pack(">d", value)[0] & 0x80 else ""
    if value == 0:
        return sign + "0.0"
    digits, exponent = _grisu2(abs(value))
    return sign + _layout(digits, exponent)


def _layout(digits: str, exponent: int) -> str:
    point = len(digits) + exponent
    if exponent >= 0 and point <= 21:
        return digits + "0" * exponent + ".0"
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1}"


def _grisu2(value: float) -> tuple[str, int]:
    """Digits and the power of ten that they count in."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value))
    significand = bits & (_HIDDEN_BIT - 1)
    exponent = (bits >> 52) - 1075
    if exponent == -1075:
        exponent = -1074
    else:
        significand |= _HIDDEN_BIT
    # The neighbours half a unit away; below a power of two, a quarter.
    high, high_exponent = _normalized(2 * significand + 1, exponent - 1)
    if significand == _HIDDEN_BIT:
        low = (4 * significand - 1) << (exponent - 2 - high_exponent)
    else:
        low = (2 * significand - 1) << (exponent - 1 - high_exponent)
    middle, middle_exponent = _normalized(significand, exponent)
    power, power_exponent, decimal = _cached_power(high_exponent)
    high = _product(high, power) - 1
    low = _product(low, power) + 1
    middle = _product(middle, power) << (middle_exponent - high_exponent)
    return _digits(middle, high, high - low, -(high_exponent + power_exponent + _WORD), decimal)


def _normalized(significand: int, exponent: int) -> tuple[int, int]:
    shift = _WORD - significand.bit_length()
    return significand << shift, exponent - shift


def _product(first: int, second: int) -> int:
    return (first * second + (1 << (_WORD - 1))) >> _WORD


def _cached_power(exponent: int) -> tuple[int, int, int]:
    """Word and exponent of the power of ten for a binary exponent, and its decimal exponent."""
    estimate = (-61 - exponent) * _LOG10_2 + 347
    index = -int(-estimate // 1) // 8 + 1
    decimal = -348 + 8 * index
    return (*_power_of_ten(decimal), -decimal)


@cache
def _power_of_ten(decimal: int) -> tuple[int, int]:
    """10**decimal, rounded to a word with its highest bit set."""
    numerator, denominator = (10**decimal, 1) if decimal >= 0 else (1, 10**-decimal)
    exponent = numerator.bit_length() - denominator.bit_length() - _WORD
    while True:
        scaled = numerator << -exponent if exponent < 0 else numerator
        divisor = denominator if exponent < 0 else denominator << exponent
        word = (2 * scaled + divisor) // (2 * divisor)
        if word.bit_length() == _WORD:
            return word, exponent
        exponent += word.bit_length() - _WORD


def _digits(middle: int, high: int, delta: int, point: int, decimal: int) -> tuple[str, int]:
    """The fewest leading digits of `high` that stay within `delta` below it."""
    one = 1 << point
    distance = high - middle
    whole, fraction = high >> point, high & (one - 1)
    text = str(whole)
    for kept in range(1, len(text) + 1):
        dropped = len(text) - kept
        unit = 10**dropped << point
        rest = ((whole % 10**dropped) << point) + fraction
        if rest <= delta:
            digits = _rounded(int(text[:kept]), delta, rest, unit, distance)
            return str(digits), decimal + dropped
    digits = whole
    places = 0
    while True:
        fraction *= 10
        delta *= 10
        digits = digits * 10 + (fraction >> point)
        fraction &= one - 1
        places += 1
        if fraction < delta:
            # The original's table of powers ends at nine places: beyond, it rounds no more.
            distance *= 10**places if places < 9 else 0
            return str(_rounded(digits, delta, fraction, one, distance)), decimal - places


def _rounded(digits: int, delta: int, rest: int, unit: int, distance: int) -> int:
    """Step the last digit down while that comes closer to the number itself."""
    while (
        rest < distance
        and delta - rest >= unit
        and (rest + unit < distance or distance - rest > rest + unit - distance)
    ):
        digits -= 1
        rest += unit
    return digits
