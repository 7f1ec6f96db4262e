"""TLS as clients have it: grpcio, requests, curl and h2load against servers of every kind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests

from salver.transport.tls import TlsMaterial, server_credentials
from tests.certificates import Authority, Pair, client_context, ssl_config, text_of
from tests.grpc_client import GrpcClient, predict_request
from tests.running import RunningServer, wait_until, write_config

LIMIT_S = 60
AUTHORITY = Authority()
SOMEBODY = AUTHORITY.issue("somebody")
STRANGER = Authority().issue("stranger")
BODY = '{"instances": [1.0, 2.0, 5.0]}'
PREDICTIONS = [2.5, 3.0, 4.5]
PATH = "/v1/models/half_plus_two:predict"
LONG = 3000
"""Steps of the slow model that take long enough for something to happen meanwhile."""


def grpc_credentials(client: Pair | None = None, authority: Authority = AUTHORITY) -> Any:
    own = (client.key.encode(), client.certificates.encode()) if client else (None, None)
    return grpc.ssl_channel_credentials(authority.pem.encode(), *own)


@dataclass
class Files:
    """What clients read from files."""

    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.crt")

    def pair(self, pair: Pair, name: str) -> tuple[str, str]:
        return pair.write(self.folder, name)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = Files(tmp_path_factory.mktemp("pki"))
    Path(files.ca).write_text(AUTHORITY.pem)
    return files


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, saved_model_folder: Path, slow_base_path: Path
) -> str:
    """The flag for the models that all servers here serve."""
    paths = {"half_plus_two": saved_model_folder / "half_plus_two_1", "slow": slow_base_path}
    bodies = [
        f'name: "{n}" base_path: "{p}" model_platform: "tensorflow"' for n, p in paths.items()
    ]
    return write_config(tmp_path_factory.mktemp("models") / "models.txt", bodies)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "tls.txt"
    path.write_text(ssl_config(AUTHORITY.issue()))
    return str(path)


@pytest.fixture(scope="module")
def unix_socket(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("socket") / "tls.sock")


@pytest.fixture(scope="module")
def server(models: str, config: str, unix_socket: str) -> Iterator[RunningServer]:
    """With TLS on every port, by one file, and REST on the gRPC port too."""
    flags = [f"--ssl_config_file={config}", f"--rest_api_ssl_config_file={config}"]
    with RunningServer(models, *flags, f"--grpc_socket_path={unix_socket}") as running:
        yield running


@pytest.fixture(scope="module")
def strict_server(models: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Whose gRPC port asks clients for certificates, and whose REST port has no TLS."""
    path = tmp_path_factory.mktemp("strict") / "tls.txt"
    path.write_text(ssl_config(AUTHORITY.issue(), AUTHORITY.pem, verifies_clients=True))
    monitoring = path.with_name("monitoring.txt")
    monitoring.write_text("prometheus_config { enable: true }")
    flags = [f"--ssl_config_file={path}", f"--monitoring_config_file={monitoring}"]
    with RunningServer(models, *flags, "--log_level=debug") as running:
        yield running


def predict(client: GrpcClient, values: Any = (1.0, 2.0, 5.0)) -> Any:
    return client.predict("half_plus_two", {"x": np.asarray(values, np.float32)})["y"]


def post(url: str, files: Files, body: str = BODY, **how: Any) -> Any:
    response = requests.post(url, data=body, timeout=LIMIT_S, verify=files.ca, **how)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def output(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.decode()


def curl(*arguments: str) -> str:
    return output("curl", "--silent", "--show-error", "--max-time", "60", *arguments)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), LIMIT_S)


def https(server: RunningServer, port: int = 0) -> str:
    return f"https://localhost:{port or server.rest_port}{PATH}"


# --- clients -------------------------------------------------------------------------


def test_grpc_clients_are_answered(server: RunningServer) -> None:
    with GrpcClient(server.grpc_address, credentials=grpc_credentials()) as client:
        assert predict(client).tolist() == PREDICTIONS
        assert client.status("half_plus_two").model_version_status[0].version == 1
        with pytest.raises(grpc.RpcError) as raised:
            client.predict("nobody", {"x": np.zeros(1, np.float32)})
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_grpc_clients_come_in_by_the_rest_port_too(server: RunningServer) -> None:
    address = f"127.0.0.1:{server.rest_port}"
    with GrpcClient(address, credentials=grpc_credentials()) as client:
        assert predict(client).tolist() == PREDICTIONS


