"""The gRPC services of TensorFlow Serving: what each method does with a message.

A handler decodes the message, calls the use case and encodes the answer; it may
raise ServingError until it has handed the request on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from salver.codecs.messages import WireMessage, message_class
from salver.codecs.predict_codec import decode_predict_request, encode_predict_response
from salver.core.servable import ServableId
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import InternalError, InvalidArgument, ServingError, unexpected_error
from salver.execution.prepared import PreparedSignature
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.predict import Predict, Prediction
from salver.service.status import Status
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.exchange import Handler, Message, UnaryCall
from salver.transport.grpc_messages import chosen, framed, parsed, tensors_of

logger = logging.getLogger(__name__)

Reload = Callable[[WireMessage], Awaitable[None]]
"""Applies a `tensorflow.serving.ModelServerConfig`; raises ServingError if it is refused."""


class PredictionService:
    """`tensorflow.serving.PredictionService`. Loop only."""

    def __init__(
        self,
        opening: Opening,
        predict: Predict,
        metadata: Metadata,
        metrics: ServingMetrics,
        as_tensor_content: bool = False,
    ) -> None:
        self._opening = opening
        self._predict = predict
        self._metadata = metadata
        self._metrics = metrics
        self._as_tensor_content = as_tensor_content

    def handlers(self) -> Mapping[bytes, Handler]:
        service = b"/tensorflow.serving.PredictionService/"
        return {
            service + b"Predict": self.predict,
            service + b"GetModelMetadata": self.get_model_metadata,
        }

    def predict(self, call: UnaryCall, message: Message) -> None:
        try:
            request = decode_predict_request(message)
        except InvalidArgument as error:
            # What is no message at all never reaches the handler in gRPC: no details.
            raise InternalError("") from error
        model = request.model_name
        try:
            if not request.has_model_spec:
                raise InvalidArgument("Missing ModelSpec")
            if call.record is not None:
                call.record.asks(model, request.signature_name or DEFAULT_SIGNATURE)
            handle = self._opening.open(model, request.version, request.version_label)
            if call.record is not None:
                call.record.opened(handle.id)
            try:
                prepared = self._predict.signature(handle, request.signature_name)
                refusal = None
                if not request.output_filter:
                    refusal = self._predict.refusal(handle, prepared, call.deadline)
                inputs = [] if refusal else tensors_of(request, prepared, self._predict)
            except BaseException:
                handle.release()
                raise
            if refusal is not None:
                id_ = handle.id
                handle.release()
                self._metrics.request_failed(model, refusal.code)
                again = partial(self._refused_again, model, id_, prepared, refusal)
                call.refuse(refusal, again)
                return
            run = self._predict.run(
                handle,
                prepared,
                inputs,
                request.output_filter,
                call.deadline,
                partial(self._predicted, call, model),
            )
            if run is not None:
                call.cancel = run.abandon
        except ServingError as error:
            self._metrics.request_failed(model, error.code)
            raise

    def _refused_again(
        self, model: str, id_: ServableId, prepared: PreparedSignature, refusal: ServingError
    ) -> None:
        self._predict.count_refusal(id_, prepared, refusal)
        self._metrics.request_failed(model, refusal.code)

    def _predicted(
        self, call: UnaryCall, model: str, prediction: Prediction | None, error: ServingError | None
    ) -> None:
        if prediction is not None:
            try:
                framed = encode_predict_response(
                    prediction.output_names,
                    prediction.outputs,
                    prediction.id.name,
                    prediction.id.version,
                    prediction.signature_name,
                    self._as_tensor_content,
                    grpc_prefix=True,
                    in_pieces=True,
                )
            except ServingError as failure:
                error = failure
            except Exception:  # the request boundary
                logger.exception("Unexpected error in the answer of %s", prediction.id)
                error = unexpected_error()
            else:
                self._metrics.request_succeeded(model, "Predict", "GRPC", call.started)
                call.succeed(framed)
                return
        assert error is not None
        self._metrics.request_failed(model, error.code)
        call.fail(error)

    def get_model_metadata(self, call: UnaryCall, message: Message) -> None:
        request = parsed("tensorflow.serving.GetModelMetadataRequest", message)
        if not request.HasField("model_spec"):
            raise InvalidArgument("Missing ModelSpec")
        if call.record is not None:
            call.record.asks(request.model_spec.name)
        self._metadata.check_fields(request.metadata_field)
        id_, definition = self._metadata.of(*chosen(request.model_spec))
        if call.record is not None:
            call.record.opened(id_)
        response = message_class("tensorflow.serving.GetModelMetadataResponse")()
        response.model_spec.name = id_.name
        response.model_spec.version.value = id_.version
        field = response.metadata["signature_def"]
        field.type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        field.value = definition
        call.succeed(framed(response))


class ModelService:
    """`tensorflow.serving.ModelService`. Loop only."""

    def __init__(self, status: Status, reload: Reload, metrics: ServingMetrics) -> None:
        self._status = status
        self._reload = reload
        self._metrics = metrics
        self._reloads: set[asyncio.Task[None]] = set()

    def handlers(self) -> Mapping[bytes, Handler]:
        service = b"/tensorflow.serving.ModelService/"
        return {
            service + b"GetModelStatus": self.get_model_status,
            service + b"HandleReloadConfigRequest": self.handle_reload_config_request,
        }

    def get_model_status(self, call: UnaryCall, message: Message) -> None:
        request = parsed("tensorflow.serving.GetModelStatusRequest", message)
        if not request.HasField("model_spec"):
            raise InvalidArgument("Missing ModelSpec")
        name, version, _ = chosen(request.model_spec)
        if call.record is not None:
            call.record.asks(name)
        response = message_class("tensorflow.serving.GetModelStatusResponse")()
        for status in self._status.of(name, version):
            entry = response.model_version_status.add()
            entry.version = status.version
            entry.state = int(status.state)
            # Present even if empty: the original always sets it.
            entry.status.SetInParent()
            if status.error is not None:
                entry.status.error_code = int(status.error.code)
                entry.status.error_message = status.error.message
        call.succeed(framed(response))

    def handle_reload_config_request(self, call: UnaryCall, message: Message) -> None:
        request = parsed("tensorflow.serving.ReloadConfigRequest", message)
        if request.config.WhichOneof("config") != "model_config_list":
            raise InvalidArgument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        # It goes on when the caller is gone: half a config would be in force otherwise.
        task = asyncio.get_running_loop().create_task(self._reload_config(call, request))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_config(self, call: UnaryCall, request: WireMessage) -> None:
        names = list(dict.fromkeys(request.metric_names))
        before = {name: self._metrics.first_value(name) for name in names}
        try:
            await self._reload(request.config)
        except ServingError as error:
            call.fail(error)
            return
        except Exception:
            logger.exception("Unexpected error in a reload of the config")
            call.fail(unexpected_error())
            return
        response = message_class("tensorflow.serving.ReloadConfigResponse")()
        response.status.SetInParent()
        for name in names:
            metric = response.metric.add()
            metric.name = name
            metric.int64_value_increase = self._metrics.first_value(name) - before[name]
        call.succeed(framed(response))
