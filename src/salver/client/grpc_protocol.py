"""The calls of TensorFlow Serving's gRPC API: messages from arrays, and results from messages."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from google.protobuf.message import DecodeError, Message

from salver.client.example_features import Example, serialized
from salver.client.exchange import Call, Operation
from salver.client.grpc_tensors import outputs_of, with_inputs
from salver.client.known_metadata import KnownMetadata
from salver.client.message_results import (
    TELLS_NO_NAMES,
    classification_of,
    config_message,
    metadata_of,
    regression_of,
    statuses_of,
)
from salver.client.model_choice import ModelChoice
from salver.client.results import (
    Classification,
    ModelMetadata,
    Prediction,
    Regression,
    Task,
    VersionStatus,
)
from salver.client.typed_inputs import Inputs, arrays_of, fitted
from salver.codecs.messages import WireMessage, message_class
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import InternalError, InvalidArgument, ServingError, Unimplemented

_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"


class GrpcProtocol:
    """Operations over gRPC. From any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._known = KnownMetadata(clock, self.metadata)

    def predict(
        self, choice: ModelChoice, inputs: Inputs, outputs: Collection[str]
    ) -> Operation[Prediction]:
        arrays = yield from arrays_of(inputs, lambda: self._known.signature(choice))
        request = message_class("tensorflow.serving.PredictRequest")()
        _fill_spec(request.model_spec, choice)
        request.output_filter.extend(outputs)
        head = request.SerializeToString()
        arrays = self._probably_fitted(choice, arrays)
        try:
            answer = yield Call(_PREDICTION + "Predict", with_inputs(head, arrays))
        except InvalidArgument as error:
            # Nobody asks for a signature before each call; now it tells whether types are why.
            others = yield from self._fitted(choice, arrays, error)
            answer = yield Call(_PREDICTION + "Predict", with_inputs(head, others))
        results, spec = outputs_of(answer.body)
        return Prediction(results, *_told(spec, choice))

    def _probably_fitted(
        self, choice: ModelChoice, arrays: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """In the types that the latest version had that is known of."""
        signature = self._known.last_signature(choice)
        if signature is None:
            return arrays
        try:
            return fitted(arrays, signature)
        except InvalidArgument:
            return arrays

    def _fitted(
        self, choice: ModelChoice, arrays: dict[str, np.ndarray], refusal: InvalidArgument
    ) -> Operation[dict[str, np.ndarray]]:
        """In other types than those that the server refused.

        Raises:
            InvalidArgument: they do not fit, or the refusal has other reasons.
        """
        try:
            signature = yield from self._known.signature(choice)
        except ServingError:
            raise refusal from None
        others = fitted(arrays, signature)
        if others is arrays:
            raise refusal
        return others

    def classify(
        self, choice: ModelChoice, examples: Sequence[Example], context: Example | None
    ) -> Operation[Classification]:
        request = _examples_request(choice, examples, context)
        answer = yield Call(_PREDICTION + "Classify", request)
        response = _message("tensorflow.serving.ClassificationResponse", answer.body)
        return classification_of(response.result, *_told(response.model_spec, choice))

    def regress(
        self, choice: ModelChoice, examples: Sequence[Example], context: Example | None
    ) -> Operation[Regression]:
        request = _examples_request(choice, examples, context)
        answer = yield Call(_PREDICTION + "Regress", request)
        response = _message("tensorflow.serving.RegressionResponse", answer.body)
        return regression_of(response.result, *_told(response.model_spec, choice))

    def multi_inference(
        self,
        choice: ModelChoice,
        tasks: Sequence[Task],
        examples: Sequence[Example],
        context: Example | None,
    ) -> Operation[tuple[Classification | Regression, ...]]:
        request = message_class("salver.MultiExamplesRequest")()
        for task in tasks:
            entry = request.tasks.add(method_name=f"tensorflow/serving/{task.method}")
            _fill_spec(entry.model_spec, choice)
            entry.model_spec.signature_name = task.signature or ""
        _fill_input(request.input, examples, context)
        answer = yield Call(_PREDICTION + "MultiInference", request.SerializeToString())
        response = _message("tensorflow.serving.MultiInferenceResponse", answer.body)
        return tuple(
            classification_of(result.classification_result, *_told(result.model_spec, choice))
            if result.WhichOneof("result") == "classification_result"
            else regression_of(result.regression_result, *_told(result.model_spec, choice))
            for result in response.results
        )

    def metadata(self, choice: ModelChoice) -> Operation[ModelMetadata]:
        request = message_class("tensorflow.serving.GetModelMetadataRequest")()
        _fill_spec(request.model_spec, choice)
        request.metadata_field.append("signature_def")
        answer = yield Call(_PREDICTION + "GetModelMetadata", request.SerializeToString())
        response = _message("tensorflow.serving.GetModelMetadataResponse", answer.body)
        definitions = response.metadata["signature_def"].value
        metadata = metadata_of(response.model_spec, definitions)
        self._known.keep(choice, metadata)
        return metadata

    def status(self, choice: ModelChoice) -> Operation[tuple[VersionStatus, ...]]:
        request = message_class("tensorflow.serving.GetModelStatusRequest")()
        _fill_spec(request.model_spec, choice)
        answer = yield Call(_MODEL + "GetModelStatus", request.SerializeToString())
        response = _message("tensorflow.serving.GetModelStatusResponse", answer.body)
        return statuses_of(response)

    def models(self) -> Operation[tuple[str, ...]]:
        try:
            answer = yield Call("/salver.Models/ListModels", b"")
        except Unimplemented as error:
            raise Unimplemented(TELLS_NO_NAMES) from error
        return tuple(_message("salver.ListModelsResponse", answer.body).names)

    def reload_config(self, config: str | Message) -> Operation[None]:
        request = message_class("tensorflow.serving.ReloadConfigRequest")()
        request.config.CopyFrom(config_message(config))
        method = _MODEL + "HandleReloadConfigRequest"
        answer = yield Call(method, request.SerializeToString(), may_repeat=False)
        _message("tensorflow.serving.ReloadConfigResponse", answer.body)


def _fill_spec(spec: WireMessage, choice: ModelChoice) -> None:
    spec.name = choice.model
    spec.signature_name = choice.signature
    if choice.version is not None:
        spec.version.value = choice.version
    elif choice.label is not None:
        spec.version_label = choice.label


def _told(spec: WireMessage, choice: ModelChoice) -> tuple[str, int | None, str]:
    """Model, version and signature of an answer."""
    version = spec.version.value if spec.HasField("version") else choice.version
    signature = spec.signature_name or choice.signature or DEFAULT_SIGNATURE
    return spec.name or choice.model, version, signature


def _examples_request(
    choice: ModelChoice, examples: Sequence[Example], context: Example | None
) -> bytes:
    request = message_class("salver.ExamplesRequest")()
    _fill_spec(request.model_spec, choice)
    _fill_input(request.input, examples, context)
    data: bytes = request.SerializeToString()
    return data


def _fill_input(message: WireMessage, examples: Sequence[Example], context: Example | None) -> None:
    given = [serialized(example) for example in examples]
    if context is None:
        message.example_list.examples.extend(given)
    else:
        message.example_list_with_context.examples.extend(given)
        message.example_list_with_context.context = serialized(context)


def _message(full_name: str, body: bytes) -> WireMessage:
    message = message_class(full_name)()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise InternalError(f"the server's answer is no {full_name}") from error
    return message
