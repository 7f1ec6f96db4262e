"""The warm-up requests of a version as questions, whatever API they were recorded from.

A log of classify, regress or multi-inference becomes a run of each signature that it names, on
the same Examples.
"""

import os
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from salver.codecs.example_messages import examples_of
from salver.codecs.messages import message_class
from salver.codecs.predict_codec import decode_predict_request
from salver.codecs.tf_record import read_records
from salver.core.signature import Signature
from salver.errors import DataLoss
from salver.inspection.opening import OpenModel
from salver.push.question import Question

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"


def warm_up_questions(folder: str, model: OpenModel) -> list[Question]:
    """What the warm-up file of a version asks; nothing if it has none.

    Raises:
        DataLoss: the file is damaged.
        NotFound: it names a signature that the model does not have.
        InvalidArgument: a request in it cannot be read.
    """
    path = os.path.join(folder, WARM_UP_FILE)
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [
            question
            for number, record in enumerate(read_records(file), 1)
            for question in _questions(record, f"warm-up request {number}", model)
        ]


def _questions(record: bytes, origin: str, model: OpenModel) -> Iterator[Question]:
    try:
        log = message_class("salver.SerializedPredictionLog").FromString(record)
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            yield _predict_question(log.predict_log.request, origin)
        elif kind in ("classify_log", "regress_log"):
            request = message_class("salver.ExamplesRequest").FromString(getattr(log, kind).request)
            yield _examples_question(request, [request.model_spec.signature_name], origin, model)[0]
        elif kind == "multi_inference_log":
            several = message_class("salver.MultiExamplesRequest")
            request = several.FromString(log.multi_inference_log.request)
            names = [task.model_spec.signature_name for task in request.tasks]
            yield from _examples_question(request, names, origin, model)
    except DecodeError as error:
        raise DataLoss(f"{origin} cannot be read: it is no PredictionLog") from error


def _predict_question(data: bytes, origin: str) -> Question:
    request = decode_predict_request(data)
    return Question(
        origin,
        {name: request.tensor(name) for name in request.input_names},
        request.signature_name,
        tuple(dict.fromkeys(request.output_filter)),
    )


def _examples_question(
    request: Any, names: list[str], origin: str, model: OpenModel
) -> list[Question]:
    examples = examples_of(request.input)
    return [
        Question(origin, {_examples_input(model.signature(name)): examples}, name) for name in names
    ]


def _examples_input(signature: Signature) -> str:
    return "inputs" if "inputs" in signature.inputs else next(iter(signature.inputs))
