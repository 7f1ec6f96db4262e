"""The functions of NumPy that give arrays another shape, or join them, for expressions."""

from typing import Any

import numpy as np

from salver.errors import InvalidArgument
from salver.trial.expression_arithmetic import axis_of, elementwise
from salver.trial.expression_arrays import array_of, numbers_of
from salver.trial.expression_budget import Budget, whole
from salver.trial.expression_makers import Function


class Shapers:
    """What gives an array another shape, and the same elements."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def functions(self) -> dict[str, Function]:
        """All of them, by name."""
        return {
            "reshape": self._reshape,
            "transpose": self._transpose,
            "ravel": self._ravel,
            "squeeze": self._squeeze,
            "expand_dims": self._expand_dims,
            "flip": self._flip,
            "swapaxes": self._swapaxes,
            "roll": self._roll,
            "clip": self._clip,
            "round": self._rounded,
            "around": self._rounded,
            "copy": self._paid,
        }

    def _paid(self, a: object) -> np.ndarray:
        array = array_of(a, self._budget)
        self._budget.array(array.shape)
        return array

    def _reshape(self, a: object, *shape: object) -> np.ndarray:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape
        made = self._paid(a).reshape([whole(size, "a size") for size in sizes])
        self._budget.array(made.shape)
        return made

    def _transpose(self, a: object, *axes: object) -> np.ndarray:
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], list | tuple) else axes
        array = self._paid(a)
        return array.transpose([whole(axis, "an axis") for axis in order]) if order else array.T

    def _ravel(self, a: object) -> np.ndarray:
        return self._paid(a).ravel()

    def _squeeze(self, a: object, axis: object = None) -> np.ndarray:
        return np.squeeze(self._paid(a), axis_of(axis))

    def _expand_dims(self, a: object, axis: object) -> np.ndarray:
        return np.expand_dims(self._paid(a), axis_of(axis))

    def _flip(self, a: object, axis: object = None) -> np.ndarray:
        return np.flip(self._paid(a), axis_of(axis))

    def _swapaxes(self, a: object, axis1: object, axis2: object) -> np.ndarray:
        return np.swapaxes(self._paid(a), whole(axis1, "an axis"), whole(axis2, "an axis"))

    def _roll(self, a: object, shift: object, axis: object = None) -> np.ndarray:
        return np.roll(self._paid(a), whole(shift, "a shift"), axis_of(axis))

    def _clip(self, a: object, a_min: object, a_max: object) -> Any:
        return elementwise(
            "minimum", self._budget, elementwise("maximum", self._budget, a, a_min), a_max
        )

    def _rounded(self, a: object, decimals: object = 0) -> Any:
        array = numbers_of(a, self._budget)
        self._budget.array(array.shape)
        return np.round(array, whole(decimals, "a number of decimals"))


class Joiners:
    """What makes one array of several, or repeats one."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def functions(self) -> dict[str, Function]:
        """All of them, by name."""
        return {
            **{
                name: self._joining(name) for name in ("vstack", "hstack", "dstack", "column_stack")
            },
            "concatenate": self._concatenate,
            "stack": self._stack,
            "tile": self._tile,
            "repeat": self._repeat,
            "broadcast_to": self._broadcast_to,
            "where": self._where,
        }

    def _parts(self, arrays: object) -> list[np.ndarray]:
        if not isinstance(arrays, list | tuple):
            raise InvalidArgument("arrays to join come as a list or tuple")
        found = [array_of(array, self._budget) for array in arrays]
        if len({array.dtype.kind == "O" for array in found}) > 1:
            raise InvalidArgument("numbers and strings cannot be joined")
        for array in found:
            self._budget.array(array.shape)
        return found

    def _joining(self, name: str) -> Function:
        return lambda arrays: getattr(np, name)(self._parts(arrays))

    def _concatenate(self, arrays: object, axis: object = 0) -> np.ndarray:
        return np.concatenate(self._parts(arrays), whole(axis, "an axis"))

    def _stack(self, arrays: object, axis: object = 0) -> np.ndarray:
        return np.stack(self._parts(arrays), whole(axis, "an axis"))

    def _tile(self, a: object, reps: object) -> np.ndarray:
        array = array_of(a, self._budget)
        counts = self._budget.shape(reps)
        self._budget.array((*array.shape, *counts))
        return np.tile(array, counts)

    def _repeat(self, a: object, repeats: object, axis: object = None) -> np.ndarray:
        array, times = array_of(a, self._budget), whole(repeats, "a number of repeats")
        self._budget.array((*array.shape, times))
        return np.repeat(array, times, None if axis is None else whole(axis, "an axis"))

    def _broadcast_to(self, a: object, shape: object) -> np.ndarray:
        return np.broadcast_to(array_of(a, self._budget), self._budget.shape(shape)).copy()

    def _where(self, condition: object, x: object, y: object) -> np.ndarray:
        arrays = [array_of(each, self._budget) for each in (condition, x, y)]
        self._budget.array(np.broadcast_shapes(*(array.shape for array in arrays)))
        if arrays[0].dtype.kind == "O" or (arrays[1].dtype.kind == "O") != (
            arrays[2].dtype.kind == "O"
        ):
            raise InvalidArgument("np.where chooses by numbers, among numbers or among strings")
        return np.where(*arrays)
