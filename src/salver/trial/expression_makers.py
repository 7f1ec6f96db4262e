"""The functions of NumPy that make arrays of numbers, for expressions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from salver.errors import InvalidArgument
from salver.trial.expression_arrays import array_of, numbers_of, type_of
from salver.trial.expression_budget import Budget, whole

Function = Callable[..., Any]

_arange: Function = np.arange  # Its declared types know no number that is either kind.


class Makers:
    """What makes arrays of numbers."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def functions(self) -> dict[str, Function]:
        """All of them, by name."""
        return {
            "array": self._array,
            "asarray": self._array,
            "astype": self._astype,
            "zeros": self._zeros,
            "ones": self._ones,
            "empty": self._zeros,
            "full": self._full,
            "zeros_like": self._like("zeros_like"),
            "ones_like": self._like("ones_like"),
            "full_like": self._full_like,
            "arange": self._arange,
            "linspace": self._linspace,
            "logspace": self._logspace,
            "eye": self._eye,
            "identity": self._identity,
        }

    def _array(self, object: object, dtype: object = None) -> np.ndarray:
        made = array_of(object, self._budget)
        return made if dtype is None else self._astype(made, dtype)

    def _astype(self, a: object, dtype: object) -> np.ndarray:
        given = array_of(a, self._budget)
        self._budget.array(given.shape)
        wanted = type_of(dtype)
        if (given.dtype.kind == "O") != (wanted.kind == "O"):
            raise InvalidArgument("numbers do not become strings, nor strings numbers")
        return given.astype(wanted)

    def _zeros(self, shape: object, dtype: object = "float64") -> np.ndarray:
        return np.zeros(self._budget.shape(shape), _numeric(dtype))

    def _ones(self, shape: object, dtype: object = "float64") -> np.ndarray:
        return np.ones(self._budget.shape(shape), _numeric(dtype))

    def _full(self, shape: object, fill_value: object, dtype: object = None) -> np.ndarray:
        made = np.full(self._budget.shape(shape), array_of(fill_value, self._budget))
        return made if dtype is None else made.astype(_numeric(dtype))

    def _like(self, name: str) -> Function:
        def make(a: object, dtype: object = None) -> Any:
            array = numbers_of(a, self._budget)
            self._budget.array(array.shape)
            return getattr(np, name)(array, dtype=None if dtype is None else _numeric(dtype))

        return make

    def _full_like(self, a: object, fill_value: object, dtype: object = None) -> np.ndarray:
        array = numbers_of(a, self._budget)
        self._budget.array(array.shape)
        value = numbers_of(fill_value, self._budget)
        return np.full_like(array, value, None if dtype is None else _numeric(dtype))

    def _arange(self, *limits: object, dtype: object = None) -> np.ndarray:
        numbers = [_number(limit) for limit in limits]
        if not 1 <= len(numbers) <= 3:
            raise InvalidArgument("np.arange takes a stop, or a start, a stop and a step")
        start, stop = (0, numbers[0]) if len(numbers) == 1 else numbers[:2]
        step = numbers[2] if len(numbers) == 3 else 1
        if not step:
            raise InvalidArgument("the step of np.arange is zero")
        count = (stop - start) / step
        if not math.isfinite(count):
            raise InvalidArgument("np.arange has no end")
        self._budget.elements(max(math.ceil(count), 0))
        made: np.ndarray = _arange(start, stop, step, None if dtype is None else _numeric(dtype))
        return made

    def _linspace(
        self,
        start: object,
        stop: object,
        num: object = 50,
        endpoint: object = True,
        dtype: object = None,
    ) -> np.ndarray:
        count = whole(num, "a number of samples")
        self._budget.elements(count)
        kind = None if dtype is None else _numeric(dtype)
        return np.linspace(
            _number(start), _number(stop), count, endpoint=bool(endpoint), dtype=kind
        )

    def _logspace(
        self, start: object, stop: object, num: object = 50, base: object = 10.0
    ) -> np.ndarray:
        count = whole(num, "a number of samples")
        self._budget.elements(count)
        return np.logspace(_number(start), _number(stop), count, base=_number(base))

    def _eye(
        self, n: object, m: object = None, k: object = 0, dtype: object = "float64"
    ) -> np.ndarray:
        rows, columns = self._budget.shape((n, n if m is None else m))
        return np.eye(rows, columns, whole(k, "a diagonal"), _numeric(dtype))

    def _identity(self, n: object, dtype: object = "float64") -> np.ndarray:
        return self._eye(n, None, 0, dtype)


def _numeric(dtype: object) -> np.dtype:
    found = type_of(dtype)
    if found.kind == "O":
        raise InvalidArgument("this makes numbers, not strings")
    return found


def _number(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidArgument(f"{value!r:.80} is not a number")
    return value