def test_the_unix_socket_has_tls_as_well(
    server: RunningServer, unix_socket: str, files: Files
) -> None:
    options = [("grpc.ssl_target_name_override", "localhost")]
    target = f"unix:{unix_socket}"
    with GrpcClient(target, credentials=grpc_credentials(), options=options) as client:
        assert predict(client).tolist() == PREDICTIONS
    by_socket = ["--unix-socket", unix_socket, "--cacert", files.ca]
    answer = curl(*by_socket, "-d", BODY, f"https://localhost{PATH}")
    assert json.loads(answer)["predictions"] == PREDICTIONS


@pytest.mark.parametrize("port", ["grpc_port", "rest_port"])
def test_requests_verifies_the_certificate(server: RunningServer, files: Files, port: str) -> None:
    assert post(https(server, getattr(server, port)), files) == PREDICTIONS
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(https(server, getattr(server, port)), data=BODY, timeout=LIMIT_S)


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_agrees_with_the_server_on_a_protocol(
    server: RunningServer, files: Files, flag: str, version: str
) -> None:
    written = ["-w", "\n%{http_version} %{num_connects}\n", "--cacert", files.ca]
    answers = curl(flag, *written, "-d", BODY, https(server), https(server))
    found = re.findall(r"^([\d.]+) (\d)$", answers, re.MULTILINE)
    assert found == [(version, "1"), (version, "0")]


