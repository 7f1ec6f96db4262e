"""The limits that flags set, on a server with small ones."""

import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests

from tests.grpc_client import GrpcClient
from tests.running import RunningServer, write_config

TIMEOUT_S = 60
LONG = 10_000
MAX_REQUEST_BYTES = 2000
TOO_MANY = {"x": np.zeros(MAX_REQUEST_BYTES, np.float32)}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, saved_model_folder: Path, slow_base_path: Path
) -> Iterator[RunningServer]:
    models = {"half_plus_two": saved_model_folder / "half_plus_two_1", "slow": slow_base_path}
    bodies = [
        f'name: "{n}" base_path: "{p}" model_platform: "tensorflow"' for n, p in models.items()
    ]
    flags = [
        write_config(tmp_path_factory.mktemp("limits") / "models.txt", bodies),
        f"--max_request_bytes={MAX_REQUEST_BYTES}",
        "--rest_api_timeout_in_ms=100",
        "--enable_serialization_as_tensor_content",
        "--rest_api_enable_cors_support",
        "--inline_budget_us=0",
        "--drain_grace_s=1",
    ]
    with RunningServer(*flags) as running:
        yield running


def post(server: RunningServer, model: str, body: str) -> requests.Response:
    return requests.post(f"{server.url}/v1/models/{model}:predict", data=body, timeout=TIMEOUT_S)


def test_a_message_that_is_too_large_is_refused_and_the_channel_goes_on(
    server: RunningServer,
) -> None:
    with GrpcClient(server.grpc_address) as client:
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as raised:
                client.predict("half_plus_two", TOO_MANY)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            x = np.array([2.0], np.float32)
            assert client.predict("half_plus_two", {"x": x})["y"].tolist() == [3.0]


def test_a_body_that_is_too_large_is_refused(server: RunningServer) -> None:
    response = post(server, "half_plus_two", '{"instances": [' + "1.0, " * 1000 + "1.0]}")
    assert response.status_code == 413


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(
    server: RunningServer,
) -> None:
    head = b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: server\r\n"
    with socket.create_connection(("127.0.0.1", server.rest_port), TIMEOUT_S) as connection:
        connection.settimeout(10)
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_run_over_rest_ends_at_the_timeout_and_the_server_goes_on(server: RunningServer) -> None:
    response = post(server, "slow", f'{{"inputs": {LONG}}}')
    assert response.status_code == 504
    assert response.json() == {"error": "Timed out waiting for notification"}
    assert requests.get(f"{server.url}/v1/models/slow", timeout=TIMEOUT_S).status_code == 200


def test_outputs_are_packed_where_that_was_asked_for(server: RunningServer) -> None:
    with GrpcClient(server.grpc_address) as client:
        x = np.array([2.0, 4.0], np.float32)
        output = client.response("half_plus_two", {"x": x}).outputs["y"]
    assert output.tensor_content == np.array([3.0, 4.0], np.float32).tobytes()
    # REST shows numbers all the same.
    assert post(server, "half_plus_two", '{"instances": [2.0]}').json() == {"predictions": [3.0]}
    assert list(output.float_val) == []


@pytest.mark.parametrize("model", ["half_plus_two", "nobody"])
def test_cors_headers_are_on_every_answer(server: RunningServer, model: str) -> None:
    response = post(server, model, '{"inputs": 1.0}')
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
    assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"


def test_a_preflight_is_answered(server: RunningServer) -> None:
    url = f"{server.url}/v1/models/half_plus_two:predict"
    headers = {"Origin": "https://example.org"}
    response = requests.options(url, headers=headers, timeout=TIMEOUT_S)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
