"""Requests that `logging_config` of a model has the server log, read back as others would."""

import shutil
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from tests import served_models
from tests.grpc_client import TIMEOUT_S, GrpcClient, predict_request
from tests.running import RunningServer, wait_until, write_config

EVERYTHING = "sampling_config { sampling_rate: 1 }"
VERSION = 7
X = {"x": np.array([1.0, 4.0], np.float32)}
MONITORING = 'prometheus_config { enable: true path: "/metrics" }'


@pytest.fixture(scope="session")
def examples_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    served_models.export("examples", folder / str(VERSION))
    return folder


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text(MONITORING)
    return [f"--monitoring_config_file={monitoring}"]


def model_body(name: str, base_path: Path, logging_config: str = "") -> str:
    logged = f"logging_config {{ {logging_config} }}" if logging_config else ""
    return f'name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {logged}'


def logged_to(prefix: Path, sampling: str = EVERYTHING) -> str:
    return f'log_collector_config {{ filename_prefix: "{prefix}" }} {sampling}'


def records(prefix: Path) -> list[Any]:
    """All that was logged, in the order of the files."""
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for path in sorted(prefix.parent.glob(f"{prefix.name}-*.tfrecord"))
        for record in tf.data.TFRecordDataset(str(path))
    ]


def example_input(*numbers: float) -> Any:
    message = input_pb2.Input()
    for number in numbers:
        example = message.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(number)
    return message


def post(server: RunningServer, model: str, verb: str, body: Any) -> Any:
    url = f"{server.url}/v1/models/{model}:{verb}"
    response = requests.post(url, json=body, timeout=TIMEOUT_S)
    assert response.status_code == 200, response.text
    return response.json()


def counts(server: RunningServer) -> dict[str, int]:
    """The lines of request_log_count, by their labels."""
    page = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text
    found = {}
    for line in page.splitlines():
        if line.startswith(":tensorflow:serving:request_log_count{"):
            labels, _, value = line.rpartition(" ")
            found[labels[labels.index("{") :]] = int(value)
    return found


class Answers:
    """What a client got for one request of every kind."""

    def __init__(self, server: RunningServer, client: GrpcClient) -> None:
        stub = client.prediction
        self.predict_request = predict_request("m", X, output_filter=["y"])
        self.predict = stub.Predict(self.predict_request, timeout=TIMEOUT_S)
        classify = classification_pb2.ClassificationRequest(input=example_input(0.25, 0.5))
        classify.model_spec.name, classify.model_spec.signature_name = "m", "classify"
        self.classify_request = classify
        self.classify = stub.Classify(classify, timeout=TIMEOUT_S)
        regress = regression_pb2.RegressionRequest(input=example_input(2.0))
        regress.model_spec.name, regress.model_spec.signature_name = "m", "regress"
        self.regress_request = regress
        self.regress = stub.Regress(regress, timeout=TIMEOUT_S)
        multi = inference_pb2.MultiInferenceRequest(input=example_input(1.0, 0.0))
        for name in ("regress", "classify"):
            task = multi.tasks.add(method_name=f"tensorflow/serving/{name}")
            task.model_spec.name, task.model_spec.signature_name = "m", name
        self.multi_request = multi
        self.multi = stub.MultiInference(multi, timeout=TIMEOUT_S)
        self.rest = post(server, "m", "predict", {"instances": [1.0, 4.0]})
        body: dict[str, Any] = {"signature_name": "classify", "examples": [{"x": 0.25}]}
        self.rest_classify = post(server, "m", "classify", body)
        body = {"signature_name": "regress", "context": {"x": 2.0}, "examples": [{}]}
        self.rest_regress = post(server, "m", "regress", body)


@pytest.fixture(scope="module")
def logged(
    tmp_path_factory: pytest.TempPathFactory, examples_base_path: Path
) -> tuple[Answers, list[Any], Path]:
    folder = tmp_path_factory.mktemp("logged")
    prefix = folder / "not" / "there" / "requests"
    flag = write_config(
        folder / "models.txt",
        [
            model_body("m", examples_base_path, logged_to(prefix)),
            model_body("silent", examples_base_path),
        ],
    )
    with RunningServer(flag) as server, GrpcClient(server.grpc_address) as client:
        post(server, "silent", "predict", {"inputs": [1.0]})
        with pytest.raises(grpc.RpcError):
            client.predict("m", {"w": np.zeros(1, np.float32)})
        answers = Answers(server, client)
    return answers, records(prefix), prefix


