"""The access log as operators read it: one line of JSON for each request, of either protocol."""

import gzip
import json
import signal
import socket
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import inference_pb2

from tests.grpc_client import TIMEOUT_S, GrpcClient, predict_request
from tests.process.load import Load
from tests.running import RunningServer, wait_until
from tests.served_models import VersionedModel

X = {"x": np.array([1.0], np.float32)}
PREDICTION = "/tensorflow.serving.PredictionService/"
PREDICT = f"{PREDICTION}Predict"
KEYS = [
    "time", "client", "protocol", "method", "path", "model", "version", "signature", "status",
    "request_bytes", "response_bytes", "latency_ms",
]  # fmt: skip


@pytest.fixture
def model(constant_template: Path, tmp_path: Path) -> VersionedModel:
    model = VersionedModel(constant_template, tmp_path / "model")
    model.add(3)
    return model


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def entries(path: Path, count: int) -> list[Any]:
    """The lines of the log, once there are so many."""
    wait_until(lambda: len(read(path)) >= count, f"{count} lines in {path.name}")
    found = read(path)
    assert len(found) == count, found
    return found


def test_each_request_has_one_line(model: VersionedModel, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    flags = [f"--model_base_path={model.base_path}", "--model_name=m", f"--access_log={log}"]
    body = b'{"instances": [1.0]}'
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        url = f"{server.url}/v1/models/m"
        answer = requests.post(f"{url}:predict?token=secret", data=body, timeout=TIMEOUT_S)
        assert answer.status_code == 400
        answer = requests.post(
            f"{url}:predict", data=body, headers={"Authorization": "secret"}, timeout=TIMEOUT_S
        )
        packed = gzip.compress(body)
        header = {"Content-Encoding": "gzip"}
        requests.post(f"{url}/versions/3:predict", data=packed, headers=header, timeout=TIMEOUT_S)
        requests.get(f"{url}/metadata", timeout=TIMEOUT_S)
        requests.head(f"{server.url}/elsewhere", timeout=TIMEOUT_S)
        client.response("m", X)
        with pytest.raises(grpc.RpcError):
            client.response("nobody", X, signature="other")
        with pytest.raises(grpc.RpcError):
            client.unary("/no.Such/Method", b"")
        with pytest.raises(grpc.RpcError):
            client.prediction.MultiInference(
                inference_pb2.MultiInferenceRequest(), timeout=TIMEOUT_S
            )
        client.status("m")
    found = entries(log, 10)

    def told(entry: Any, *names: str) -> list[Any]:
        return [entry[name] for name in names]

    about = ["protocol", "method", "path", "model", "version", "signature", "status"]
    default, http = "serving_default", "HTTP/1.1"
    path = "/v1/models/m"
    size = found[5]["response_bytes"]
    assert [told(entry, *about) for entry in found] == [
        [http, "POST", f"{path}:predict", None, None, None, 400],
        [http, "POST", f"{path}:predict", "m", 3, default, 200],
        [http, "POST", f"{path}/versions/3:predict", "m", 3, default, 200],
        [http, "GET", f"{path}/metadata", "m", 3, None, 200],
        [http, "HEAD", "/elsewhere", None, None, None, 404],
        ["gRPC", "POST", PREDICT, "m", 3, default, 200],
        ["gRPC", "POST", PREDICT, "nobody", None, "other", 200],
        ["gRPC", "POST", "/no.Such/Method", None, None, None, 200],
        ["gRPC", "POST", f"{PREDICTION}MultiInference", None, None, None, 200],
        ["gRPC", "POST", "/tensorflow.serving.ModelService/GetModelStatus", "m", None, None, 200],
    ]  # fmt: skip
    codes = ["OK", "NOT_FOUND", "UNIMPLEMENTED", "INVALID_ARGUMENT", "OK"]
    assert [entry["grpc_status"] for entry in found[5:]] == codes
    assert told(found[1], "request_bytes", "response_bytes") == [len(body), len(answer.content)]
    assert found[2]["request_bytes"] == len(packed)
    assert found[4]["response_bytes"] == 0
    message = predict_request("m", X).SerializeToString()
    assert found[5]["request_bytes"] == 5 + len(message)
    assert size > 0
    for entry in found:
        assert list(entry) in (KEYS, [*KEYS[:9], "grpc_status", *KEYS[9:]])
        assert entry["client"].startswith("127.0.0.1:")
        assert entry["latency_ms"] >= 0
        assert "secret" not in str(entry)


def test_a_stream_of_messages_has_one_line_when_it_is_over(
    model: VersionedModel, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    flags = [f"--model_base_path={model.base_path}", f"--access_log={log}"]
    question = health_pb2.HealthCheckRequest(service="PredictionService")
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_by_filename="none.proto"),
    ]
    with (
        RunningServer(*flags, "--enable_grpc_healthcheck_service") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        cancelled = health.Watch(question, timeout=TIMEOUT_S)
        next(cancelled)
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = list(reflection.ServerReflectionInfo(iter(questions), timeout=TIMEOUT_S))
        assert len(entries(log, 1)) == 1
        cancelled.cancel()
        entries(log, 2)
        watching = health.Watch(question, timeout=TIMEOUT_S)
        next(watching)
        server.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError):
            list(watching)
        assert server.wait_for_exit() == 0
    found = entries(log, 3)
    watch = "/grpc.health.v1.Health/Watch"
    info = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    assert [
        (entry["path"], entry["protocol"], entry["status"], entry["grpc_status"]) for entry in found
    ] == [
        (info, "gRPC", 200, "OK"),
        (watch, "gRPC", 499, "CANCELLED"),
        (watch, "gRPC", 200, "UNAVAILABLE"),
    ]
    sizes = [(entry["request_bytes"], entry["response_bytes"]) for entry in found]
    assert sizes[0] == (
        sum(5 + message.ByteSize() for message in questions),
        sum(5 + message.ByteSize() for message in answers),
    )
    assert sizes[1] == (5 + question.ByteSize(), 5 + 2)
    # The client is told first that the server does not serve any more.
    assert sizes[2] == (5 + question.ByteSize(), 2 * (5 + 2))


