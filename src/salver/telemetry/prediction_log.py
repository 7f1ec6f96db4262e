"""A logged request as a serialized `tensorflow.serving.PredictionLog`: what warm-up files hold."""

from collections.abc import Sequence

import numpy as np

from salver.codecs.example_messages import fill_classifications, fill_regressions
from salver.codecs.messages import WireMessage, message_class
from salver.codecs.tensor_encoder import encode_tensor
from salver.core.servable import ServableId
from salver.telemetry.request_log import Entry, ExampleAnswer, ExamplesCall, PredictCall


def encode_entry(entry: Entry, saved_model_tags: Sequence[str]) -> bytes:
    """The whole record.

    The request names the model and the signature but no version: it was answered by the one
    in the response and in the metadata, and may be played to any other.

    Raises:
        ServingError: an array or a label is none that a message can carry.
    """
    message = message_class("salver.LoggedCall")()
    metadata = message.log_metadata
    _fill_spec(metadata.model_spec, entry.id, _signature_name(entry.call))
    metadata.sampling_config.ParseFromString(entry.settings.sampling_config)
    metadata.saved_model_tags.extend(saved_model_tags)
    metadata.timestamp_secs = int(entry.time_s)
    if isinstance(entry.call, PredictCall):
        _fill_predict(message.predict_log, entry.id, entry.call)
    elif entry.call.is_multi:
        _fill_multi_inference(message.multi_inference_log, entry.id, entry.call)
    else:
        _fill_examples(message, entry.id, entry.call)
    encoded: bytes = message.SerializeToString()
    return encoded


def _signature_name(call: PredictCall | ExamplesCall) -> str:
    """Of the only signature; a MultiInference has several."""
    if isinstance(call, PredictCall):
        return call.signature_name
    return "" if call.is_multi else call.answers[0].signature_name


def _fill_spec(spec: WireMessage, id_: ServableId, signature_name: str) -> None:
    spec.name = id_.name
    spec.version.value = id_.version
    spec.signature_name = signature_name


def _fill_predict(log: WireMessage, id_: ServableId, call: PredictCall) -> None:
    log.request.model_spec.name = id_.name
    log.request.model_spec.signature_name = call.signature_name
    for name, array in zip(call.input_names, call.inputs, strict=True):
        log.request.inputs[name] = encode_tensor(array)
    log.request.output_filter.extend(call.output_filter)
    _fill_spec(log.response.model_spec, id_, call.signature_name)
    for name, array in zip(call.output_names, call.outputs, strict=True):
        log.response.outputs[name] = encode_tensor(array)


def _fill_examples(message: WireMessage, id_: ServableId, call: ExamplesCall) -> None:
    (answer,) = call.answers
    log = message.classify_log if answer.values is None else message.regress_log
    log.request.model_spec.name = id_.name
    log.request.model_spec.signature_name = answer.signature_name
    _fill_input(log.request.input, call.examples)
    _fill_spec(log.response.model_spec, id_, answer.signature_name)
    _fill_result(log.response.result, answer)


def _fill_multi_inference(log: WireMessage, id_: ServableId, call: ExamplesCall) -> None:
    for answer in call.answers:
        task = log.request.tasks.add()
        task.model_spec.name = id_.name
        task.model_spec.signature_name = answer.signature_name
        task.method_name = answer.method_name
        result = log.response.results.add()
        _fill_spec(result.model_spec, id_, answer.signature_name)
        if answer.values is None:
            _fill_result(result.classification_result, answer)
        else:
            _fill_result(result.regression_result, answer)
    _fill_input(log.request.input, call.examples)


def _fill_input(message: WireMessage, examples: np.ndarray) -> None:
    message.example_list.examples.extend(examples.tolist())


def _fill_result(result: WireMessage, answer: ExampleAnswer) -> None:
    if answer.values is None:
        fill_classifications(result, answer.classes, answer.scores)
    else:
        fill_regressions(result, answer.values)
