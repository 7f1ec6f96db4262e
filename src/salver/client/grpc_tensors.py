"""The tensors of predict requests and answers over gRPC, which are copied as rarely as can be.

Source: tensorflow_serving/apis/predict.proto. What is not a tensor is left to protobuf.
"""

from collections.abc import Mapping

import numpy as np
from google.protobuf.message import DecodeError

from salver.backends.protobuf_wire import Message, encoded_content, encoded_varint
from salver.codecs.messages import WireMessage, message_class
from salver.codecs.tensor_decoder import decode_tensor
from salver.codecs.tensor_encoder import encode_tensor
from salver.core.data_type import DataType, data_type_of
from salver.errors import InternalError, InvalidArgument

_INPUTS_TAG = b"\x12"
"""Field 2 of the request, a map; an entry has the name as its field 1 and the tensor as 2."""
_TENSOR_TAG = b"\x12"
_OUTPUTS, _SPEC = 1, 2
"""Fields of the response."""


def with_inputs(request: bytes, inputs: Mapping[str, np.ndarray]) -> bytes:
    """A serialized PredictRequest without inputs, and these.

    Raises:
        InvalidArgument: no tensor can hold such elements.
        ResourceExhausted: a tensor has more than 2 GiB.
    """
    pieces = [request]
    for name, array in inputs.items():
        tensor = _tensor(name, array)
        head = encoded_content(1, name.encode()) + _TENSOR_TAG + encoded_varint(len(tensor))
        pieces += (_INPUTS_TAG, encoded_varint(len(head) + len(tensor)), head, tensor)
    return b"".join(pieces)


def outputs_of(response: bytes) -> tuple[dict[str, np.ndarray], WireMessage]:
    """The arrays of a serialized PredictResponse, and its ModelSpec.

    Raises:
        InternalError: it is none.
    """
    outputs = {}
    spec = message_class("tensorflow.serving.ModelSpec")()
    try:
        message = Message(memoryview(response))
        for content in message.contents(_OUTPUTS):
            entry = Message(content)
            outputs[entry.text(1)] = _array(entry.content(2))
        spec.ParseFromString(bytes(message.content(_SPEC)))
    except (ValueError, DecodeError, InvalidArgument) as error:
        raise InternalError(f"the server's answer is no PredictResponse: {error}") from error
    return outputs, spec


def _tensor(name: str, array: np.ndarray) -> bytes:
    # Numbers as they lie in memory; strings have no such form that all servers read.
    try:
        return encode_tensor(array, data_type_of(array.dtype) is not DataType.STRING)
    except InternalError as error:
        raise InvalidArgument(f"input {name!r}: {error}") from error


def _array(tensor: memoryview) -> np.ndarray:
    array = decode_tensor(tensor)
    # Over the message it would be read-only, and perhaps not aligned.
    return array if array.flags.writeable else array.copy()
