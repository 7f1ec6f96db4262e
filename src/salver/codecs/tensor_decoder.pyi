"""TensorProto to NumPy."""

import numpy as np
from typing_extensions import Buffer

def decode_tensor(data: Buffer) -> np.ndarray:
    """The array of a serialized `tensorflow.TensorProto`.

    Values that fill the array from one piece of the message (`tensor_content`, or a
    packed float, double or complex field) are not copied: the array is then read-only,
    lies over `data`, keeps it alive, and may not be aligned. All other arrays have
    memory of their own. Strings are an object array of `bytes`.

    As in TensorFlow, a missing shape is a scalar, only the field of the data type (or
    `tensor_content`) is read, the last value is repeated, missing values are zero and
    surplus ones are ignored.

    Raises:
        InvalidArgument: no TensorProto, or one that no array can be made of: unknown
            type, negative dimension, more than 64 dimensions, `tensor_content` of
            another length, more than 2 GiB, or more than 256 MiB to be filled in.
    """
