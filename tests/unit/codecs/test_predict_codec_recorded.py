"""The Predict calls recorded from the original server, at the level of messages."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from salver.codecs.messages import message_class
from salver.codecs.predict_codec import decode_predict_request, encode_predict_response
from salver.codecs.tensor_decoder import decode_tensor
from salver.errors import InvalidArgument

RECORDINGS = Path(__file__).resolve().parents[3].parent / "shared" / "golden" / "open"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def exchanges() -> list[Any]:
    found = []
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            exchange = json.loads(line)
            if exchange["request"].get("method") == PREDICT:
                found.append(pytest.param(exchange, id=exchange["id"]))
    return found


pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="no recordings here")


@pytest.mark.parametrize("exchange", exchanges())
def test_a_recorded_response_is_written_again_field_by_field(exchange: Any) -> None:
    if "message_b64" not in exchange["response"]:
        return
    response = message_class("tensorflow.serving.PredictResponse").FromString(
        base64.b64decode(exchange["response"]["message_b64"])
    )
    names = list(response.outputs)
    again = encode_predict_response(
        names,
        [decode_tensor(response.outputs[name].SerializeToString()) for name in names],
        response.model_spec.name,
        response.model_spec.version.value,
        response.model_spec.signature_name,
        as_tensor_content=any(response.outputs[name].tensor_content for name in names),
    )
    # The original has no version to report before it has one loaded: it always has.
    assert type(response).FromString(again) == response


@pytest.mark.parametrize("exchange", exchanges())
def test_a_recorded_request_fails_where_it_failed(exchange: Any) -> None:
    message = base64.b64decode(exchange["request"]["message_b64"])
    details = exchange["response"].get("details", "")
    code = exchange["response"].get("code")
    if code == "INTERNAL" and not details:
        with pytest.raises(InvalidArgument):
            decode_predict_request(message)
        return
    request = decode_predict_request(message)
    expected = message_class("tensorflow.serving.PredictRequest").FromString(message)
    assert sorted(request.input_names) == sorted(expected.inputs)
    for name in request.input_names:
        if details == f"tensor parsing error: {name}":
            with pytest.raises(InvalidArgument):
                request.tensor(name)
        elif code == "OK":
            request.tensor(name)


@pytest.mark.parametrize("exchange", exchanges())
def test_an_identity_model_answers_with_the_input_in_the_form_of_the_original(
    exchange: Any,
) -> None:
    request = decode_predict_request(base64.b64decode(exchange["request"]["message_b64"]))
    is_identity = request.model_name == "dtypes" and exchange["setup"] in ("main", "content")
    if not is_identity or exchange["response"].get("code") != "OK":
        return
    response = message_class("tensorflow.serving.PredictResponse").FromString(
        base64.b64decode(exchange["response"]["message_b64"])
    )
    answer = encode_predict_response(
        ["y"],
        [request.tensor("x")],
        request.model_name,
        response.model_spec.version.value,
        request.signature_name,
        as_tensor_content=exchange["setup"] == "content",
    )
    assert type(response).FromString(answer) == response
