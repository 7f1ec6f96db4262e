"""Arithmetic of expressions: on plain numbers, on lists and strings, on arrays."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from salver.errors import InvalidArgument
from salver.trial.expression_arithmetic import elementwise
from salver.trial.expression_budget import Budget

_PLAIN: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "floor_divide": operator.floordiv, "remainder": operator.mod,
    "power": operator.pow, "left_shift": operator.lshift, "right_shift": operator.rshift,
    "bitwise_and": operator.and_, "bitwise_or": operator.or_, "bitwise_xor": operator.xor,
}  # fmt: skip


def combined(name: str, left: object, right: object, budget: Budget) -> Any:
    """Two values under an operator, which has the name of NumPy's function.

    Raises:
        InvalidArgument: the operator does not take such values, or the result is too large.
    """
    if isinstance(left, bool | int | float | complex) and isinstance(
        right, bool | int | float | complex
    ):
        return _numbers(name, left, right)
    if isinstance(left, list | tuple | str | bytes) or isinstance(
        right, list | tuple | str | bytes
    ):
        joined = _sequences(name, left, right, budget)
        if joined is not None:
            return joined
    return elementwise(name, budget, left, right)


def _numbers(name: str, left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        # Python's whole numbers grow without a bound: what they would grow to is looked at first.
        if name == "power" and right > 0:
            bits = abs(left).bit_length() * right if abs(left) > 1 else 1
        elif name == "left_shift":
            bits = left.bit_length() + right
        else:
            bits = 0
        if bits > 128:
            raise InvalidArgument("a whole number has more than 64 bits")
    result = _PLAIN[name](left, right)
    if isinstance(result, int) and not -(2**63) <= result < 2**64:
        raise InvalidArgument("a whole number has more than 64 bits")
    return result


def _sequences(name: str, left: object, right: object, budget: Budget) -> Any:
    """`a + b` and `a * n` as Python has them for lists and strings; None: it is for arrays."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, list | tuple | str | bytes) and type(other) is int:
            if name == "multiply":
                budget.items(_size(one) * max(other, 0))
                return one * other
            if isinstance(one, str | bytes):
                break
    if name == "add":
        for kind in (str, bytes, list):
            if isinstance(left, kind) and isinstance(right, kind):
                budget.items(_size(left) + _size(right))
                return left + right  # type: ignore[operator] # both are of `kind`
    if isinstance(left, str | bytes) or isinstance(right, str | bytes):
        raise InvalidArgument("strings can only be joined by + and repeated by *")
    return None


def _size(value: object) -> int:
    """Items of a list with those of the lists in it, or characters."""
    if isinstance(value, list | tuple):
        return sum(map(_size, value)) + 1
    return len(value) if isinstance(value, str | bytes) else 1
