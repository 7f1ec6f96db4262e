"""What expressions compute element by element, and matrix products, each paid for first."""

from typing import Any

import numpy as np

from salver.trial.expression_arrays import numbers_of
from salver.trial.expression_budget import Budget, whole

ELEMENTWISE = (
    "abs", "absolute", "add", "arccos", "arcsin", "arctan", "arctan2", "bitwise_and", "bitwise_or",
    "bitwise_xor", "cbrt", "ceil", "conj", "cos", "cosh", "deg2rad", "divide", "equal", "exp",
    "exp2", "expm1", "floor", "floor_divide", "fmod", "greater", "greater_equal", "hypot", "invert",
    "isfinite", "isinf", "isnan", "left_shift", "less", "less_equal", "log", "log10", "log1p",
    "log2", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod",
    "multiply", "negative", "not_equal", "power", "rad2deg", "reciprocal", "remainder",
    "right_shift", "rint", "sign", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh",
    "trunc",
)  # fmt: skip


def elementwise(name: str, budget: Budget, *operands: object) -> Any:
    """One of the functions of ELEMENTWISE.

    Raises:
        InvalidArgument: an operand holds strings, or the result would be too large.
        ValueError: the shapes do not fit together.
    """
    arrays = [numbers_of(operand, budget) for operand in operands]
    budget.array(np.broadcast_shapes(*(array.shape for array in arrays)))
    # Not of the arrays but of the values: plain numbers adapt to the type of what they meet.
    given = [
        operand if type(operand) in (bool, int, float, complex) else array
        for operand, array in zip(operands, arrays, strict=True)
    ]
    return getattr(np, name)(*given)


def matrix_product(left: object, right: object, budget: Budget) -> Any:
    """`left @ right`.

    Raises:
        InvalidArgument: strings, or too large.
        ValueError: the shapes do not fit together.
    """
    one, two = numbers_of(left, budget), numbers_of(right, budget)
    budget.product(one.shape, two.shape)
    return one @ two


def axis_of(axis: object) -> Any:
    """One axis, several, or None for all.

    Raises:
        InvalidArgument: it is something else.
    """
    if axis is None:
        return None
    if isinstance(axis, list | tuple):
        return tuple(whole(each, "an axis") for each in axis)
    return whole(axis, "an axis")
