"""The REST exchanges recorded from the original server, as far as the codec decides them."""

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.codecs.json_examples import ExamplesBody
from salver.codecs.json_parser import parse
from salver.codecs.json_quote import Node
from salver.codecs.json_request import PredictBody
from salver.codecs.json_response import (
    encode_classify,
    encode_error,
    encode_predict,
    encode_regress,
)
from salver.codecs.messages import message_class
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import InvalidArgument, ServingError, Unimplemented

RECORDINGS = Path(__file__).resolve().parents[3].parent / "shared" / "golden" / "open"
METHODS = ("predict", "classify", "regress")
STATUS = {InvalidArgument: 400, Unimplemented: 501}
IDENTITY = "dtypes"
"""The model that gives back what it is given."""
IN_THE_CODECS_WORDS = (
    b"JSON ",
    b"Failed to process element",
    b"instances is a plain",
    b"inputs is a plain",
    b"Missing ",
    b"Encountered list",
    b"Expecting ",
    b"Conversion of JSON",
    b"Unable to base64",
    b"Example must",
    b"Feature: ",
    b"Unexpected element type",
    b"Failed to get input map",
)


def body_of(part: Any) -> bytes:
    if "body_b64" in part:
        return base64.b64decode(part["body_b64"])
    return str(part.get("body", "")).encode()


def target_of(exchange: Any) -> tuple[str, str, str]:
    """Model, version and method in the path."""
    path, _, method = exchange["request"].get("path", "").partition(":")
    parts = path.split("/")
    version = parts[5] if parts[4:5] == ["versions"] else ""
    return (parts[3] if len(parts) > 3 else ""), version, method


def is_for_the_codec(exchange: Any) -> bool:
    """A call of a model that is there, its body as it stands, answered in JSON."""
    request = exchange["request"]
    if exchange["kind"] != "rest" or request.get("headers"):
        return False
    if not body_of(exchange["response"]).startswith(b"{"):
        return False
    model, version, method = target_of(exchange)
    if method not in METHODS or not body_of(request):
        return False
    return bool(version_paths(model, version)) and exchange["response"]["status"] in (200, 400, 501)


def version_paths(model: str, version: str) -> list[Path]:
    found = (RECORDINGS / "models" / model).glob("*/saved_model.pb")
    return sorted(path for path in found if version in ("", path.parent.name))


@cache
def signatures(model: str, version: str) -> dict[str, Signature]:
    path = version_paths(model, version)[-1]
    saved = message_class("tensorflow.SavedModel").FromString(path.read_bytes())
    return {
        name: Signature(name, specs(proto.inputs), specs(proto.outputs))
        for name, proto in saved.meta_graphs[0].signature_def.items()
    }


def specs(infos: Any) -> dict[str, TensorSpec]:
    return {name: TensorSpec(info.name, DataType(info.dtype), None) for name, info in infos.items()}


def recorded(wanted: Callable[[Any], bool]) -> list[Any]:
    found = []
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            exchange = json.loads(line)
            if is_for_the_codec(exchange) and wanted(exchange):
                found.append(pytest.param(exchange, id=exchange["id"]))
    return found


def is_error(exchange: Any) -> bool:
    return b'"error"' in body_of(exchange["response"])


def decode(exchange: Any) -> tuple[Signature, dict[str, np.ndarray], bool] | None:
    """What the codec makes of a request; None for examples or without the signature."""
    model, version, method = target_of(exchange)
    body = body_of(exchange["request"])
    if method != "predict":
        ExamplesBody.parse(body)
        return None
    request = PredictBody.parse(body)
    signature = signatures(model, version).get(request.signature_name or DEFAULT_SIGNATURE)
    if signature is None:
        return None
    return signature, request.inputs(signature), request.row_format


def refusal_of(exchange: Any) -> ServingError | None:
    try:
        decode(exchange)
    except ServingError as error:
        return error
    return None