def test_what_is_no_request_at_all_has_a_line_too(model: VersionedModel, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    flags = [f"--model_base_path={model.base_path}", f"--access_log={log}"]
    with (
        RunningServer(*flags) as server,
        socket.create_connection(("127.0.0.1", server.rest_port)) as client,
    ):
        client.sendall(b"TRACE /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 501")
        (entry,) = entries(log, 1)
    assert (entry["status"], entry["path"]) == (501, "/v1/models")


def test_a_client_that_does_not_wait_is_told_from_one_that_does(
    slow_base_path: Path, tmp_path: Path
) -> None:
    log, monitoring = tmp_path / "access.log", tmp_path / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics" }')
    flags = [
        f"--model_base_path={slow_base_path}", f"--access_log={log}", "--model_name=slow",
        f"--monitoring_config_file={monitoring}", "--worker_threads=1", "--drain_grace_s=0",
    ]  # fmt: skip

    def abandoned() -> list[Any]:
        return [entry for entry in read(log) if entry["path"] != "/metrics"]

    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:

        def both_are_under_way() -> bool:
            page = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text
            return ":salver:runs_in_flight{} 2\n" in page

        call = client.prediction.Predict.future(
            predict_request("slow", {"steps": np.array(3000, np.int64)})
        )
        with socket.create_connection(("127.0.0.1", server.rest_port)) as gone:
            body = '{"inputs": 3000}'
            head = f"POST /v1/models/slow:predict HTTP/1.1\r\nContent-Length: {len(body)}"
            gone.sendall(f"{head}\r\n\r\n{body}".encode())
            wait_until(both_are_under_way, "both are under way")
        call.cancel()
        wait_until(lambda: len(abandoned()) == 2, "both are logged")
    over_grpc, over_rest = sorted(abandoned(), key=lambda entry: str(entry["path"]))
    assert (over_grpc["status"], over_grpc["grpc_status"]) == (499, "CANCELLED")
    assert over_rest["status"] == 499
    assert over_grpc["model"] == over_rest["model"] == "slow"


def test_after_a_hangup_lines_go_to_a_new_file(model: VersionedModel, tmp_path: Path) -> None:
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    flags = [f"--model_base_path={model.base_path}", f"--access_log={log}"]
    with RunningServer(*flags) as server:
        requests.get(f"{server.url}/v1/models/default", timeout=TIMEOUT_S)
        entries(log, 1)
        log.rename(old)
        requests.get(f"{server.url}/v1/models/default", timeout=TIMEOUT_S)
        entries(old, 2)
        server.send_signal(signal.SIGHUP)
        wait_until(log.exists, "the file is opened anew")
        requests.get(f"{server.url}/v1/models/default", timeout=TIMEOUT_S)
        entries(log, 1)
    assert len(read(old)) == 2


def test_no_line_is_lost_at_the_end_nor_torn_by_others_on_stderr(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}", "--access_log=stderr"]
    with RunningServer(*flags) as server, Load(server) as load:
        load.wait_for(3.0, 2000)
        load.stop()
        assert load.failures == []
    found = [json.loads(line) for line in server.lines if line.startswith("{")]
    assert len(found) == load.answers.total()
    assert not any('"latency_ms"' in line for line in server.lines if line[0] != "{")


def test_a_file_that_cannot_be_opened_ends_the_start(model: VersionedModel, tmp_path: Path) -> None:
    path = tmp_path / "not there" / "access.log"
    server = RunningServer(f"--model_base_path={model.base_path}", f"--access_log={path}")
    server.launch()
    try:
        assert server.wait_for_exit() == 255
        assert server.lines[-1] == (
            "Failed to start server. Error: INVALID_ARGUMENT: --access_log must be stderr or a "
            f"file that can be written: {path}; No such file or directory"
        )
    finally:
        server.kill()


def test_without_the_flag_nothing_is_logged(model: VersionedModel) -> None:
    with RunningServer(f"--model_base_path={model.base_path}") as server:
        requests.get(f"{server.url}/v1/models/default", timeout=TIMEOUT_S)
    assert not any("latency_ms" in line for line in server.lines)
