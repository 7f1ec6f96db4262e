"""The gRPC methods that take `tf.Example`s: Classify, Regress, MultiInference."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from salver.codecs.example_messages import (
    examples_of,
    fill_classifications,
    fill_regressions,
)
from salver.codecs.messages import message_class
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import InvalidArgument, ServingError, unexpected_error
from salver.service.example_signature import Classification, Method
from salver.service.examples import MULTI_INFERENCE, Examples, Inference, OnInferred, Question, Task
from salver.service.opening import Opening
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.exchange import Handler, Message, UnaryCall
from salver.transport.grpc_messages import chosen, framed, parsed

logger = logging.getLogger(__name__)

_RESPONSES = {
    Method.CLASSIFY: "tensorflow.serving.ClassificationResponse",
    Method.REGRESS: "tensorflow.serving.RegressionResponse",
}


class ExampleService:
    """These methods of `tensorflow.serving.PredictionService`. Loop only."""

    def __init__(self, opening: Opening, examples: Examples, metrics: ServingMetrics) -> None:
        self._opening = opening
        self._examples = examples
        self._metrics = metrics

    def handlers(self) -> Mapping[bytes, Handler]:
        service = b"/tensorflow.serving.PredictionService/"
        return {
            service + b"Classify": partial(self._infer, Method.CLASSIFY),
            service + b"Regress": partial(self._infer, Method.REGRESS),
            service + b"MultiInference": self._multi_inference,
        }

    def _infer(self, method: Method, call: UnaryCall, message: Message) -> None:
        request = parsed("salver.ExamplesRequest", message)
        model = request.model_spec.name
        try:
            if not request.HasField("model_spec"):
                raise InvalidArgument("Missing ModelSpec")
            signature_name = request.model_spec.signature_name

            def on_inferred(inferences: list[Inference] | None, error: ServingError | None) -> None:
                self._inferred(method, call, model, inferences, error)

            if call.record is not None:
                call.record.asks(model, signature_name or DEFAULT_SIGNATURE)
            handle = self._opening.open(*chosen(request.model_spec))
            if call.record is not None:
                call.record.opened(handle.id)
            try:
                question = self._examples.question(handle, signature_name, method)
                examples = examples_of(request.input)
            except BaseException:
                handle.release()
                raise
            self._run(call, handle, [question], examples, on_inferred, method.api)
        except ServingError as error:
            self._metrics.request_failed(model, error.code)
            raise

    def _run(
        self,
        call: UnaryCall,
        handle: Any,
        questions: Sequence[Question],
        examples: Any,
        on_inferred: OnInferred,
        api: str,
    ) -> None:
        run = self._examples.run(handle, questions, examples, call.deadline, on_inferred, api)
        if run is not None:
            call.cancel = run.abandon

    def _inferred(
        self,
        method: Method,
        call: UnaryCall,
        model: str,
        inferences: list[Inference] | None,
        error: ServingError | None,
    ) -> None:
        if inferences is not None:
            response = message_class(_RESPONSES[method])()
            try:
                _fill(inferences[0], response.model_spec, response.result)
            except ServingError as failure:
                error = failure
            except Exception:  # noqa: BLE001 - the request boundary, logged by _unexpected
                error = _unexpected(inferences[0])
            else:
                self._metrics.request_succeeded(model, method.api, "GRPC", call.started)
                call.succeed(framed(response))
                return
        assert error is not None
        self._metrics.request_failed(model, error.code)
        call.fail(error)

    def _multi_inference(self, call: UnaryCall, message: Message) -> None:
        request = parsed("salver.MultiExamplesRequest", message)
        if not request.tasks:
            raise InvalidArgument("ModelSpec has no name specified.")
        if call.record is not None:
            call.record.asks(request.tasks[0].model_spec.name)
        handle = self._opening.open(*chosen(request.tasks[0].model_spec))
        if call.record is not None:
            call.record.opened(handle.id)
        try:
            tasks = [
                Task(task.model_spec.name, task.model_spec.signature_name, task.method_name)
                for task in request.tasks
            ]
            questions = self._examples.questions(handle, tasks)
            examples = examples_of(request.input)
        except BaseException:
            handle.release()
            raise
        model = handle.id.name

        def on_inferred(inferences: list[Inference] | None, error: ServingError | None) -> None:
            if inferences is None:
                assert error is not None
                call.fail(error)
                return
            try:
                response = framed(_multi_response(inferences))
            except ServingError as failure:
                call.fail(failure)
            except Exception:  # noqa: BLE001 - the request boundary, logged by _unexpected
                call.fail(_unexpected(inferences[0]))
            else:
                self._metrics.inferred(model, len(examples))
                call.succeed(response)

        self._run(call, handle, questions, examples, on_inferred, MULTI_INFERENCE)


def _unexpected(inference: Inference) -> ServingError:
    logger.exception("Unexpected error in the answer of %s", inference.id)
    return unexpected_error()


def _multi_response(inferences: Sequence[Inference]) -> Any:
    response = message_class("tensorflow.serving.MultiInferenceResponse")()
    for inference in inferences:
        entry = response.results.add()
        is_classification = isinstance(inference.result, Classification)
        result = entry.classification_result if is_classification else entry.regression_result
        _fill(inference, entry.model_spec, result)
    return response


def _fill(inference: Inference, spec: Any, result: Any) -> None:
    spec.name = inference.id.name
    spec.version.value = inference.id.version
    spec.signature_name = inference.signature_name
    if isinstance(inference.result, Classification):
        fill_classifications(result, inference.result.classes, inference.result.scores)
    else:
        fill_regressions(result, inference.result.values)