def test_each_answered_request_is_logged_once_in_the_order_of_the_answers(
    logged: tuple[Answers, list[Any], Path],
) -> None:
    kinds = [log.WhichOneof("log_type") for log in logged[1]]
    assert kinds == [
        "predict_log", "classify_log", "regress_log", "multi_inference_log", "predict_log",
        "classify_log", "regress_log",
    ]  # fmt: skip


def test_a_logged_predict_has_the_request_and_the_answer(
    logged: tuple[Answers, list[Any], Path],
) -> None:
    answers, logs, _ = logged
    request, response = logs[0].predict_log.request, logs[0].predict_log.response
    assert response == answers.predict
    assert request.model_spec.name == "m"
    assert list(request.output_filter) == ["y"]
    assert list(request.inputs) == ["x"]
    assert tf.make_ndarray(request.inputs["x"]).tolist() == [1.0, 4.0]


def test_logged_examples_are_those_that_were_sent(
    logged: tuple[Answers, list[Any], Path],
) -> None:
    answers, logs, _ = logged
    assert logs[1].classify_log.request == answers.classify_request
    assert logs[1].classify_log.response == answers.classify
    assert logs[2].regress_log.request == answers.regress_request
    assert logs[2].regress_log.response == answers.regress
    assert logs[3].multi_inference_log.request == answers.multi_request
    assert logs[3].multi_inference_log.response == answers.multi


def test_what_comes_over_rest_is_logged_alike(logged: tuple[Answers, list[Any], Path]) -> None:
    answers, logs, _ = logged
    predict = logs[4].predict_log
    assert tf.make_ndarray(predict.request.inputs["x"]).tolist() == [1.0, 4.0]
    rows = [{"y": y, "z": z} for y, z in ((2.5, -1.0), (4.0, -4.0))]
    assert answers.rest == {"predictions": rows}
    outputs = {name: tf.make_ndarray(t).tolist() for name, t in predict.response.outputs.items()}
    assert outputs == {"y": [2.5, 4.0], "z": [-1.0, -4.0]}
    assert predict.response.model_spec.version.value == VERSION
    (row,) = logs[5].classify_log.response.result.classifications
    assert [[each.label, each.score] for each in row.classes] == answers.rest_classify["results"][0]
    (value,) = logs[6].regress_log.response.result.regressions
    assert [value.value] == answers.rest_regress["results"]
    # The context is part of each example by then.
    (example,) = logs[6].regress_log.request.input.example_list.examples
    assert list(example.features.feature["x"].float_list.value) == [2.0]


def test_the_metadata_tell_who_answered_and_why_it_was_chosen(
    logged: tuple[Answers, list[Any], Path],
) -> None:
    names = ["serving_default", "classify", "regress", "", "serving_default"]
    for name, log in zip(names, logged[1], strict=False):
        metadata = log.log_metadata
        spec = metadata.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("m", VERSION, name)
        assert metadata.sampling_config.sampling_rate == 1.0
        assert list(metadata.saved_model_tags) == ["serve"]
        assert metadata.timestamp_secs > 1_700_000_000


def test_a_log_can_become_the_warm_up_of_a_version(
    logged: tuple[Answers, list[Any], Path],
    examples_base_path: Path,
    tmp_path: Path,
    flags: list[str],
) -> None:
    _, logs, prefix = logged
    (log,) = prefix.parent.glob("*.tfrecord")
    version = tmp_path / "model" / "8"
    shutil.copytree(examples_base_path / str(VERSION), version)
    (version / "assets.extra").mkdir()
    shutil.copy(log, version / "assets.extra" / "tf_serving_warmup_requests")
    with RunningServer(f"--model_base_path={version.parent}", *flags) as server:
        line = server.wait_for_line("Finished reading warmup data")
        page = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text
        labels = f'model_path="{version}",status="OK"'
        records_read = ":tensorflow:serving:model_warmup_records_read"
        assert f"{records_read}{{{labels}}} {len(logs)}\n" in page
        runtime = ":tensorflow:serving:runtime_latency_count"
        for api, count in (("Predict", 2), ("Classify", 2), ("Regress", 2)):
            labels = f'model_name="default",API="{api}",runtime="TF1"'
            assert f"{runtime}{{{labels}}} {count}\n" in page
        assert f"Number of warmup records read: {len(logs)}. " in line


