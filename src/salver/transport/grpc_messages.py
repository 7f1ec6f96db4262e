"""What the gRPC handlers share: messages from bytes and back."""

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from salver.codecs.messages import message_class
from salver.codecs.predict_codec import PredictRequest
from salver.core.deep_array import DeepArray
from salver.errors import InternalError, InvalidArgument
from salver.execution.prepared import PreparedSignature
from salver.service.predict import Predict
from salver.transport.exchange import Message
from salver.transport.grpc import PREFIX_BYTES


def parsed(full_name: str, message: Message) -> Any:
    """The request message.

    Raises:
        InternalError: the bytes are no such message. Without details, as in gRPC, where
            such a request never reaches a handler.
    """
    request = message_class(full_name)()
    try:
        request.ParseFromString(bytes(message))
    except DecodeError as error:
        raise InternalError("") from error
    return request


def framed(response: Any) -> bytes:
    """The response message behind its gRPC prefix."""
    message: bytes = response.SerializeToString()
    return b"\0" + len(message).to_bytes(PREFIX_BYTES - 1, "big") + message


def chosen(spec: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label of a ModelSpec; of the last two, one at most is set."""
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    label = spec.version_label if choice == "version_label" else None
    return spec.name, version, label


def tensors_of(
    request: PredictRequest, prepared: PreparedSignature, predict: Predict
) -> list[np.ndarray]:
    """The inputs of a request in the order of the signature, defaults filled in.

    Raises:
        InvalidArgument: an input is missing, unknown or malformed.
    """
    sent = request.input_names
    predict.check_inputs(prepared, sent)
    inputs = []
    for name in prepared.input_names:
        if name not in sent:
            inputs.append(prepared.signature.defaults[name])
            continue
        try:
            array = request.tensor(name)
        except InvalidArgument as error:
            raise InvalidArgument(f"tensor parsing error: {name}") from error
        if type(array) is DeepArray and not prepared.takes_deep_arrays:
            raise InvalidArgument(
                f"Input {name} has {len(array.dims)} dimensions: the model takes 64 at the most"
            )
        inputs.append(array)
    return inputs
