"""PredictRequest and PredictResponse between bytes and NumPy, without protobuf's objects."""

from collections.abc import Sequence
from typing import Literal, final, overload

import numpy as np
from typing_extensions import Buffer

@final
class PredictRequest:
    """A `tensorflow.serving.PredictRequest` whose tensors still lie in the message.

    The structure is checked; the tensors are decoded when asked for, as often as asked.
    The request and arrays over it keep the message alive, which must not change.
    """

    @property
    def has_model_spec(self) -> bool: ...
    @property
    def model_name(self) -> str: ...
    @property
    def version(self) -> int | None:
        """The version asked for, 0 included; None if none, or if a label is set."""

    @property
    def version_label(self) -> str | None:
        """The label asked for; None if none, or if a version is set."""

    @property
    def signature_name(self) -> str:
        """As sent: empty stands for the default."""

    @property
    def input_names(self) -> list[str]:
        """Each name once, in the order of the message."""

    @property
    def output_filter(self) -> list[str]:
        """As sent, repetitions included."""

    def tensor(self, name: str) -> np.ndarray:
        """Decode one input, see `decode_tensor`.

        Raises:
            KeyError: there is no such input.
            InvalidArgument: no array can be made of it.
        """

def decode_predict_request(data: Buffer) -> PredictRequest:
    """Parse a message, any bytes-like object, in one pass.

    Raises:
        InvalidArgument: this is no PredictRequest: cut short, not protobuf, or with a
            name that is not UTF-8.
    """

def first_tensor_data(head: Buffer) -> int:
    """Where the values of the first large tensor begin, by the first bytes of a PredictRequest.

    -1 if `head` does not tell. Any bytes will do: nothing is checked.
    """

@overload
def encode_predict_response(
    names: Sequence[str],
    arrays: Sequence[np.ndarray],
    model_name: str,
    version: int,
    signature_name: str,
    as_tensor_content: bool = False,
    grpc_prefix: bool = False,
    in_pieces: Literal[False] = False,
) -> bytes: ...
@overload
def encode_predict_response(
    names: Sequence[str],
    arrays: Sequence[np.ndarray],
    model_name: str,
    version: int,
    signature_name: str,
    as_tensor_content: bool = False,
    grpc_prefix: bool = False,
    in_pieces: bool = False,
) -> bytes | list[bytes | memoryview]:
    """A `tensorflow.serving.PredictResponse`, written once into memory of the right size.

    With `grpc_prefix` the five bytes that gRPC puts before an uncompressed message are
    there already. See `encode_tensor` for the arrays.

    With `in_pieces` values of 64 KiB or more are not copied, if their bytes are the same in
    the message: then the pieces of the message come back, in order, and those arrays
    must not change before they are sent.

    Raises:
        InternalError: no tensor can hold the elements of an array.
        ResourceExhausted: the message would have more than 2 GiB.
    """