def test_a_rate_of_nothing_logs_nothing_and_a_part_is_about_that_part(
    tmp_path: Path, examples_base_path: Path, flags: list[str]
) -> None:
    some = logged_to(tmp_path / "some", "sampling_config { sampling_rate: 0.3 }")
    none = logged_to(
        tmp_path / "none",
        "sampling_config { sampling_rate: 1 per_task_sampling_configs { sampling_rate: 0 } }",
    )
    bodies = [
        model_body("some", examples_base_path, some),
        model_body("none", examples_base_path, none),
    ]
    with (
        RunningServer(write_config(tmp_path / "models.txt", bodies), *flags) as server,
        GrpcClient(server.grpc_address) as client,
    ):
        for _ in range(300):
            client.response("some", X)
            client.response("none", X)
        found = list(tmp_path.glob("none-*"))
    assert found == []
    # Fewer or more than these would be six standard deviations away.
    assert 40 < len(records(tmp_path / "some")) < 140


def test_a_reload_changes_what_is_logged_and_loses_nothing(
    tmp_path: Path, examples_base_path: Path, flags: list[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    body = model_body("m", examples_base_path, logged_to(first))
    with (
        RunningServer(write_config(tmp_path / "models.txt", [body]), *flags) as server,
        GrpcClient(server.grpc_address) as client,
    ):

        def reload(logging_config: str) -> None:
            request = model_management_pb2.ReloadConfigRequest()
            body = model_body("m", examples_base_path, logging_config)
            text = f"model_config_list {{ config {{ {body} }} }}"
            text_format.Parse(text, request.config)
            client.model.HandleReloadConfigRequest(request, timeout=TIMEOUT_S)

        for _ in range(5):
            client.response("m", X)
        reload(logged_to(second))
        for _ in range(3):
            client.response("m", X)
        with pytest.raises(grpc.RpcError) as raised:
            reload('log_collector_config { type: "kafka" filename_prefix: "/tmp/x" }')
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert raised.value.details() == "Cannot find LogCollector::Factory for type: kafka"
        client.response("m", X)
        wait_until(lambda: len(records(second)) == 4, "the requests are logged")
        assert len(records(first)) == 5
        reload("")
        client.response("m", X)
        assert counts(server) == {'{model_name="m",status_code="OK"}': 9}
    assert len(records(second)) == 4


def test_a_folder_that_cannot_be_written_costs_no_request(
    tmp_path: Path, examples_base_path: Path, flags: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    prefix = tmp_path / "file" / "requests"
    body = model_body("m", examples_base_path, logged_to(prefix))
    with (
        RunningServer(write_config(tmp_path / "models.txt", [body]), *flags) as server,
        GrpcClient(server.grpc_address) as client,
    ):
        client.response("m", X)
        line = server.wait_for_line("Requests cannot be logged")
        assert str(prefix) in line
        for _ in range(20):
            client.response("m", X)
        lost = {'{model_name="m",status_code="FAILED_PRECONDITION"}': 21}
        wait_until(lambda: counts(server) == lost, "each request is counted")
        assert len([line for line in server.lines if "cannot be logged" in line]) == 1


@pytest.mark.parametrize(
    ("logging_config", "status"),
    [
        pytest.param(
            'log_collector_config { type: "bucket" filename_prefix: "/tmp/x" }',
            "NOT_FOUND: Cannot find LogCollector::Factory for type: bucket",
            id="unknown collector",
        ),
        pytest.param(
            EVERYTHING,
            "INVALID_ARGUMENT: logging_config of model m needs log_collector_config."
            "filename_prefix: the path with which the names of its files begin",
            id="no prefix",
        ),
    ],
)
def test_a_bad_logging_config_ends_the_start(
    logging_config: str, status: str, examples_base_path: Path, tmp_path: Path
) -> None:
    body = model_body("m", examples_base_path, logging_config)
    server = RunningServer(write_config(tmp_path / "models.txt", [body]))
    server.launch()
    try:
        assert server.wait_for_exit() == 255
        assert f"Failed to start server. Error: {status}" in server.lines
    finally:
        server.kill()
