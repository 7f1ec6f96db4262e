"""A client of our own for the checks: what the load generators count must be right answers.

Speaks both protocols with ready bytes, so that one request can be sent by the load
generator and by this client alike.
"""

import http.client
import json
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self, cast

import grpc
import numpy as np

from salver.codecs.messages import message_class

PREDICT = "/tensorflow.serving.PredictionService/Predict"
DATA_TYPES = {
    np.dtype(np.float32): (1, "float_val"),
    np.dtype(np.float64): (2, "double_val"),
    np.dtype(np.int32): (3, "int_val"),
}
TIMEOUT_S = 120.0
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def predict_request(
    model_name: str,
    input_name: str,
    values: np.ndarray,
    *,
    packed_values: bool,
    signature_name: str = "",
) -> bytes:
    """A serialized PredictRequest; the numbers in `float_val` and the like or `tensor_content`."""
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    tensor = request.inputs[input_name]
    tensor.dtype, field = DATA_TYPES[values.dtype]
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    if packed_values:
        getattr(tensor, field).extend(values.ravel().tolist())
    else:
        tensor.tensor_content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return request.SerializeToString()


def grpc_body(message: bytes) -> bytes:
    """A message as a gRPC body: a flag (not compressed), the length, the message."""
    return struct.pack(">BI", 0, len(message)) + message


def rest_body(values: np.ndarray, signature_name: str = "") -> bytes:
    """The row format with six decimals, as most clients send it."""
    rounded = np.round(values.astype(np.float64), 6)
    body = {"signature_name": signature_name} if signature_name else {}
    return json.dumps({**body, "instances": rounded.tolist()}, separators=(",", ":")).encode()


def floats_of_response(message: bytes, output_name: str) -> np.ndarray:
    """The one output of a PredictResponse, floats of either width, in its shape."""
    response = message_class("tensorflow.serving.PredictResponse")()
    response.ParseFromString(message)
    tensor = response.outputs[output_name]
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    is_double = tensor.dtype == DATA_TYPES[np.dtype(np.float64)][0]
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, "<f8" if is_double else "<f4")
    elif is_double:
        values = np.array(tensor.double_val)
    else:
        values = np.array(tensor.float_val, np.float32)
    return values.reshape(shape)


class GrpcClient:
    """One channel. Use as a context manager."""

    def __init__(self, port: int, method: str = PREDICT) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED)
        self._predict = self._channel.unary_unary(method)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()

    def predict(self, request: bytes) -> bytes:
        """Raises grpc.RpcError for every answer but OK."""
        response = self._predict(request, timeout=TIMEOUT_S, wait_for_ready=True)
        return cast("bytes", response)

    def predict_at_once(self, request: bytes, count: int) -> list[bytes]:
        """The same request `count` times, all in flight together."""
        return self.predict_together([request] * count)

    def predict_together(self, requests: Sequence[bytes]) -> list[bytes]:
        """All of these, in flight together; the answers in the same order."""
        futures = [self._predict.future(request, timeout=TIMEOUT_S) for request in requests]
        return [future.result() for future in futures]


class RestClient:
    """One connection. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        return response.status, response.read()
