"""The random numbers of `np.random` for expressions: its functions, and generators with a seed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from salver.core.nearest import nearest
from salver.errors import InvalidArgument
from salver.trial.expression_arrays import numbers_of
from salver.trial.expression_budget import Budget, whole


class RandomNumbers:
    """One source of them: `np.random.default_rng(seed)`, or `RandomState(seed)` and `np.random`."""

    def __init__(self, budget: Budget, seed: object = None, *, new: bool = False) -> None:
        """Start the source; `new` is NumPy's newer one, with the functions of a Generator."""
        start = None if seed is None else whole(seed, "a seed")
        if start is not None and not 0 <= start < 2**32:
            raise InvalidArgument(f"a seed of {start} is not between 0 and 2**32 - 1")
        self._budget = budget
        self._source: Any = np.random.default_rng(start) if new else np.random.RandomState(start)
        self._functions = {**_BOTH, **(_NEW if new else _OLD)}

    def function(self, name: str) -> Callable[..., Any]:
        """One of its functions.

        Raises:
            InvalidArgument: expressions have none of this name.
        """
        found = self._functions.get(name)
        if found is None:
            known = nearest(name, self._functions)
            raise InvalidArgument(f"there are no random numbers {name!r} here{known}")
        return partial(found, self)

    def _size(self, size: object) -> Any:
        return None if size is None else self._budget.shape(size)

    def _rand(self, *sizes: object) -> Any:
        return self._source.rand(*self._budget.shape(sizes))

    def _randn(self, *sizes: object) -> Any:
        return self._source.randn(*self._budget.shape(sizes))

    def _randint(self, low: object, high: object = None, size: object = None) -> Any:
        top = None if high is None else whole(high, "a limit")
        return self._source.randint(whole(low, "a limit"), top, self._size(size), np.int64)

    def _integers(self, low: object, high: object = None, size: object = None) -> Any:
        top = None if high is None else whole(high, "a limit")
        return self._source.integers(whole(low, "a limit"), top, self._size(size))

    def _random(self, size: object = None) -> Any:
        return self._source.random(self._size(size))

    def _standard_normal(self, size: object = None) -> Any:
        return self._source.standard_normal(self._size(size))

    def _normal(self, loc: object = 0.0, scale: object = 1.0, size: object = None) -> Any:
        return self._spread("normal", loc, scale, size)

    def _uniform(self, low: object = 0.0, high: object = 1.0, size: object = None) -> Any:
        return self._spread("uniform", low, high, size)

    def _spread(self, name: str, first: object, second: object, size: object) -> Any:
        one, two = numbers_of(first, self._budget), numbers_of(second, self._budget)
        self._budget.array((*one.shape, *two.shape))
        return getattr(self._source, name)(one, two, self._size(size))

    def _permutation(self, x: object) -> Any:
        if isinstance(x, int | np.integer):
            (count,) = self._budget.shape(x)
            return self._source.permutation(count)
        array = numbers_of(x, self._budget)
        self._budget.array(array.shape)
        return self._source.permutation(array)

    def _choice(self, a: object, size: object = None, replace: object = True) -> Any:
        if isinstance(a, int | np.integer):
            (among,) = self._budget.shape(a)
            return self._source.choice(among, self._size(size), bool(replace))
        array = numbers_of(a, self._budget)
        self._budget.array(array.shape)
        return self._source.choice(array, self._size(size), bool(replace))


_BOTH: dict[str, Callable[..., Any]] = {
    "random": RandomNumbers._random,
    "standard_normal": RandomNumbers._standard_normal,
    "normal": RandomNumbers._normal,
    "uniform": RandomNumbers._uniform,
    "permutation": RandomNumbers._permutation,
    "choice": RandomNumbers._choice,
}
_OLD: dict[str, Callable[..., Any]] = {
    "rand": RandomNumbers._rand,
    "randn": RandomNumbers._randn,
    "randint": RandomNumbers._randint,
    "random_sample": RandomNumbers._random,
}
_NEW: dict[str, Callable[..., Any]] = {"integers": RandomNumbers._integers}
