"""How much one expression may make: counted before NumPy is asked for it."""

import math
from collections.abc import Sequence

import numpy as np

from salver.errors import InvalidArgument

MOST_ELEMENTS = 1 << 26
"""Of all arrays of one expression together: half a gibibyte of float64."""
MOST_ITEMS = 1 << 22
"""Of lists, tuples and strings, which take more memory and time."""
_WORK_PER_ELEMENT = 64
"""So many multiplications of a matrix product count as one element."""


class Budget:
    """What one expression has left. Every function that makes something pays first."""

    def __init__(self) -> None:
        self._elements = MOST_ELEMENTS
        self._items = MOST_ITEMS

    def elements(self, count: int) -> None:
        """Pay for an array of so many elements.

        Raises:
            InvalidArgument: it would be too large.
        """
        if count > self._elements:
            raise InvalidArgument(
                f"it makes arrays of more than {MOST_ELEMENTS:,} elements "
                f"({count:,} at once); put such data into a file"
            )
        self._elements -= max(count, 1)

    def items(self, count: int) -> None:
        """Pay for a list or string of so many items.

        Raises:
            InvalidArgument: it would be too large.
        """
        if count > self._items:
            raise InvalidArgument(
                f"it makes lists or strings of more than {MOST_ITEMS:,} items; "
                "put such data into a file"
            )
        self._items -= max(count, 1)

    def shape(self, shape: object) -> tuple[int, ...]:
        """Pay for an array of a shape: a whole number, or a list or tuple of them.

        Raises:
            InvalidArgument: that is no shape, or too large.
        """
        sizes = shape if isinstance(shape, list | tuple | np.ndarray) else [shape]
        checked = tuple(whole(size, "a size") for size in sizes)
        if any(size < 0 for size in checked):
            raise InvalidArgument(f"a size of {min(checked)} is below zero")
        self.array(checked)
        return checked

    def array(self, shape: Sequence[int]) -> None:
        """Pay for an array of a shape, one without elements by its other sizes.

        What is made of it may have as many: the sums of its empty rows.

        Raises:
            InvalidArgument: it would be too large.
        """
        self.elements(math.prod(max(size, 1) for size in shape))

    def product(self, left: Sequence[int], right: Sequence[int]) -> None:
        """Pay for a matrix product of arrays of these shapes, for its work as well.

        Raises:
            InvalidArgument: it would be too large.
        """
        inner = max(left[-1], 1) if left else 1
        one, two = (math.prod(max(size, 1) for size in shape) for shape in (left, right))
        outer = one // inner * (two // inner)
        if len(left) > 2 or len(right) > 2:
            outer = one * two // inner
        self.elements(max(outer * inner // _WORK_PER_ELEMENT, outer))


def whole(value: object, what: str) -> int:
    """A whole number.

    Raises:
        InvalidArgument: it is something else.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InvalidArgument(f"{value!r:.80} is not {what}: that is a whole number")
    return int(value)