@pytest.mark.parametrize("exchange", recorded(is_error))
def test_what_the_codec_refuses_is_refused_in_the_same_words(exchange: Any) -> None:
    response = exchange["response"]
    document = parse(body_of(response))
    assert isinstance(document, tuple)
    text = document[1]
    assert isinstance(text, bytes)
    error = refusal_of(exchange)
    if error is None:
        # Then the model or its signature was the reason.
        assert not text.startswith(IN_THE_CODECS_WORDS)
    else:
        assert encode_error(error.message) == body_of(response)
        assert STATUS[type(error)] == response["status"]


@pytest.mark.parametrize("exchange", recorded(lambda e: not is_error(e)))
def test_an_answer_is_written_like_the_recorded_one(exchange: Any) -> None:
    recorded_body = body_of(exchange["response"])
    document = parse(recorded_body)
    assert isinstance(document, tuple)
    key, value = document
    method = target_of(exchange)[2]
    if method == "predict":
        decoded = decode(exchange)
        assert decoded is not None
        signature, _, row_format = decoded
        assert key == (b"predictions" if row_format else b"outputs")
        outputs = outputs_of(value, signature, row_format)
        assert encode_predict(outputs, row_format) == recorded_body
    elif method == "classify":
        assert encode_classify(*classes_and_scores(value)) == recorded_body
    else:
        assert encode_regress(np.array(value, np.float32)) == recorded_body


def outputs_of(value: Any, signature: Signature, row_format: bool) -> dict[str, np.ndarray]:
    """The arrays that an answer stands for, in its own order."""
    if len(signature.outputs) == 1:
        ((name, spec),) = signature.outputs.items()
        return {name: array_of(value, spec.data_type)}
    rows = value if row_format else [value]
    names = [name.decode() for name in rows[0][::2]]
    columns = {name: [row[2 * index + 1] for row in rows] for index, name in enumerate(names)}
    return {
        name: array_of(
            columns[name] if row_format else columns[name][0], signature.outputs[name].data_type
        )
        for name in names
    }


def array_of(value: Node, data_type: DataType) -> np.ndarray:
    numpy_type = numpy_type_of(data_type)
    assert numpy_type is not None
    if data_type is not DataType.STRING:
        return np.array(value, numpy_type)
    shape = shape_of(value)
    array = np.empty(shape, object)
    array.ravel()[:] = list(strings(value))
    return array


def shape_of(value: Node) -> tuple[int, ...]:
    return (len(value), *shape_of(value[0])) if isinstance(value, list) and value else ()


def strings(value: Node) -> Any:
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, tuple):
        assert isinstance(value[1], bytes)
        yield base64.b64decode(value[1])
    else:
        yield value


def classes_and_scores(value: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    classes = np.empty((len(value), len(value[0])), object)
    scores = np.zeros(classes.shape, np.float32)
    for row, pairs in enumerate(value):
        for column, (label, score) in enumerate(pairs):
            classes[row, column] = label
            scores[row, column] = score
    return (classes if classes.ravel().any() else None), (scores if scores.any() else None)


@pytest.mark.parametrize(
    "exchange",
    recorded(lambda e: target_of(e)[0] == IDENTITY and e["response"]["status"] == 200),
)
def test_what_is_given_back_unchanged_makes_the_recorded_answer(exchange: Any) -> None:
    decoded = decode(exchange)
    assert decoded is not None
    signature, inputs, row_format = decoded
    (name,) = signature.outputs
    (array,) = inputs.values()
    written = parse(encode_predict({name: array}, row_format))
    np.testing.assert_equal(nearly(written), nearly(parse(body_of(exchange["response"]))))


def nearly(value: Any) -> Any:
    """Doubles without their last digits: the original rounds some of them wrongly."""
    if isinstance(value, float):
        return float(f"{value:.14g}")
    if isinstance(value, list | tuple):
        return [nearly(item) for item in value]
    return value
