"""The functions of NumPy that expressions may call, each with a bound on what it makes.

Every one has its own parameters here, a part of NumPy's: what is not listed cannot be reached.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from salver.trial.expression_arithmetic import ELEMENTWISE, axis_of, elementwise, matrix_product
from salver.trial.expression_arrays import numbers_of
from salver.trial.expression_budget import Budget, whole
from salver.trial.expression_makers import Function, Makers
from salver.trial.expression_shapers import Joiners, Shapers

REDUCTIONS = ("sum", "mean", "min", "max", "prod", "std", "var", "any", "all", "median")
INDEXES = ("argmax", "argmin", "argsort", "sort", "cumsum", "cumprod")
CONSTANTS: Mapping[str, float] = {
    "pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "euler_gamma": np.euler_gamma,
}  # fmt: skip


def functions(budget: Budget) -> dict[str, Function]:
    """The functions of `np`, by name, that pay from a budget."""
    made = {name: _elementwise(name, budget) for name in ELEMENTWISE}
    made |= {name: _reduction(name, budget) for name in REDUCTIONS}
    made |= {name: _along_axis(name, budget) for name in INDEXES}
    for more in (Makers(budget), Shapers(budget), Joiners(budget)):
        made |= more.functions()
    return made | _products(budget)


def _elementwise(name: str, budget: Budget) -> Function:
    return lambda *operands: elementwise(name, budget, *operands)


def _reduction(name: str, budget: Budget) -> Function:
    def reduce(a: object, axis: object = None, keepdims: object = False) -> Any:
        array = numbers_of(a, budget)
        budget.array(array.shape)
        return getattr(np, name)(array, axis=axis_of(axis), keepdims=bool(keepdims))

    return reduce


def _along_axis(name: str, budget: Budget) -> Function:
    def apply(a: object, axis: object = None) -> Any:
        array = numbers_of(a, budget)
        budget.array(array.shape)
        if axis is None:
            return getattr(np, name)(array)
        return getattr(np, name)(array, axis=whole(axis, "an axis"))

    return apply


def _products(budget: Budget) -> dict[str, Function]:
    def outer(a: object, b: object) -> Any:
        one, two = numbers_of(a, budget), numbers_of(b, budget)
        budget.array((*one.shape, *two.shape))
        return np.outer(one, two)

    def product(a: object, b: object) -> Any:
        return matrix_product(a, b, budget)

    return {"matmul": product, "dot": product, "outer": outer}