def test_h2load_counts_every_answer(server: RunningServer, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(BODY)
    for how in (["-m20"], ["--h1"]):
        report = output("h2load", *how, "-n4000", "-c16", f"--data={body}", https(server))
        assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in report
        assert "status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx" in report


def test_large_messages_go_both_ways(server: RunningServer, files: Files) -> None:
    values = np.arange(6_000_000, dtype=np.float32)
    with GrpcClient(server.grpc_address, credentials=grpc_credentials()) as client:
        assert np.array_equal(predict(client, values), values / 2 + 2)
    body = json.dumps({"instances": [1.25] * 4_000_000})
    assert len(body) > 16 * 2**20
    assert post(https(server), files, body) == [2.625] * 4_000_000


def test_many_clients_at_once_get_their_own_answers(server: RunningServer, files: Files) -> None:
    def by_grpc(number: int) -> bool:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with GrpcClient(
            server.grpc_address, credentials=grpc_credentials(), options=options
        ) as client:
            values = np.arange(number * 1000, dtype=np.float32)
            return all(np.array_equal(predict(client, values), values / 2 + 2) for _ in "1234")

    def by_rest(number: int) -> bool:
        body = json.dumps({"instances": [number] * number})
        return bool(post(https(server), files, body) == [number / 2 + 2] * number)

    with ThreadPoolExecutor(16) as pool:
        numbers = range(1, 33)
        assert all([*pool.map(by_grpc, numbers), *pool.map(by_rest, numbers)])


def test_a_client_in_the_clear_is_cut_off_and_others_are_not(
    server: RunningServer, files: Files
) -> None:
    for port in (server.grpc_port, server.rest_port):
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.post(f"http://127.0.0.1:{port}{PATH}", data=BODY, timeout=LIMIT_S)
        with GrpcClient(f"127.0.0.1:{port}") as client, pytest.raises(grpc.RpcError) as raised:
            predict(client)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert post(https(server), files) == PREDICTIONS


def test_a_client_that_sends_no_more_is_still_answered(server: RunningServer) -> None:
    with (
        connected(server.rest_port) as plain,
        client_context(AUTHORITY).wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET /v1/models/half_plus_two HTTP/1.1\r\nHost: a\r\n\r\n")
        with socket.socket(fileno=os.dup(client.fileno())) as half:
            half.shutdown(socket.SHUT_WR)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


# --- certificates of clients ---------------------------------------------------------


def test_a_client_with_a_certificate_is_let_in(strict_server: RunningServer, files: Files) -> None:
    credentials = grpc_credentials(SOMEBODY)
    with GrpcClient(strict_server.grpc_address, credentials=credentials) as client:
        assert predict(client).tolist() == PREDICTIONS
    own = files.pair(SOMEBODY, "somebody")
    url = https(strict_server, strict_server.grpc_port)
    assert post(url, files, cert=own) == PREDICTIONS
    with_certificate = ["--cacert", files.ca, "--cert", own[0], "--key", own[1]]
    assert json.loads(curl(*with_certificate, "-d", BODY, url))["predictions"] == PREDICTIONS


@pytest.mark.parametrize("client", [None, STRANGER], ids=["none", "of another authority"])
def test_a_client_without_the_right_certificate_is_not(
    strict_server: RunningServer, files: Files, client: Pair | None
) -> None:
    credentials = grpc_credentials(client)
    with (
        GrpcClient(strict_server.grpc_address, credentials=credentials) as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        predict(channel)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    how: dict[str, Any] = {"cert": files.pair(client, "stranger")} if client else {}
    with pytest.raises(requests.exceptions.ConnectionError):
        post(https(strict_server, strict_server.grpc_port), files, **how)
    strict_server.wait_for_line("The TLS handshake with ('127.0.0.1', ")
    assert not any("Traceback" in line for line in strict_server.lines)


def test_failed_handshakes_are_counted_by_their_reason(
    strict_server: RunningServer, files: Files
) -> None:
    url = https(strict_server, strict_server.grpc_port)

    def counts() -> Counter[str]:
        page = requests.get(f"{strict_server.url}/monitoring/prometheus/metrics", timeout=LIMIT_S)
        found = re.findall(
            r'^:salver:tls_handshake_failed_count\{reason="(\w+)"\} (\d+)$', page.text, re.M
        )
        return Counter({reason: int(count) for reason, count in found})

    before = counts()
    stranger = files.pair(STRANGER, "stranger")
    failures: list[dict[str, Any]] = [{}, {"cert": stranger}, {"cert": stranger}]
    for how in failures:
        with pytest.raises(requests.exceptions.ConnectionError):
            post(url, files, **how)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(url, timeout=LIMIT_S)  # It does not know who issued our certificate.
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(url.replace("https:", "http:"), timeout=LIMIT_S)
    post(url, files, cert=files.pair(SOMEBODY, "somebody"))
    expected = {
        "PEER_DID_NOT_RETURN_A_CERTIFICATE": 1, "CERTIFICATE_VERIFY_FAILED": 2,
        "TLSV1_ALERT_UNKNOWN_CA": 1, "HTTP_REQUEST": 1,
    }  # fmt: skip
    wait_until(lambda: counts() - before == expected, "all failures are counted")


def test_nobody_gets_around_the_verification_by_the_port_in_the_clear(
    strict_server: RunningServer,
) -> None:
    address = f"127.0.0.1:{strict_server.rest_port}"
    with GrpcClient(address) as client:
        with pytest.raises(grpc.RpcError) as raised:
            predict(client)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as raised:
            client.unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest", b"")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    # REST is where it was, as in TensorFlow Serving.
    for flags in (["--http1.1"], ["--http2-prior-knowledge"]):
        answer = curl(*flags, "-d", BODY, f"{strict_server.url}{PATH}")
        assert json.loads(answer)["predictions"] == PREDICTIONS


def test_rest_alone_may_have_tls(models: str, config: str, files: Files) -> None:
    with RunningServer(models, f"--rest_api_ssl_config_file={config}") as server:
        assert post(https(server), files) == PREDICTIONS
        with GrpcClient(server.grpc_address) as client:
            assert predict(client).tolist() == PREDICTIONS
        response = requests.get(f"http://{server.grpc_address}{PATH}", timeout=LIMIT_S)
        assert (response.status_code, response.headers["Connection"]) == (404, "close")


# --- while it runs -------------------------------------------------------------------


def shown(server: RunningServer) -> bytes:
    """The certificate that a new connection is shown."""
    with (
        connected(server.grpc_port) as plain,
        client_context(AUTHORITY).wrap_socket(plain, server_hostname="localhost") as client,
    ):
        certificate = client.getpeercert(True)
    assert certificate is not None
    return certificate


def test_a_new_certificate_is_served_while_connections_go_on(
    models: str, files: Files, tmp_path: Path
) -> None:
    folder = tmp_path / "secret"
    prints = []
    for name in ("1", "2"):
        pair = AUTHORITY.issue()
        (folder / name).mkdir(parents=True)
        pair.write(folder / name, "tls")
        material = TlsMaterial(pair.key, pair.certificates)
        prints.append(server_credentials(material, ()).fingerprint)
    (folder / "..data").symlink_to("1")
    path = tmp_path / "tls.txt"
    path.write_text(text_of(f"{folder}/..data/tls.key", f"{folder}/..data/tls.crt"))
    flags = [f"--ssl_config_file={path}", f"--rest_api_ssl_config_file={path}"]
    with (
        RunningServer(models, *flags) as server,
        GrpcClient(server.grpc_address, credentials=grpc_credentials()) as client,
        requests.Session() as session,
    ):
        local_ports = set()

        def ask() -> None:
            assert predict(client).tolist() == PREDICTIONS
            how: dict[str, Any] = {"verify": files.ca, "stream": True, "timeout": LIMIT_S}
            with session.post(https(server), data=BODY, **how) as response:
                connection: Any = response.raw
                local_ports.add(connection._connection.sock.getsockname())
                assert response.json()["predictions"] == PREDICTIONS

        ask()
        before = shown(server)
        new = folder / "..data_tmp"
        new.symlink_to("2")
        new.rename(folder / "..data")
        server.wait_for_line(f"{path}: replaced, the certificate has SHA-256 {prints[1]}")
        after = shown(server)
        assert after != before
        ask()
        # A broken one changes nothing, and is named once.
        shutil.copy(folder / "1" / "tls.key", folder / "2" / "tls.key")
        server.wait_for_line("server_key does not belong to server_cert")
        assert shown(server) == after
        ask()
        shutil.copy(folder / "1" / "tls.crt", folder / "2" / "tls.crt")
        server.wait_for_line(f"{path}: replaced, the certificate has SHA-256 {prints[0]}")
        assert shown(server) == before
        ask()
        assert len(local_ports) == 1
    assert sum("The old certificate is served on" in line for line in server.lines) == 1


def test_what_is_under_way_at_the_end_is_answered(models: str, config: str) -> None:
    flags = [f"--ssl_config_file={config}", f"--rest_api_ssl_config_file={config}"]
    body = b'{"inputs": %d}' % LONG
    head = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    with (
        RunningServer(models, *flags, "--inline_budget_us=0") as server,
        GrpcClient(server.grpc_address, credentials=grpc_credentials()) as client,
        connected(server.grpc_port) as handshake,
        connected(server.rest_port) as plain,
        client_context(AUTHORITY).wrap_socket(plain, server_hostname="localhost") as rest,
    ):
        rest.sendall(head % len(body) + body)
        request = predict_request("slow", {"steps": np.int64(LONG)})
        call = client.prediction.Predict.future(request, timeout=LIMIT_S)
        client.status("slow")
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("SIGTERM: finishing what is in flight")
        assert not call.done()
        assert handshake.recv(1) == b""
        assert call.result().outputs["done"].int64_val[0] == LONG
        # Read until the server has said farewell; anything less would be an error.
        answer = b"".join(iter(lambda: rest.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b'"done": %d' % LONG in answer
        assert server.wait_for_exit() == 0


def test_handshakes_count_and_are_cut_off_in_time(models: str, config: str, files: Files) -> None:
    flags = ["--max_connections=2", "--stall_timeout_s=1", f"--ssl_config_file={config}"]
    with RunningServer(models, *flags) as server:
        port = server.grpc_port
        with connected(port) as first, connected(port) as second, connected(port) as third:
            # The limit, and then the time.
            for waiting in (third, first, second):
                assert waiting.recv(1) == b""
            assert post(https(server, server.grpc_port), files) == PREDICTIONS
