"""The client where something is wrong: servers that fail, hang or refuse, keys, certificates."""

import logging
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.client import AsyncClient, Client, Retries, Tls
from salver.codecs.messages import message_class
from salver.errors import (
    Code,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ServingError,
    Unavailable,
)
from tests.answering import AnsweringServer, Asked, Told
from tests.certificates import Authority, ssl_config
from tests.running import RunningServer

BOTH = pytest.mark.parametrize("protocol", ["grpc", "rest"])
NO_PAUSE = Retries(attempts=3, first_pause_s=0.0)
AUTHORITY = Authority()
KEY = "secret-key-of-mine"


class Script:
    """Says what to answer, one after the other; then for ever the status of no version."""

    def __init__(self) -> None:
        self.errors: list[tuple[Code, int, str]] = []
        self.hangs: threading.Event | None = None

    def _error(self) -> tuple[Code, int, str] | None:
        if self.hangs is not None:
            self.hangs.wait(30)
        return self.errors.pop(0) if self.errors else None

    def over_grpc(self, asked: Asked) -> Told:
        error = self._error()
        return Told(Code.OK) if error is None else Told(error[0], error[2].encode())

    def over_rest(self, asked: Asked) -> Told:
        error = self._error()
        return Told(200, b"{}") if error is None else Told(error[1], error[2].encode())


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Iterator[AnsweringServer]:
    with AnsweringServer(script.over_grpc, script.over_rest) as running:
        yield running


def address_of(server: AnsweringServer, protocol: str) -> str:
    return server.grpc_address if protocol == "grpc" else server.url


@BOTH
async def test_what_reads_is_asked_again_while_the_server_is_unavailable(
    server: AnsweringServer, script: Script, protocol: str
) -> None:
    busy = (Code.UNAVAILABLE, 503, '{"error": "busy"}')
    script.errors = [busy, busy]
    with Client(address_of(server, protocol), retries=NO_PAUSE) as client:
        assert client.status("m") == ()
        assert len(server.asked) == 3
        script.errors = [busy] * 3
        with pytest.raises(Unavailable, match="busy"):
            client.status("m")
        assert script.errors == []
    script.errors = [busy, busy]
    async with AsyncClient(address_of(server, protocol), retries=NO_PAUSE) as awaited:
        assert await awaited.status("m") == ()


@BOTH
def test_other_errors_are_final(server: AnsweringServer, script: Script, protocol: str) -> None:
    for code, status in ((Code.NOT_FOUND, 404), (Code.RESOURCE_EXHAUSTED, 429)):
        script.errors = [(code, status, '{"error": "no"}')]
        with Client(address_of(server, protocol), retries=NO_PAUSE) as client:
            with pytest.raises(ServingError, match="no") as raised:
                client.status("m")
            assert raised.value.code is code
    assert len(server.asked) == 2


def test_a_reload_is_never_made_again(server: AnsweringServer, script: Script) -> None:
    script.errors = [(Code.UNAVAILABLE, 503, "busy")]
    with Client(server.grpc_address, retries=NO_PAUSE) as client, pytest.raises(Unavailable):
        client.reload_config("model_config_list {}")
    assert len(server.asked) == 1


@BOTH
async def test_a_deadline_covers_everything(
    server: AnsweringServer, script: Script, protocol: str
) -> None:
    script.hangs = threading.Event()
    try:
        client = Client(address_of(server, protocol), timeout=0.2)
        with client, pytest.raises(DeadlineExceeded):
            client.status("m")
        async with AsyncClient(address_of(server, protocol)) as awaited:
            with pytest.raises(DeadlineExceeded):
                await awaited.status("m", timeout=0.2)
    finally:
        script.hangs.set()
    with Client(address_of(server, protocol), timeout=math.inf) as client:
        assert client.status("m") == ()


def test_a_page_that_is_no_json_is_quoted(server: AnsweringServer, script: Script) -> None:
    script.errors = [(Code.UNKNOWN, 418, "<h1>A  proxy's\npage</h1>")]
    with Client(server.url) as client, pytest.raises(ServingError, match="HTTP 418") as raised:
        client.status("m")
    assert "<h1>A proxy's page</h1>" in str(raised.value)


def test_a_page_that_is_missing_is_no_model_that_is_missing(
    server: AnsweringServer, script: Script
) -> None:
    """Whoever waits for a model waits in vain for one at another server than a model server."""
    script.errors = [
        (Code.UNKNOWN, 404, "<h1>Not Found</h1>"),
        (Code.UNKNOWN, 404, '{"error": "no such model"}'),
    ]
    for expected in (Code.UNIMPLEMENTED, Code.NOT_FOUND):
        with Client(server.url) as client, pytest.raises(ServingError) as raised:
            client.status("m")
        assert raised.value.code is expected


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@BOTH
async def test_a_key_goes_with_every_call_and_nowhere_else(
    server: AnsweringServer,
    script: Script,
    protocol: str,
    header: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    address = address_of(server, protocol)
    script.errors = [(Code.NOT_FOUND, 404, "no")]
    with Client(address, api_key=KEY, api_key_header=header) as client:
        with pytest.raises(ServingError) as raised:
            client.status("m")
        client.status("m")
        told = f"{client!r} {vars(client)} {raised.value!r}"
    async with AsyncClient(address, api_key=KEY, api_key_header=header) as awaited:
        await awaited.status("m")
    expected = f"Bearer {KEY}" if header == "authorization" else KEY
    assert [asked.headers[header] for asked in server.asked] == [expected] * 3
    assert KEY not in told
    assert KEY not in caplog.text


@BOTH
def test_a_key_that_no_header_can_carry_is_refused_unseen(protocol: str) -> None:
    address = "localhost:1" if protocol == "grpc" else "http://localhost:1"
    for key in ("", " padded", "line\nbreak", "ümlaut"):
        with pytest.raises(InvalidArgument, match="API key") as raised:
            Client(address, api_key=key)
        assert not key or key not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "http://a:b:c"),
        ("ALL_PROXY", "foo://proxy"),
        ("HTTP_PROXY", "socks5://127.0.0.1:1"),
        ("NO_PROXY", "fe80::/10"),
    ],
)
def test_proxies_of_the_environment_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    for kind in (Client, AsyncClient):
        with pytest.raises(FailedPrecondition, match="HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO"):
            kind("http://localhost:1")


