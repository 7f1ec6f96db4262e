"""Columns of a table, as the backends in Java take them."""

from collections.abc import Iterable, Sequence

import numpy as np

from salver.errors import InvalidArgument


def require_as_many(names: Iterable[str], arrays: Sequence[np.ndarray]) -> None:
    """Whether all inputs have the same number of rows.

    Raises:
        InvalidArgument: they do not.
    """
    first = len(arrays[0])
    if any(len(array) != first for array in arrays):
        told = ", ".join(f"{name}: {len(array)}" for name, array in zip(names, arrays, strict=True))
        raise InvalidArgument(f"the inputs do not have the same number of rows: {told}")
