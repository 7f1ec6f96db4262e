"""Indexing in expressions: whole numbers, slices, None, `...`, and one list or mask."""

from typing import Any

import numpy as np

from salver.errors import InvalidArgument
from salver.trial.expression_arrays import numbers_of
from salver.trial.expression_budget import Budget, whole


def subscript(value: object, index: object, budget: Budget) -> Any:
    """`value[index]`.

    Raises:
        InvalidArgument: the value has no elements, or the index is of another kind.
        IndexError: there is no such element.
    """
    if isinstance(value, list | tuple | str | bytes):
        return _of_sequence(value, index, budget)
    if not isinstance(value, np.ndarray):
        raise InvalidArgument(f"{value!r:.80} has no elements")
    if isinstance(index, list | np.ndarray):
        chosen = numbers_of(index, budget)
        if chosen.dtype.kind == "b":
            budget.array(value.shape)
        else:
            if chosen.dtype.kind not in "iu":
                raise InvalidArgument("an index is a list of whole numbers, or a mask")
            budget.array((*chosen.shape, *value.shape[1:]))
        return value[chosen]
    parts = index if isinstance(index, tuple) else (index,)
    return value[tuple(_part(part) for part in parts)]


def _of_sequence(value: Any, index: object, budget: Budget) -> Any:
    if isinstance(index, slice):
        budget.items(len(value))
        return value[_part(index)]
    return value[whole(index, "an index of a list")]


def _part(part: object) -> Any:
    if isinstance(part, list | np.ndarray):
        raise InvalidArgument("a list of indices stands alone: a[[0, 2]]")
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        ends = (part.start, part.stop, part.step)
        return slice(*(None if end is None else whole(end, "an end of a slice") for end in ends))
    return whole(part, "an index")