def test_a_server_of_tensorflow_serving_does_not_tell_names(
    server: AnsweringServer, script: Script
) -> None:
    for address in (server.grpc_address, server.url):
        script.errors = [(Code.UNIMPLEMENTED, 404, "<html>")]
        with Client(address) as client, pytest.raises(ServingError) as raised:
            client.models()
        assert raised.value.code is Code.UNIMPLEMENTED
        assert "TensorFlow Serving does not" in str(raised.value)


def test_over_rest_the_types_follow_the_version_that_answered() -> None:
    """A swap between the question for the signature and the answer."""
    served = 1

    def metadata(version: int) -> bytes:
        kind = "DT_FLOAT" if version == 1 else "DT_INT64"
        tensor = f'{{"name": "t:0", "dtype": "{kind}", "tensor_shape": {{}}}}'
        signature = f'{{"inputs": {{"x": {tensor}}}, "outputs": {{"y": {tensor}}}}}'
        return (
            f'{{"model_spec": {{"name": "m", "version": "{version}"}}, "metadata": '
            f'{{"signature_def": {{"signature_def": {{"serving_default": {signature}}}}}}}}}'
        ).encode()

    def over_rest(asked: Asked) -> Told:
        if asked.path.endswith("/metadata"):
            return Told(200, metadata(2 if "/versions/2" in asked.path else served))
        headers = (("salver-model-version", str(served)),)
        return Told(200, b'{"outputs": 9007199254740993}', headers)

    server = AnsweringServer(lambda asked: Told(Code.OK), over_rest)
    with server, Client(server.url) as client:
        first = client.predict("m", {"x": np.array(1.0)})
        served = 2
        second = client.predict("m", {"x": np.array(1.0)})
        third = client.predict("m", {"x": np.array(1)})
    assert first.version == 1
    assert first["y"].dtype == np.float32
    assert (second.version, second["y"].tolist()) == (2, 9007199254740993)
    assert third["y"].dtype == np.int64
    paths = [asked.path for asked in server.asked]
    assert paths.count("/v1/models/m/metadata") == 1
    assert paths.count("/v1/models/m/versions/2/metadata") == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.pem").write_text(AUTHORITY.pem)
    certificate, key = AUTHORITY.issue("somebody").write(folder, "client")
    return {"ca": str(folder / "ca.pem"), "certificate": certificate, "key": key}


@pytest.fixture(scope="module")
def tls_server(
    constant_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("tls")
    config = folder / "ssl.txt"
    config.write_text(ssl_config(AUTHORITY.issue(), AUTHORITY.pem, verifies_clients=True))
    flags = ("--model_name=constant", f"--model_base_path={constant_template.parent}")
    tls = (f"--ssl_config_file={config}", f"--rest_api_ssl_config_file={config}")
    with RunningServer(*flags, *tls) as running:
        yield running


@BOTH
async def test_tls_with_an_authority_and_a_certificate_of_ones_own(
    tls_server: RunningServer, files: dict[str, str], protocol: str
) -> None:
    port = tls_server.grpc_port if protocol == "grpc" else tls_server.rest_port
    address = f"{'grpcs' if protocol == 'grpc' else 'https'}://localhost:{port}"
    tls = Tls(**files)
    with Client(address, tls=tls) as client:
        assert client.predict("constant", {"x": [1.0, 2.0]})["y"].tolist() == [1, 1]
    async with AsyncClient(address, tls=tls) as awaited:
        assert (await awaited.status("constant"))[0].state == "AVAILABLE"
    once = Retries(attempts=1)
    strangers: list[Any] = [None, Tls(ca=files["ca"])]
    for stranger in strangers:
        client = Client(address, tls=stranger, retries=once, timeout=10)
        with client, pytest.raises(Unavailable):
            client.status("constant")


@BOTH
def test_files_that_are_no_certificates_are_named(
    files: dict[str, str], tmp_path: Path, protocol: str
) -> None:
    scheme = "grpcs" if protocol == "grpc" else "https"
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for tls in (
        Tls(ca=str(wrong)),
        Tls(ca=str(tmp_path / "missing.pem")),
        Tls(certificate=files["certificate"], key=str(wrong)),
    ):
        with pytest.raises(InvalidArgument, match=r"(wrong|missing|client).*cannot be used"):
            Client(f"{scheme}://localhost:1", tls=tls)
    with pytest.raises(InvalidArgument, match="go together"):
        Tls(certificate=files["certificate"])
    with pytest.raises(InvalidArgument, match=f"use {scheme}://"):
        Client("localhost:1" if protocol == "grpc" else "http://localhost:1", tls=Tls())


def test_the_message_of_tensorflows_own_classes_is_a_config(
    server: AnsweringServer, script: Script
) -> None:
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name="m", base_path="/models/m")
    with Client(server.grpc_address) as client:
        client.reload_config(config)
        with pytest.raises(InvalidArgument, match=r"is no tensorflow\.serving\.ModelServerConfig"):
            client.reload_config(config.model_config_list)
    request = message_class("tensorflow.serving.ReloadConfigRequest")()
    request.ParseFromString(server.asked[0].body)
    assert request.config.model_config_list.config[0].base_path == "/models/m"
