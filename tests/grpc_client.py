"""A client over gRPC as users have it: grpcio, and the stubs of tensorflow-serving-api."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

NO_LIMITS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
TIMEOUT_S = 60.0


def fill_spec(
    spec: Any, model: str, signature: str = "", version: int | None = None, label: str | None = None
) -> None:
    spec.name = model
    spec.signature_name = signature
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def predict_request(
    model: str,
    inputs: Mapping[str, Any],
    *,
    signature: str = "",
    version: int | None = None,
    label: str | None = None,
    output_filter: Sequence[str] = (),
) -> Any:
    """A PredictRequest; inputs are arrays, or TensorProtos that are taken as they are."""
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    fill_spec(request.model_spec, model, signature, version, label)
    for name, value in inputs.items():
        is_proto = isinstance(value, tf.compat.v1.make_tensor_proto(0).__class__)
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


class GrpcClient:
    """One channel, with both services, for a `with` block."""

    def __init__(
        self,
        target: str,
        *,
        credentials: Any = None,
        compression: Any = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        options = (*NO_LIMITS, *options)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options, compression)
        else:
            self._channel = grpc.secure_channel(target, credentials, options, compression)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def unary(self, path: str, message: bytes) -> Any:
        """Call any method with any bytes."""
        return self._channel.unary_unary(path)(message, timeout=TIMEOUT_S)

    def response(self, model: str, inputs: Mapping[str, Any], **choice: Any) -> Any:
        request = predict_request(model, inputs, **choice)
        return self.prediction.Predict(request, timeout=TIMEOUT_S)

    def predict(self, model: str, inputs: Mapping[str, Any], **choice: Any) -> dict[str, Any]:
        """The outputs as arrays."""
        outputs = self.response(model, inputs, **choice).outputs
        return {name: tf.make_ndarray(tensor) for name, tensor in outputs.items()}

    def answer(self, model: str, x: float = 2.0, **choice: Any) -> float:
        """The one float `y` that a model makes of one float `x`."""
        (y,) = (
            self.response(model, {"x": np.array([x], np.float32)}, **choice).outputs["y"].float_val
        )
        return float(y)

    def metadata(
        self, model: str, fields: Sequence[str] = ("signature_def",), **choice: Any
    ) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        fill_spec(request.model_spec, model, **choice)
        return self.prediction.GetModelMetadata(request, timeout=TIMEOUT_S)

    def status(self, model: str, **choice: Any) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest()
        fill_spec(request.model_spec, model, **choice)
        return self.model.GetModelStatus(request, timeout=TIMEOUT_S)
