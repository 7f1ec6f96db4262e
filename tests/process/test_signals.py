"""The end of the server: what SIGTERM and SIGINT do to requests, loads and the exit code."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.grpc_client import GrpcClient, predict_request
from tests.process.load import Load
from tests.running import RunningServer
from tests.served_models import VersionedModel

LIMIT_S = 60.0
LONG = 2000
ENDED_BY_A_SECOND_SIGNAL = 1
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)


@pytest.fixture
def slow_server(slow_base_path: Path) -> Iterator[RunningServer]:
    """A server that ends within the test."""
    server = RunningServer(f"--model_base_path={slow_base_path}", "--inline_budget_us=0")
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        yield server
    finally:
        server.kill()


def start_slow_post(server: RunningServer, steps: int) -> socket.socket:
    """Send a slow request on a connection of its own, and leave its answer there."""
    connection = socket.create_connection(("127.0.0.1", server.rest_port), LIMIT_S)
    body = b'{"inputs": %d}' % steps
    head = b"POST /v1/models/default:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(body) + body)
    return connection


def ask_until_refused(server: RunningServer) -> None:
    """The signal is handled a turn before the sockets are closed."""
    while True:
        requests.get(f"{server.url}/v1/models/default", timeout=LIMIT_S)


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


@BOTH
def test_what_is_in_flight_over_grpc_is_answered(
    slow_server: RunningServer, number: signal.Signals
) -> None:
    with GrpcClient(slow_server.grpc_address) as client:
        request = predict_request("default", {"steps": np.int64(LONG)})
        calls = [client.prediction.Predict.future(request, timeout=LIMIT_S) for _ in range(4)]
        client.status("default")
        slow_server.send_signal(number)
        slow_server.wait_for_line("finishing what is in flight")
        assert not calls[-1].done()
        assert [call.result().outputs["done"].int64_val[0] for call in calls] == [LONG] * 4
        assert slow_server.wait_for_exit() == 0


@BOTH
def test_what_is_in_flight_over_rest_is_answered(
    slow_server: RunningServer, number: signal.Signals
) -> None:
    connections = [start_slow_post(slow_server, LONG) for _ in range(4)]
    with GrpcClient(slow_server.grpc_address) as client:
        client.status("default")
    slow_server.send_signal(number)
    for connection in connections:
        answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b'"done": %d' % LONG in answer
    assert slow_server.wait_for_exit() == 0


def test_connections_that_rest_do_not_hold_up_the_end(slow_server: RunningServer) -> None:
    with requests.Session() as session, GrpcClient(slow_server.grpc_address) as client:
        assert session.get(f"{slow_server.url}/v1/models/default", timeout=LIMIT_S).ok
        assert client.status("default").model_version_status
        silent = socket.create_connection(("127.0.0.1", slow_server.rest_port))
        slow_server.send_signal(signal.SIGTERM)
        # Less than the grace that requests in flight would get.
        assert slow_server.wait_for_exit(20) == 0
        assert everything(silent) == b""


def test_new_connections_are_refused_while_the_last_request_finishes(
    slow_server: RunningServer,
) -> None:
    connection = start_slow_post(slow_server, LONG)
    requests.get(f"{slow_server.url}/v1/models/default", timeout=LIMIT_S)
    slow_server.send_signal(signal.SIGTERM)
    slow_server.wait_for_line("finishing what is in flight")
    with pytest.raises(requests.ConnectionError):
        ask_until_refused(slow_server)
    assert b'"done": %d' % LONG in everything(connection)
    assert slow_server.wait_for_exit() == 0


def test_a_request_that_outlasts_the_grace_does_not_hold_up_the_end(slow_base_path: Path) -> None:
    flags = [f"--model_base_path={slow_base_path}", "--inline_budget_us=0", "--drain_grace_s=0.2"]
    server = RunningServer(*flags)
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        connection = start_slow_post(server, 10**6)
        requests.get(f"{server.url}/v1/models/default", timeout=LIMIT_S)
        server.send_signal(signal.SIGTERM)
        assert server.wait_for_exit(20) == 0
        connection.close()
    finally:
        server.kill()


@BOTH
def test_a_second_signal_ends_it_at_once(
    slow_server: RunningServer, number: signal.Signals
) -> None:
    connection = start_slow_post(slow_server, 10**6)
    requests.get(f"{slow_server.url}/v1/models/default", timeout=LIMIT_S)
    slow_server.send_signal(number)
    slow_server.wait_for_line("finishing what is in flight")
    slow_server.send_signal(signal.SIGTERM)
    assert slow_server.wait_for_exit(20) == ENDED_BY_A_SECOND_SIGNAL
    slow_server.wait_for_line("Ended at once by a second signal")
    connection.close()


@pytest.mark.parametrize("situation", ["no base path", "no version", "a load that is tried again"])
def test_a_server_that_waits_for_its_models_ends_promptly(
    model: VersionedModel, tmp_path: Path, situation: str
) -> None:
    base_path, line = model.base_path, "Retrying of Loading servable"
    if situation == "no base path":
        base_path, line = tmp_path / "none", "Could not find base path"
    elif situation == "no version":
        base_path, line = tmp_path / "empty", "No versions of servable default found"
        base_path.mkdir()
    else:
        model.break_(2)
        line = "Loading servable: {name: default version: 2} failed"
    server = RunningServer(f"--model_base_path={base_path}")
    server.launch()
    try:
        server.wait_for_line(line)
        server.send_signal(signal.SIGTERM)
        assert server.wait_for_exit(20) == 0
    finally:
        server.kill()


def test_a_server_that_loads_a_heavy_model_ends_promptly(heavy_saved_model: str) -> None:
    server = RunningServer(f"--model_base_path={Path(heavy_saved_model).parent}")
    server.launch()
    try:
        server.wait_for_line("Loading servable version {name: default version: 1}")
        server.send_signal(signal.SIGTERM)
        assert server.wait_for_exit(20) == 0
    finally:
        server.kill()


def test_no_answer_is_lost_when_the_server_ends_under_load(model: VersionedModel) -> None:
    """Callers see the end of the connection between their requests, never a wrong answer."""
    server = RunningServer(f"--model_base_path={model.base_path}")
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        with Load(server) as load:
            load.wait_for(1.0)
            server.send_signal(signal.SIGTERM)
            assert server.wait_for_exit() == 0
        assert set(load.answers) == {1.0}
    finally:
        server.kill()
