"""Whether the rows of a batch leave each other alone: seen by running some requests again.

A model may take any number of rows and mix them: it subtracts their mean, compares each with
each, or draws random numbers. In a batch its answers would not be those that it gives alone.
Where nobody asked for batches, the first of them are therefore checked.
"""

from collections.abc import Sequence
from enum import IntEnum, auto

import numpy as np

from salver.execution.batch_arrays import Inputs

_ENOUGH = 3
_AGAIN = 1024
"""Among so many batches one more is checked, for what depends on the values."""
_SMALL_BYTES = 1 << 16
_FINE = 1e-3
_COARSE = 2e-2
"""Of the largest value, for types of two bytes and less. A batch may add up in another order."""


class Likeness(IntEnum):
    """How the requests of a batch compare: from equal ones, little can be learned of others."""

    SAME = auto()
    DIFFERENT = auto()
    PADDED = auto()
    """Some were filled up to the length of others."""


class BatchProof:
    """What is known of one queue. Changed on the loop only; workers read it."""

    __slots__ = ("_batches", "_checked", "_pads", "is_open")

    def __init__(self, *, pads: bool = False) -> None:
        """`pads`: whether requests of a batch may be filled up to the length of others."""
        self._batches = 0
        self._checked = [0] * (max(Likeness) + 1)
        self._pads = pads
        self.is_open = True
        """Whether a batch may have to be checked."""

    def _is_open_for(self, likeness: Likeness) -> bool:
        return self._checked[likeness] < _ENOUGH or not self._batches % _AGAIN

    def open_question(
        self, sizes: Sequence[int], merged: Inputs, *, is_padded: bool = False
    ) -> Likeness | None:
        """What a check of a batch would tell, made of requests of so many rows; None: nothing.

        `is_padded`: whether some were filled up.
        """
        if is_padded:
            return Likeness.PADDED if self._is_open_for(Likeness.PADDED) else None
        if not self._is_open_for(Likeness.DIFFERENT):
            return None
        likeness = _likeness(sizes, merged)
        return likeness if self._is_open_for(likeness) else None

    def ran(self, answered: Likeness | None) -> None:
        """One more batch was run; `answered`: it was checked, and nothing was wrong."""
        self._batches += 1
        if answered is not None:
            self._checked[answered] += 1
        self.is_open = self._is_open_for(Likeness.DIFFERENT) or (
            self._pads and self._is_open_for(Likeness.PADDED)
        )


def _likeness(sizes: Sequence[int], merged: Inputs) -> Likeness:
    count = len(sizes)
    if sizes.count(sizes[0]) != count:
        return Likeness.DIFFERENT
    for array in merged:
        if array.nbytes <= _SMALL_BYTES and not array.dtype.hasobject:
            # The same question with fewer calls: it may be asked of each batch for long.
            data = array.tobytes()
            if data != data[: len(data) // count] * count:
                return Likeness.DIFFERENT
            continue
        requests = array.reshape(count, -1)
        if not array.dtype.hasobject:
            # Any type, and numbers that are none, as they lie in memory.
            requests = requests.view(np.uint8)
        # Mostly the first two differ already.
        if (requests[1] != requests[0]).any() or (requests[2:] != requests[0]).any():
            return Likeness.DIFFERENT
    return Likeness.SAME


def are_alike(some: Inputs, others: Inputs) -> bool:
    """Whether two answers are the same but for what rounding does."""
    return len(some) == len(others) and all(map(_is_alike, some, others))


def _is_alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind in "biuO" or one.dtype.names:
        return bool(np.all(one == other))
    plain = np.complex128 if one.dtype.kind == "c" else np.float64
    tolerance = _FINE if one.dtype.itemsize > 2 else _COARSE
    one, other = one.astype(plain), other.astype(plain)
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return False
    one, other = one[finite], other[finite]
    return bool(np.all(np.abs(one - other) <= tolerance * np.abs(other).max(initial=0.0)))
