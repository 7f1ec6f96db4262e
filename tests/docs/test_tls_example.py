"""The example of TLS in docs/operations.md, as its readers type it."""

import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest
import requests

from salver.config.tls import read_tls_file
from tests.grpc_client import GrpcClient
from tests.running import RunningServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
LIMIT_S = 60


def scripts() -> list[str]:
    (section,) = re.findall(r"^## TLS\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all the scripts have been run, one after the other."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("example")
    for script in scripts():
        subprocess.run(["sh", "-e", "-c", script], cwd=folder, check=True, capture_output=True)
    return folder


def test_the_server_and_its_clients_take_what_the_example_makes(folder: Path) -> None:
    models = folder / "models.txt"
    models.write_text("# none\n")
    path = folder / "tls.txt"
    flags = [f"--ssl_config_file={path}", f"--rest_api_ssl_config_file={path}"]
    with RunningServer(f"--model_config_file={models}", *flags) as server:
        ca = folder / "ca.crt"
        url = f"https://localhost:{server.rest_port}/v1/models/m"
        assert requests.get(url, timeout=LIMIT_S, verify=str(ca)).status_code == 404
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        with (
            GrpcClient(server.grpc_address, credentials=credentials) as client,
            pytest.raises(grpc.RpcError) as raised,
        ):
            client.status("m")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        # As strict as the clients of later versions of Python are.
        context = ssl.create_default_context(cafile=str(ca))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with (
            socket.create_connection(("127.0.0.1", server.rest_port), LIMIT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
        assert shown == ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())


def test_the_text_in_the_file_is_that_of_the_files(folder: Path) -> None:
    inline = read_tls_file(str(folder / "inline.txt"))
    assert inline.material == read_tls_file(str(folder / "tls.txt")).material
    assert len(inline.paths) == 1


def test_the_fingerprint_in_the_log_is_the_one_that_openssl_prints(folder: Path) -> None:
    command = re.findall(r"`(openssl x509 -noout -fingerprint.*?)`", PAGE.read_text())
    done = subprocess.run(
        command[0].split(), cwd=folder, check=True, capture_output=True, text=True
    )
    expected = read_tls_file(str(folder / "tls.txt")).fingerprint
    assert done.stdout.strip().split("=")[1] == expected
