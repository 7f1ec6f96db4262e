"""What a TLS file that cannot be used does to the start: one line that says why, and an end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.certificates import Authority, ssl_config, text_of
from tests.running import RunningServer
from tests.served_models import VersionedModel

LIMIT_S = 60
START_FAILED = 255
PAIR = Authority().issue()
FLAGS = ["ssl_config_file", "rest_api_ssl_config_file"]


def failed_start(*flags: str) -> tuple[str, list[str]]:
    """What stdout says of a start that fails, and the errors on stderr."""
    command = [sys.executable, "-m", "salver", "serve", "--host=127.0.0.1", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == START_FAILED, done.stderr
    for line in PAIR.key.splitlines()[1:-1]:
        assert line[:20] not in done.stdout + done.stderr
    # Before the files are read, a line tells which model is asked for.
    told = [line for line in done.stderr.splitlines() if "Building single" not in line]
    return done.stdout, told


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(None, "NOT_FOUND: {path}; No such file or directory", id="no file"),
        pytest.param("", "INVALID_ARGUMENT: {path}; Invalid argument", id="an empty file"),
        pytest.param(
            text_of(PAIR.key[:100], PAIR.certificates),
            "INVALID_ARGUMENT: {path}: server_key is no private key in PEM format",
            id="half a key",
        ),
        pytest.param(
            text_of(PAIR.key, PAIR.certificates[:100]),
            "INVALID_ARGUMENT: {path}: server_cert holds no certificate in PEM format",
            id="half a certificate",
        ),
        pytest.param(
            text_of(PAIR.key, Authority().issue().certificates),
            "INVALID_ARGUMENT: {path}: server_key does not belong to server_cert",
            id="a certificate of another key",
        ),
        pytest.param(
            ssl_config(PAIR, verifies_clients=True),
            "INVALID_ARGUMENT: {path}: client_verify needs custom_ca: "
            "the certificates of those who issue the clients'",
            id="nobody to trust",
        ),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start_with_one_line(
    model: VersionedModel, tmp_path: Path, flag: str, text: str | None, status: str
) -> None:
    path = tmp_path / "tls.txt"
    if text is not None:
        path.write_text(text)
    base = ["--rest_api_port=1", f"--model_base_path={model.base_path}"]
    out, err = failed_start(*base, f"--{flag}={path}")
    expected = status.format(path=path)
    assert out == f"Failed to start server. Error: {expected}\n"
    (line,) = err
    assert line.endswith(expected)


def test_text_that_is_no_message_is_not_shown(model: VersionedModel, tmp_path: Path) -> None:
    path = tmp_path / "tls.txt"
    path.write_text(f"# not quoted\nserver_key: {PAIR.key}")
    out, err = failed_start(f"--model_base_path={model.base_path}", f"--ssl_config_file={path}")
    assert out == (
        f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{path}'\n"
    )
    assert len(err) == 2
    assert re.search(r"Error parsing text-format tensorflow\.serving\.SSLConfig: \d+:\d+$", err[0])


def test_two_kinds_of_credentials_are_refused_before_the_file_is_read(
    model: VersionedModel,
) -> None:
    flags = ["--use_alts_credentials", "--ssl_config_file=/nowhere"]
    out, _ = failed_start(f"--model_base_path={model.base_path}", *flags)
    assert out == (
        "Failed to start server. Error: INVALID_ARGUMENT: "
        "Either use_alts_credentials must be false or ssl_config_file must be empty.\n"
    )


def test_a_server_whose_certificate_files_vanish_serves_on_and_ends_well(
    model: VersionedModel, tmp_path: Path
) -> None:
    path = tmp_path / "tls.txt"
    path.write_text(ssl_config(PAIR))
    flags = [f"--ssl_config_file={path}", f"--model_base_path={model.base_path}"]
    with RunningServer(*flags) as server:
        server.wait_for_line(f"{path}: the certificate has SHA-256 ")
        path.unlink()
        server.wait_for_line(f"The old certificate is served on: {path}; No such file")
    assert sum("The old certificate" in line for line in server.lines) == 1
