"""How a server leaves: first it says so, then it takes nothing new, then it ends."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.grpc_client import GrpcClient, predict_request
from tests.process.test_replacing import connect_unix
from tests.running import RunningServer
from tests.served_models import VersionedModel

LIMIT_S = 60.0
LONG = 3000
SERVING, NOT_SERVING = 1, 2
GET = b"GET /v1/models/default HTTP/1.1\r\nHost: server\r\n\r\n"


@pytest.fixture
def leaving(model: VersionedModel) -> Iterator[RunningServer]:
    """A server that has been told to end, and will not within the time of a test."""
    flags = [f"--model_base_path={model.base_path}", "--enable_grpc_healthcheck_service"]
    server = RunningServer(*flags, "--drain_delay_s=1000")
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        yield server
    finally:
        server.kill()


def readiness(server: RunningServer) -> Any:
    return requests.get(f"{server.url}/healthz/ready", timeout=LIMIT_S)


def tell_to_end(server: RunningServer) -> None:
    server.send_signal(signal.SIGTERM)
    server.wait_for_line("Not ready any more")


def test_a_server_that_leaves_is_not_ready_and_takes_requests_all_the_same(
    leaving: RunningServer,
) -> None:
    with grpc.insecure_channel(leaving.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=LIMIT_S)
        assert next(watch).status == SERVING
        assert readiness(leaving).status_code == 200
        tell_to_end(leaving)
        assert next(watch).status == NOT_SERVING
        for name in ("", "PredictionService", "models/default", "models/default/versions/1"):
            request = health_pb2.HealthCheckRequest(service=name)
            assert health.Check(request, timeout=LIMIT_S).status == NOT_SERVING
        watch.cancel()
    response = readiness(leaving)
    assert response.status_code == 503
    assert response.json() == {"ready": False, "draining": True}
    live = requests.get(f"{leaving.url}/healthz/live", timeout=LIMIT_S)
    assert live.json() == {"live": True}
    with GrpcClient(leaving.grpc_address) as client:
        assert client.answer("default") == 1.0


def test_a_second_signal_does_not_wait_for_anything(leaving: RunningServer) -> None:
    tell_to_end(leaving)
    leaving.send_signal(signal.SIGTERM)
    assert leaving.wait_for_exit(20) == 1


def test_after_the_delay_the_server_ends(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}", "--drain_delay_s=0.3"]
    server = RunningServer(*flags)
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        tell_to_end(server)
        assert readiness(server).status_code == 503
        assert server.wait_for_exit(20) == 0
    finally:
        server.kill()


def test_streams_end_with_a_status_and_do_not_hold_up_the_end(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}", "--enable_grpc_healthcheck_service"]
    server = RunningServer(*flags)
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        with grpc.insecure_channel(server.grpc_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT_S)
            assert next(watch).status == SERVING
            server.send_signal(signal.SIGTERM)
            assert next(watch).status == NOT_SERVING
            with pytest.raises(grpc.RpcError) as raised:
                next(watch)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            assert raised.value.details() == "The server is shutting down"
            # Less than the grace that requests in flight would get.
            assert server.wait_for_exit(20) == 0
    finally:
        server.kill()


@pytest.mark.parametrize("flag", [[], ["--reuse_port"]], ids=["own port", "shared port"])
def test_who_connected_while_the_server_was_busy_is_answered(
    slow_base_path: Path, tmp_path: Path, flag: list[str]
) -> None:
    path = tmp_path / "a.sock"
    # A model whose time depends on its input, and that therefore can hold up the loop.
    flags = ["--inline_budget_us=100000000", f"--grpc_socket_path={path}", "--worker_threads=1"]
    server = RunningServer(f"--model_base_path={slow_base_path}", *flags, *flag)
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        with GrpcClient(server.grpc_address) as client:
            for _ in range(20):
                assert client.predict("default", {"steps": np.int64(1)})["done"] == 1
            request = predict_request("default", {"steps": np.int64(LONG)})
            busy = client.prediction.Predict.future(request, timeout=LIMIT_S)
            address = ("127.0.0.1", server.rest_port)
            connections = [socket.create_connection(address, LIMIT_S) for _ in range(100)]
            connections += [connect_unix(path) for _ in range(100)]
            for connection in connections:
                connection.sendall(GET)
            server.send_signal(signal.SIGTERM)
            assert busy.result().outputs["done"].int64_val[0] == LONG
        for connection in connections:
            with connection:
                answer = b"".join(iter(lambda: connection.recv(65536), b""))  # noqa: B023
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.wait_for_exit() == 0
        assert not path.exists()
    finally:
        server.kill()


def test_two_servers_share_ports_only_if_both_are_told_to(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}"]
    with RunningServer(*flags, "--reuse_port") as first:
        second = RunningServer(*flags, "--reuse_port")
        second.grpc_port, second.rest_port = first.grpc_port, first.rest_port
        with second:
            assert second.pid != first.pid
            listening = [
                (psutil.Process(server.pid).net_connections(), server) for server in (first, second)
            ]
            for connections, server in listening:
                ports = {c.laddr.port for c in connections if c.status == "LISTEN"}
                assert ports == {server.grpc_port, server.rest_port}
        third = RunningServer(*flags)
        third.grpc_port, third.rest_port = first.grpc_port, first.rest_port
        third.launch()
        try:
            assert third.wait_for_exit() == 255
            third.wait_for_line("Failed to BuildAndStart gRPC server")
        finally:
            third.kill()
