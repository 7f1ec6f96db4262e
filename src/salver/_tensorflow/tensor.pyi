"""NumPy arrays to TensorFlow's tensors and back.

Small arrays are copied in, large ones that lie at an address divisible by 64 are
shared until TensorFlow lets go of them: an array that was passed in must not be
changed afterwards. Small results are copied out, the memory of large ones is
TensorFlow's own, read-only, and freed with the array.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

class ElementTypes:
    """Which NumPy type stands for which `tensorflow.DataType`, by its number.

    Each NumPy type has as many bytes an element as TensorFlow's tensor has;
    strings are object arrays of `bytes`.

    `deep_array` makes arrays of more axes than NumPy has, from the elements in one line and the
    shape; those that are passed in have it in an attribute `dims`, an array of int64.
    """

    def __init__(
        self,
        numpy_types: Mapping[int, np.dtype],
        deep_array: Callable[[np.ndarray, Sequence[int]], np.ndarray],
    ) -> None: ...
