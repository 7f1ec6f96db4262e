"""NumPy arrays to TensorFlow's tensors and back.

Small arrays are copied in, large ones that lie at an address divisible by 64 are
shared until TensorFlow lets go of them: an array that was passed in must not be
changed afterwards. Small results are copied out, the memory of large ones is
TensorFlow's own, read-only, and freed with the array.
"""

from collections.abc import Mapping

import numpy as np

class ElementTypes:
    """Which NumPy type stands for which `tensorflow.DataType`, by its number.

    Each NumPy type has as many bytes an element as TensorFlow's tensor has;
    strings are object arrays of `bytes`.
    """

    def __init__(self, numpy_types: Mapping[int, np.dtype]) -> None: ...
