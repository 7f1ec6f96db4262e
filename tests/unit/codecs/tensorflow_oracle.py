"""A program of its own: what TensorFlow makes of serialized tensors.

Reads pickled pairs (message, number of the data type) from standard input until it
ends; answers each with a pickled (shape, values), or None where TensorFlow refuses
or NumPy has no such array.
"""

import os
import pickle
import sys
import warnings
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def parse(message: bytes, data_type: int) -> tuple[tuple[int, ...], Any] | None:
    try:
        value = tf.io.parse_tensor(message, tf.dtypes.as_dtype(data_type)).numpy()
    except (tf.errors.InvalidArgumentError, TypeError, ValueError):
        return None
    if data_type == tf.string.as_datatype_enum:
        array = np.asarray(value, dtype=object)
        return array.shape, array.ravel().tolist()
    return np.shape(value), value.tobytes()


def main() -> None:
    while True:
        try:
            message, data_type = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(parse(message, data_type), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
