"""The client against recorded answers of TensorFlow Serving.

A request of the recordings is made again through the client. What the client sends must mean the
same as what was recorded, and what it returns must be what the original had answered.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from salver.backends.protobuf_wire import Message
from salver.backends.signature_def import signature_def_map, signature_entries, signature_of
from salver.client import Classification, Client, Regression, Retries, Task
from salver.codecs.json_metadata import encode_metadata
from salver.codecs.json_request import PredictBody
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import Code, ServingError
from tests.answering import AnsweringServer, Asked, Told

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "open"
pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")

ONCE = Retries(attempts=1)


def exchanges(kind: str, *groups: str) -> list[dict[str, Any]]:
    found = []
    for group in groups:
        lines = (RECORDINGS / f"{group}.jsonl").read_text().splitlines()
        found += [exchange for exchange in map(json.loads, lines) if exchange["kind"] == kind]
    return found


class Recorded:
    """Answers with the exchange that is set, over both protocols."""

    def __init__(self) -> None:
        self.exchange: dict[str, Any] = {}

    def over_grpc(self, asked: Asked) -> Told:
        response = self.exchange["response"]
        code = Code[response["code"]]
        if code is not Code.OK:
            return Told(code, response["details"].encode())
        return Told(code, base64.b64decode(response["message_b64"]))

    def over_rest(self, asked: Asked) -> Told:
        if asked.path.endswith("/metadata") and "metadata" not in self.exchange["request"]["path"]:
            name = asked.path.split("/")[3]
            return Told(200, encode_metadata(name, 1, definitions_of(name)))
        response = self.exchange["response"]
        return Told(response["status"], response["body"].encode())


def entries_of(model: str) -> dict[str, bytes]:
    """The signatures in the file of the model's lowest version."""
    file = min((RECORDINGS / "models" / model).glob("*/saved_model.pb"))
    (meta_graph, *_) = Message(memoryview(file.read_bytes())).contents(2)
    return signature_entries(meta_graph)


def definitions_of(model: str) -> bytes:
    return signature_def_map(entries_of(model))


def signature_named(model: str, name: str) -> Signature:
    return signature_of(entries_of(model)[name or DEFAULT_SIGNATURE])


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="module")
def server(recorded: Recorded) -> Iterator[AnsweringServer]:
    with AnsweringServer(recorded.over_grpc, recorded.over_rest) as running:
        yield running


def message_of(kind: type, exchange: dict[str, Any]) -> Any:
    """The recorded request, None if it is no message that the client can have sent."""
    request = exchange["request"]
    try:
        message: Any = kind.FromString(base64.b64decode(request["message_b64"]))  # type: ignore[attr-defined]
    except DecodeError:
        return None
    spec = message.tasks[0].model_spec if hasattr(message, "tasks") else message.model_spec
    return message if spec.name else None


def choice_of(spec: Any) -> dict[str, Any]:
    kind = spec.WhichOneof("version_choice")
    return {
        "version": spec.version.value if kind == "version" else None,
        "label": spec.version_label if kind == "version_label" else None,
    }


def arrays_of(tensors: Any) -> dict[str, np.ndarray] | None:
    try:
        arrays = {name: tf.make_ndarray(tensor) for name, tensor in tensors.items()}
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    for array in arrays.values():
        if array.dtype.kind == "O":
            # TensorFlow fills up with text where elements are missing.
            array[...] = np.where(array == "", b"", array)
    return arrays


def assert_same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert set(left) == set(right)
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        assert array.shape == right[name].shape
        assert array.tolist() == right[name].tolist() or array.tobytes() == right[name].tobytes()


def refused(exchange: dict[str, Any], error: ServingError) -> bool:
    """Whether the client has raised what the server had answered."""
    response = exchange["response"]
    return (error.code.name, error.message) == (response["code"], response["details"])


