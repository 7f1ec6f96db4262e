"""Tensors of more dimensions than NumPy's arrays have.

TensorFlow allows 254 dimensions, NumPy 64. All but a few of so many have size 1, so nothing of
use can be computed with them here; but they can be handed on as they are.
"""

from collections.abc import Sequence

import numpy as np


class DeepArray(np.ndarray):
    """The elements in one line, `(n,)`, and the real shape beside them.

    Only who asks for `dims` knows of it: for all others this is an array of one dimension, so
    that it must reach none who looks at shapes.
    """

    dims: np.ndarray
    """The sizes of all dimensions, int64."""


def deep_array(elements: np.ndarray, dims: Sequence[int]) -> DeepArray:
    """The array of these elements, which lie in one line, with the shape `dims`."""
    array = elements.view(DeepArray)
    array.dims = np.array(dims, np.int64)
    return array
