"""NumPy to TensorProto."""

import numpy as np

def encode_tensor(array: np.ndarray, as_tensor_content: bool = False) -> bytes:
    """`array` as a serialized `tensorflow.TensorProto`, every element written.

    Values go to the field of their data type, or all to `tensor_content`. Any memory
    layout and byte order is taken; fixed-width text is sent as UTF-8.

    Raises:
        InternalError: no tensor can hold such elements.
        ResourceExhausted: the message would have more than 2 GiB.
    """