def test_predictions_over_grpc(server: AnsweringServer, recorded: Recorded) -> None:
    made = 0
    with Client(server.grpc_address, retries=ONCE) as client:
        for exchange in exchanges("grpc", "grpc_predict", "grpc_tensor"):
            request = message_of(predict_pb2.PredictRequest, exchange)
            inputs = None if request is None else arrays_of(request.inputs)
            if inputs is None or not exchange["request"]["method"].endswith("/Predict"):
                continue
            made += 1
            recorded.exchange = exchange
            spec = request.model_spec
            try:
                prediction = client.predict(
                    spec.name, inputs, signature=spec.signature_name or None,
                    outputs=list(request.output_filter), **choice_of(spec),
                )  # fmt: skip
            except ServingError as error:
                assert refused(exchange, error), exchange["id"]  # noqa: PT017
            else:
                response = predict_pb2.PredictResponse.FromString(
                    base64.b64decode(exchange["response"]["message_b64"])
                )
                outputs = arrays_of(response.outputs)
                assert outputs is not None
                assert_same(dict(prediction), outputs)
                assert prediction.version == response.model_spec.version.value
            # Where a type was refused, the client has asked for the declared ones afterwards.
            (*_, body) = (each.body for each in server.asked if each.path.endswith("/Predict"))
            sent = predict_pb2.PredictRequest.FromString(body)
            assert sent.model_spec == spec
            assert list(sent.output_filter) == list(request.output_filter)
            sent_inputs = arrays_of(sent.inputs)
            assert sent_inputs is not None
            assert_same(sent_inputs, inputs)
    assert made >= 40


@pytest.mark.parametrize("method", ["Classify", "Regress"])
def test_examples_over_grpc(server: AnsweringServer, recorded: Recorded, method: str) -> None:
    made = 0
    kinds: Any = {
        "Classify": (classification_pb2.ClassificationRequest, "grpc_classify"),
        "Regress": (regression_pb2.RegressionRequest, "grpc_regress"),
    }
    kind, group = kinds[method]
    with Client(server.grpc_address, retries=ONCE) as client:
        for exchange in exchanges("grpc", group):
            request = message_of(kind, exchange)
            if request is None or not request.input.WhichOneof("kind"):
                continue
            made += 1
            recorded.exchange = exchange
            spec = request.model_spec
            examples, context = examples_of(request.input)
            ask: Any = client.classify if method == "Classify" else client.regress
            try:
                result = ask(
                    spec.name, examples, context=context, signature=spec.signature_name or None,
                    **choice_of(spec),
                )  # fmt: skip
            except ServingError as error:
                assert refused(exchange, error), exchange["id"]  # noqa: PT017
            else:
                answer = base64.b64decode(exchange["response"]["message_b64"])
                assert_answered(result, answer)
            assert kind.FromString(server.asked[-1].body) == request
    assert made >= 10


def assert_answered(result: Classification | Regression, answer: bytes) -> None:
    if isinstance(result, Regression):
        regressions = regression_pb2.RegressionResponse.FromString(answer)
        values = [one.value for one in regressions.result.regressions]
        assert_same({"": result.values}, {"": np.array(values, np.float32)})
        return
    response = classification_pb2.ClassificationResponse.FromString(answer)
    rows = response.result.classifications
    assert result.labels.tolist() == [[one.label for one in row.classes] for row in rows]
    scores = [[one.score for one in row.classes] for row in rows]
    assert_same(
        {"": result.scores}, {"": np.array(scores, np.float32).reshape(result.scores.shape)}
    )


def examples_of(message: Any) -> tuple[list[bytes], bytes | None]:
    """The examples and the context of an Input, serialized."""
    if message.WhichOneof("kind") == "example_list":
        return [one.SerializeToString() for one in message.example_list.examples], None
    shared = message.example_list_with_context
    examples = [one.SerializeToString() for one in shared.examples]
    return examples, shared.context.SerializeToString()


def test_multi_inference(server: AnsweringServer, recorded: Recorded) -> None:
    made = 0
    with Client(server.grpc_address, retries=ONCE) as client:
        for exchange in exchanges("grpc", "grpc_multi"):
            request = message_of(inference_pb2.MultiInferenceRequest, exchange)
            if request is None or not request.input.WhichOneof("kind"):
                continue
            methods = [task.method_name.rpartition("/")[2] for task in request.tasks]
            if not {*methods} <= {"classify", "regress"}:
                continue
            spec = request.tasks[0].model_spec
            if any(choice_of(task.model_spec) != choice_of(spec) for task in request.tasks):
                continue
            if {task.model_spec.name for task in request.tasks} != {spec.name}:
                continue
            made += 1
            recorded.exchange = exchange
            examples, context = examples_of(request.input)
            tasks: Any = [
                Task(method, task.model_spec.signature_name)
                for method, task in zip(methods, request.tasks, strict=True)
            ]
            try:
                results = client.multi_inference(
                    spec.name, tasks, examples, context=context, **choice_of(spec)
                )
            except ServingError as error:
                assert refused(exchange, error), exchange["id"]  # noqa: PT017
            else:
                answer = inference_pb2.MultiInferenceResponse.FromString(
                    base64.b64decode(exchange["response"]["message_b64"])
                )
                kinds = [one.WhichOneof("result") for one in answer.results]
                assert [f"{type(result).__name__.lower()}_result" for result in results] == kinds
            sent = inference_pb2.MultiInferenceRequest.FromString(server.asked[-1].body)
            assert sent == request
    assert made >= 5


