"""The calls of TensorFlow Serving's gRPC API: messages from arrays, and results from messages."""

from collections.abc import Collection, Mapping

import numpy as np
from google.protobuf.message import DecodeError

from salver.client.exchange import Call, Operation
from salver.client.message_results import metadata_of, statuses_of
from salver.client.model_choice import ModelChoice
from salver.client.results import ModelMetadata, Prediction, VersionStatus
from salver.codecs.messages import WireMessage, message_class
from salver.codecs.tensor_decoder import decode_tensor
from salver.codecs.tensor_encoder import encode_tensor
from salver.core.data_type import DataType, data_type_of
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import InternalError

_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"


class GrpcProtocol:
    """Operations over gRPC. From any thread."""

    def predict(
        self, choice: ModelChoice, inputs: Mapping[str, np.ndarray], outputs: Collection[str]
    ) -> Operation[Prediction]:
        request = message_class("salver.SerializedPredictRequest")()
        _fill_spec(request.model_spec, choice)
        for name, array in inputs.items():
            request.inputs[name] = _tensor(array)
        request.output_filter.extend(outputs)
        answer = yield Call(_PREDICTION + "Predict", request.SerializeToString())
        response = _message("salver.SerializedPredictResponse", answer.body)
        spec = response.model_spec
        return Prediction(
            {name: _array(tensor) for name, tensor in response.outputs.items()},
            spec.name,
            spec.version.value,
            spec.signature_name or choice.signature or DEFAULT_SIGNATURE,
        )

    def metadata(self, choice: ModelChoice) -> Operation[ModelMetadata]:
        request = message_class("tensorflow.serving.GetModelMetadataRequest")()
        _fill_spec(request.model_spec, choice)
        request.metadata_field.append("signature_def")
        answer = yield Call(_PREDICTION + "GetModelMetadata", request.SerializeToString())
        response = _message("tensorflow.serving.GetModelMetadataResponse", answer.body)
        definitions = response.metadata["signature_def"].value
        return metadata_of(response.model_spec, definitions)

    def status(self, choice: ModelChoice) -> Operation[tuple[VersionStatus, ...]]:
        request = message_class("tensorflow.serving.GetModelStatusRequest")()
        _fill_spec(request.model_spec, choice)
        answer = yield Call(_MODEL + "GetModelStatus", request.SerializeToString())
        response = _message("tensorflow.serving.GetModelStatusResponse", answer.body)
        return statuses_of(response)


def _fill_spec(spec: WireMessage, choice: ModelChoice) -> None:
    spec.name = choice.model
    spec.signature_name = choice.signature
    if choice.version is not None:
        spec.version.value = choice.version
    elif choice.label is not None:
        spec.version_label = choice.label


def _tensor(array: np.ndarray) -> bytes:
    # Numbers as they lie in memory; strings have no such form that all servers read.
    return encode_tensor(array, data_type_of(array.dtype) is not DataType.STRING)


def _array(tensor: bytes) -> np.ndarray:
    array = decode_tensor(tensor)
    # Over the message it would be read-only, and perhaps not aligned.
    return array if array.flags.writeable else array.copy()


def _message(full_name: str, body: bytes) -> WireMessage:
    message = message_class(full_name)()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise InternalError(f"the server's answer is no {full_name}") from error
    return message
