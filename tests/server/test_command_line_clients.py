"""REST as curl, nghttp and h2load call it; each is skipped where it is not installed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import RunningServer

LIMIT_S = 120
BODY = '{"instances": [1.0, 2.0, 5.0]}'
ANSWER = b'{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'


def output(program: str, *arguments: str) -> bytes:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, timeout=LIMIT_S)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def curl(*arguments: str) -> bytes:
    return output("curl", "--silent", "--show-error", "--max-time", "60", *arguments)


def url(server: RunningServer, model: str = "half_plus_two_1") -> str:
    return f"{server.url}/v1/models/{model}:predict"


@pytest.mark.parametrize("protocol", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def test_curl_gets_the_same_bytes_over_every_protocol(server: RunningServer, protocol: str) -> None:
    assert curl(protocol, "-d", BODY, url(server)) == ANSWER


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_gets_the_status_of_an_error(server: RunningServer, protocol: str) -> None:
    written = ["-w", "\n%{http_code} %{content_type}"]
    answer = curl(protocol, *written, "-d", BODY, url(server, "nobody"))
    assert answer == (
        b'{\n    "error": "Servable not found for request: Latest(nobody)"\n}\n404 application/json'
    )


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_unpacks_compressed_answers(server: RunningServer, protocol: str) -> None:
    body = json.dumps({"instances": [1.0] * 1000})
    plain = curl(protocol, "-d", body, url(server))
    headers_and_body = curl(protocol, "--compressed", "-i", "-d", body, url(server))
    headers, unpacked = headers_and_body.split(b"\r\n\r\n", 1)
    assert b"content-encoding: gzip" in headers.lower()
    assert unpacked == plain


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_uploads_a_large_body(server: RunningServer, protocol: str, tmp_path: Path) -> None:
    values = [float(number) for number in range(400_000)]
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"instances": values}))
    continues = ["-H", "Expect: 100-continue", "--data-binary", f"@{body}"]
    answer = json.loads(curl(protocol, *continues, url(server)))
    assert answer == {"predictions": [value / 2 + 2 for value in values]}


def test_curl_is_told_to_continue(server: RunningServer) -> None:
    answer = curl("--http1.1", "-i", "-H", "Expect: 100-continue", "-d", BODY, url(server))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(ANSWER)


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_comes_in_by_the_unix_socket(
    server: RunningServer, socket_path: str, protocol: str
) -> None:
    address = "http://localhost/v1/models/half_plus_two_1:predict"
    assert curl(protocol, "--unix-socket", socket_path, "-d", BODY, address) == ANSWER


def test_curl_asks_for_a_head(server: RunningServer) -> None:
    answer = curl("--http1.1", "--head", f"{server.url}/v1/models/half_plus_two_1")
    headers, body = answer.split(b"\r\n\r\n", 1)
    assert headers.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert body == b""


def test_curl_finds_rest_on_the_grpc_port_too(server: RunningServer) -> None:
    address = f"http://{server.grpc_address}/v1/models/half_plus_two_1:predict"
    assert curl("--http1.1", "-d", BODY, address) == ANSWER


def test_curl_reuses_one_connection(server: RunningServer) -> None:
    written = ["-w", "\n%{num_connects}\n", "-d", BODY]
    answer = curl("--http1.1", *written, url(server), url(server), url(server))
    assert answer == ANSWER + b"\n1\n" + ANSWER + b"\n0\n" + ANSWER + b"\n0\n"


def test_curl_that_offers_an_upgrade_is_answered_without_one(server: RunningServer) -> None:
    written = ["-w", "\n%{http_version} %{num_connects}\n", "-d", BODY]
    answer = curl("--http2", *written, url(server), url(server))
    assert answer == ANSWER + b"\n1.1 1\n" + ANSWER + b"\n1.1 0\n"


def test_nghttp_gets_every_answer_of_many_at_once(server: RunningServer, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(BODY)
    answers = output("nghttp", f"--data={body}", "-m", "50", url(server))
    assert answers == ANSWER * 50


@pytest.mark.parametrize("protocol", ["--h1", "--h2"])
def test_h2load_counts_every_answer_whole(
    server: RunningServer, tmp_path: Path, protocol: str
) -> None:
    body = tmp_path / "body.json"
    body.write_text(BODY)
    requests = 4000
    how = ["--h1"] if protocol == "--h1" else ["-m", "20"]
    load = ["-n", str(requests), "-c", "16", f"--data={body}"]
    report = output("h2load", *how, *load, url(server)).decode()
    assert f"{requests} succeeded, 0 failed, 0 errored, 0 timeout" in report
    assert f"status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx" in report
    (data,) = re.findall(r"\((\d+)\) data", report)
    assert int(data) == requests * len(ANSWER)
