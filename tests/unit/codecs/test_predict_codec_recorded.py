"""The Predict calls recorded from the original server, at the level of messages."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from salver.codecs.messages import message_class
from salver.codecs.predict_codec import decode_predict_request, encode_predict_response
from salver.codecs.tensor_decoder import decode_tensor
from salver.errors import InvalidArgument

RECORDINGS = Path(__file__).resolve().parents[3].parent / "shared" / "golden" / "open"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
MAX_RANK = 254


def request_of(exchange: Any) -> bytes:
    return base64.b64decode(exchange["request"]["message_b64"])


def response_of(exchange: Any) -> Any:
    return message_class("tensorflow.serving.PredictResponse").FromString(
        base64.b64decode(exchange["response"]["message_b64"])
    )


def is_readable(exchange: Any) -> bool:
    """Whether the request was a message at all."""
    return bool(exchange["response"].get("code") != "INTERNAL" or exchange["response"]["details"])


def ranks(exchange: Any) -> list[int]:
    request = message_class("tensorflow.serving.PredictRequest").FromString(request_of(exchange))
    return [len(tensor.tensor_shape.dim) for tensor in request.inputs.values()]


@cache
def recorded(wanted: str) -> list[Any]:
    found = []
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            exchange = json.loads(line)
            if exchange["request"].get("method") == PREDICT and wanted == kind_of(exchange):
                found.append(pytest.param(exchange, id=exchange["id"]))
    return found


def kind_of(exchange: Any) -> str:
    if not is_readable(exchange):
        return "unreadable"
    if max(ranks(exchange), default=0) > MAX_RANK:
        return "high rank"
    return "answered" if exchange["response"].get("code") == "OK" else "refused"


def identities() -> list[Any]:
    """Calls of a model that gives back what it takes, in every data type."""
    return [
        exchange
        for exchange in recorded("answered")
        if b"dtypes" in request_of(exchange.values[0])
        and exchange.values[0]["setup"] in ("main", "content")
    ]


pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="no recordings here")


@pytest.mark.parametrize("exchange", recorded("answered"))
def test_a_recorded_response_is_written_again_field_by_field(exchange: Any) -> None:
    response = response_of(exchange)
    names = list(response.outputs)
    again = encode_predict_response(
        names,
        [decode_tensor(response.outputs[name].SerializeToString()) for name in names],
        response.model_spec.name,
        response.model_spec.version.value,
        response.model_spec.signature_name,
        as_tensor_content=any(response.outputs[name].tensor_content for name in names),
    )
    assert type(response).FromString(again) == response


@pytest.mark.parametrize("exchange", recorded("answered") + recorded("refused"))
def test_a_recorded_request_is_refused_where_it_was_refused(exchange: Any) -> None:
    request = decode_predict_request(request_of(exchange))
    for name in request.input_names:
        if exchange["response"]["details"] == f"tensor parsing error: {name}":
            with pytest.raises(InvalidArgument):
                request.tensor(name)
        elif exchange["response"]["code"] == "OK":
            request.tensor(name)


@pytest.mark.parametrize("exchange", identities())
def test_an_identity_model_answers_in_the_form_of_the_original(exchange: Any) -> None:
    request = decode_predict_request(request_of(exchange))
    response = response_of(exchange)
    answer = encode_predict_response(
        ["y"],
        [request.tensor("x")],
        request.model_name,
        response.model_spec.version.value,
        request.signature_name,
        as_tensor_content=exchange["setup"] == "content",
    )
    assert type(response).FromString(answer) == response


@pytest.mark.parametrize("exchange", recorded("unreadable"))
def test_what_was_no_message_is_refused(exchange: Any) -> None:
    with pytest.raises(InvalidArgument):
        decode_predict_request(request_of(exchange))


@pytest.mark.parametrize("exchange", recorded("high rank"))
def test_more_dimensions_than_a_tensor_has_are_refused(exchange: Any) -> None:
    request = decode_predict_request(request_of(exchange))
    with pytest.raises(InvalidArgument, match="limit 254"):
        request.tensor("x")
