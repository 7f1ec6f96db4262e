"""Arrays to the JSON of TensorFlow Serving's answers, blanks and line breaks included.

Floats are printed with `%g` if that reads back to the same number, else with `%.9g`
(float32) or `%.17g` (float64), and get `.0` if they look like integers; NaN and infinities
are bare words, denormal numbers zero. Strings keep every byte, also invalid UTF-8; only `"`,
the backslash and control characters are escaped.
"""

from collections.abc import Mapping

import numpy as np

def encode_predict(outputs: Mapping[str, np.ndarray], row_format: bool) -> bytes:
    """The answer to a predict request, outputs in the given order.

    Strings of an output whose name ends in `_bytes` are written in base64.

    Raises:
        InvalidArgument: there are no outputs, one has a type that JSON cannot carry, or, in
            the row format, their first dimensions are missing or differ.
    """

def encode_classify(classes: np.ndarray | None, scores: np.ndarray | None) -> bytes:
    """The answer to a classify request, from labels and scores of shape [examples, classes].

    Where one of the two is None its place is taken by "" or 0.0.

    Raises:
        InvalidArgument: there are no examples.
    """

def encode_regress(values: np.ndarray) -> bytes:
    """The answer to a regress request, from one value per example.

    Raises:
        InvalidArgument: there are no examples.
    """

def encode_error(message: str | bytes) -> bytes:
    """The answer that an error gives; surrogate escapes become the bytes they stand for."""