def test_metadata_and_status_over_grpc(server: AnsweringServer, recorded: Recorded) -> None:
    made = 0
    with Client(server.grpc_address, retries=ONCE) as client:
        for exchange in exchanges("grpc", "grpc_metadata", "grpc_status"):
            is_status = exchange["request"]["method"].endswith("GetModelStatus")
            kind: Any = (
                get_model_status_pb2.GetModelStatusRequest
                if is_status
                else get_model_metadata_pb2.GetModelMetadataRequest
            )
            request = message_of(kind, exchange)
            if request is None or (is_status and choice_of(request.model_spec)["label"]):
                continue
            if not is_status and list(request.metadata_field) != ["signature_def"]:
                continue
            made += 1
            recorded.exchange = exchange
            choice = choice_of(request.model_spec)
            try:
                if is_status:
                    version = choice["version"]
                    statuses = client.status(request.model_spec.name, version=version)
                    answer = get_model_status_pb2.GetModelStatusResponse.FromString(
                        base64.b64decode(exchange["response"]["message_b64"])
                    )
                    assert [(one.version, one.code, one.message) for one in statuses] == [
                        (one.version, one.status.error_code, one.status.error_message)
                        for one in answer.model_version_status
                    ]
                else:
                    metadata = client.metadata(request.model_spec.name, **choice)
                    assert metadata.signatures
            except ServingError as error:
                assert refused(exchange, error), exchange["id"]  # noqa: PT017
    assert made >= 8


def test_predictions_over_rest(server: AnsweringServer, recorded: Recorded) -> None:
    made = 0
    with Client(server.url, retries=ONCE) as client:
        for exchange in exchanges("rest", "column", "types", "output", "json", "runtime"):
            request, response = exchange["request"], exchange["response"]
            path = request["path"]
            if response["status"] != 200 or '"outputs"' not in response.get("body", ""):
                continue
            if not path.endswith(":predict") or path.count("/") != 3:
                continue
            model = path.split("/")[3].split(":")[0]
            body = PredictBody.parse(request["body"].encode())
            signature = signature_named(model, body.signature_name)
            inputs = body.inputs(signature)
            made += 1
            recorded.exchange = exchange
            prediction = client.predict(model, inputs, signature=body.signature_name or None)
            sent = PredictBody.parse(server.asked[-1].body)
            assert sent.signature_name == body.signature_name
            assert_same(sent.inputs(signature), inputs)
            outputs = json.loads(response["body"], strict=False)["outputs"]
            if len(signature.outputs) == 1:
                outputs = {next(iter(signature.outputs)): outputs}
            for name, expected in outputs.items():
                dtype = prediction[name].dtype
                if dtype.kind != "O":
                    wanted = np.array(expected, dtype)
                    np.testing.assert_array_equal(prediction[name], wanted)
                    assert prediction[name].shape == wanted.shape
            assert prediction.version is None
    assert made >= 20


def test_errors_and_status_over_rest(server: AnsweringServer, recorded: Recorded) -> None:
    made = 0
    with Client(server.url, retries=ONCE) as client:
        for exchange in exchanges("rest", "status", "metadata", "types", "column", "url"):
            response = exchange["response"]
            if response["status"] == 200 or "body" not in response or not response["body"]:
                continue
            if exchange["request"]["method"] not in ("GET", "POST"):
                continue
            try:
                wanted = json.loads(response["body"], strict=False)["error"]
            except ValueError:
                continue
            made += 1
            recorded.exchange = exchange
            with pytest.raises(ServingError) as raised:
                client.status("any")
            assert raised.value.message == wanted
        for exchange in exchanges("rest", "status"):
            if exchange["response"]["status"] != 200 or exchange["request"]["method"] != "GET":
                continue
            made += 1
            recorded.exchange = exchange
            answer = json.loads(exchange["response"]["body"])["model_version_status"]
            assert [(str(one.version), one.state, one.message) for one in client.status("m")] == [
                (one["version"], one["state"], one["status"]["error_message"]) for one in answer
            ]
    assert made >= 40
