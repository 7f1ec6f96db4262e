import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.config.flags import Flags
from salver.config.settings import check_options
from salver.config.text_file import NoSuchMessage
from salver.config.tls import read_tls_file, tls_settings
from salver.errors import InvalidArgument, ServingError
from tests.certificates import Authority, ssl_config, text_of

AUTHORITY = Authority()
PAIR = AUTHORITY.issue()
SECRETS = PAIR.key.splitlines()[1:-1]
GOOD = Flags(model_base_path="/models/m", rest_api_port=8501)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "tls.config"
        path.write_text(text)
        return str(path)

    return write


def test_the_fields_hold_pem_text(write: Callable[[str], str]) -> None:
    path = write(ssl_config(PAIR, AUTHORITY.pem, verifies_clients=True))
    found = read_tls_file(path)
    assert found.paths == (path,)
    material = found.material
    assert (material.key, material.certificates) == (PAIR.key, PAIR.certificates)
    assert (material.client_ca, material.verifies_clients) == (AUTHORITY.pem, True)


def test_the_text_may_be_written_line_by_line(write: Callable[[str], str]) -> None:
    def quoted(text: str) -> str:
        return "\n".join(f'  "{line}\\n"' for line in text.splitlines())

    path = write(f"server_key:\n{quoted(PAIR.key)}\nserver_cert:\n{quoted(PAIR.certificates)}\n")
    assert read_tls_file(path).material.key == PAIR.key


def test_the_fields_may_name_files_instead(write: Callable[[str], str], tmp_path: Path) -> None:
    cert, key = PAIR.write(tmp_path, "tls")
    (tmp_path / "ca.crt").write_text(AUTHORITY.pem)
    path = write(text_of(key, cert, f"{tmp_path}/ca.crt", verifies_clients=True))
    found = read_tls_file(path)
    assert found.paths == (path, key, cert, f"{tmp_path}/ca.crt")
    inline = write(ssl_config(PAIR, AUTHORITY.pem, verifies_clients=True))
    assert found.material == read_tls_file(inline).material


def test_pem_text_behind_a_remark_is_no_path(write: Callable[[str], str]) -> None:
    path = write(text_of(PAIR.key, f"/CN=localhost\n{PAIR.certificates}"))
    assert read_tls_file(path).paths == (path,)


NO_PATH = " is neither PEM text, which has -----BEGIN in it, nor the absolute path of a file"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param("# nothing\n", "INVALID_ARGUMENT: {path}: server_key is missing", id="empty"),
        pytest.param(
            text_of("tls.key", PAIR.certificates),
            f"INVALID_ARGUMENT: {{path}}: server_key{NO_PATH}",
            id="a relative path",
        ),
        pytest.param(
            text_of("\n".join(SECRETS), PAIR.certificates),
            f"INVALID_ARGUMENT: {{path}}: server_key{NO_PATH}",
            id="a key without its first line",
        ),
        pytest.param(
            text_of("/" + "\n".join(SECRETS), PAIR.certificates),
            f"INVALID_ARGUMENT: {{path}}: server_key{NO_PATH}",
            id="text of several lines that begins as a path does",
        ),
        pytest.param(
            text_of(PAIR.key, "/nowhere/tls.crt"),
            "NOT_FOUND: {path}: server_cert: /nowhere/tls.crt; No such file or directory",
            id="a path that leads nowhere",
        ),
        pytest.param(
            text_of("/tmp", PAIR.certificates),
            "FAILED_PRECONDITION: {path}: server_key: /tmp; Is a directory",
            id="a folder",
        ),
        pytest.param(
            text_of(Authority().issue().key, PAIR.certificates),
            "INVALID_ARGUMENT: {path}: server_key does not belong to server_cert",
            id="a key of something else",
        ),
        pytest.param(
            f"server_key: {PAIR.key}",
            "INVALID_ARGUMENT: Invalid protobuf file: '{path}'",
            id="a key without quotes",
        ),
        pytest.param(
            f'server_key: "{PAIR.key}"',
            "INVALID_ARGUMENT: Invalid protobuf file: '{path}'",
            id="a key with line ends in it",
        ),
        pytest.param(
            PAIR.key, "INVALID_ARGUMENT: Invalid protobuf file: '{path}'", id="a PEM file"
        ),
        pytest.param(
            f"client_verify: {SECRETS[0]}",
            "INVALID_ARGUMENT: Invalid protobuf file: '{path}'",
            id="a key in the wrong place",
        ),
        pytest.param(
            f"{SECRETS[0].translate({43: 'x', 47: 'x'})}: 1",
            "INVALID_ARGUMENT: Invalid protobuf file: '{path}'",
            id="a key for a name",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_without_its_secrets(
    write: Callable[[str], str], caplog: pytest.LogCaptureFixture, text: str, status: str
) -> None:
    path = write(text)
    with caplog.at_level(logging.DEBUG), pytest.raises(ServingError) as raised:
        tls_settings(replace(GOOD, ssl_config_file=path))
    assert raised.value.status == status.format(path=path)
    for line in SECRETS:
        assert line[:20] not in caplog.text
    if "Invalid protobuf" in status:
        (message,) = caplog.messages
        assert re.fullmatch(
            r"Error parsing text-format tensorflow\.serving\.SSLConfig: \d+:\d+", message
        )
    else:
        assert caplog.messages == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_an_error(
    write: Callable[[str], str], tmp_path: Path
) -> None:
    cert, key = PAIR.write(tmp_path, "tls")
    os.chmod(key, 0)
    path = write(text_of(key, cert))
    with pytest.raises(ServingError) as raised:
        read_tls_file(path)
    assert raised.value.status == (
        f"PERMISSION_DENIED: {path}: server_key: {key}; Permission denied"
    )


def test_each_port_has_its_own_file(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("grpc", "rest")]
    for path in paths:
        Path(path).write_text(ssl_config(AUTHORITY.issue()))
    settings = tls_settings(
        replace(GOOD, ssl_config_file=paths[0], rest_api_ssl_config_file=paths[1])
    )
    assert [identity.path for identity in settings.identities] == paths
    assert settings.grpc_door.identity is settings.grpc
    assert settings.rest_door.identity is settings.rest
    # Nobody gets around the protection of an API by the other port.
    assert (settings.grpc_door.answers_http, settings.grpc_door.answers_grpc) == (False, True)
    assert (settings.rest_door.answers_http, settings.rest_door.answers_grpc) == (True, False)


def test_two_ports_of_one_file_have_one_identity(write: Callable[[str], str]) -> None:
    path = write(ssl_config(PAIR))
    settings = tls_settings(replace(GOOD, ssl_config_file=path, rest_api_ssl_config_file=path))
    assert settings.grpc is settings.rest
    assert len(settings.identities) == 1
    for door in (settings.grpc_door, settings.rest_door):
        assert door.identity is settings.grpc
        assert (door.answers_http, door.answers_grpc) == (True, True)


@pytest.mark.parametrize(
    ("flag", "grpc", "rest"),
    [
        ("ssl_config_file", (True, True, True), (False, True, False)),
        ("rest_api_ssl_config_file", (False, False, True), (True, True, True)),
        (None, (False, True, True), (False, True, True)),
    ],
)
def test_a_port_in_the_clear_does_not_answer_what_was_protected(
    write: Callable[[str], str],
    flag: str | None,
    grpc: tuple[bool, bool, bool],
    rest: tuple[bool, bool, bool],
) -> None:
    path = write(ssl_config(PAIR))
    named: dict[str, Any] = {flag: path} if flag else {}
    settings = tls_settings(replace(GOOD, **named))
    for door, expected in ((settings.grpc_door, grpc), (settings.rest_door, rest)):
        has_tls = door.identity is not None
        assert (has_tls, door.answers_http, door.answers_grpc) == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(
            replace(GOOD, rest_api_port=0, rest_api_ssl_config_file="f"),
            "--rest_api_ssl_config_file needs --rest_api_port",
            id="no REST port",
        ),
        pytest.param(
            replace(GOOD, port=8501, rest_api_ssl_config_file="f"),
            "HTTP and gRPC share port 8501: "
            "--rest_api_ssl_config_file and --ssl_config_file must name the same file",
            id="one port, protected by half",
        ),
        pytest.param(
            replace(GOOD, port=8501, ssl_config_file="e", rest_api_ssl_config_file="f"),
            "HTTP and gRPC share port 8501: "
            "--rest_api_ssl_config_file and --ssl_config_file must name the same file",
            id="one port, two files",
        ),
    ],
)
def test_files_that_do_not_fit_the_ports_are_refused(flags: Flags, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_options(flags)
    assert raised.value.message == message


@pytest.mark.parametrize(
    "flags",
    [
        replace(GOOD, rest_api_ssl_config_file="f"),
        replace(GOOD, ssl_config_file="e", rest_api_ssl_config_file="f"),
        replace(GOOD, port=8501, ssl_config_file="f", rest_api_ssl_config_file="f"),
        replace(GOOD, port=8501, ssl_config_file="f"),
        replace(GOOD, rest_api_port=0, ssl_config_file="f"),
    ],
)
def test_files_that_fit_the_ports_are_accepted(flags: Flags) -> None:
    check_options(flags)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(st.data())
def test_no_damage_to_a_file_brings_its_key_to_light(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = ssl_config(PAIR)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(begin + 40, len(text))))
    put = data.draw(st.sampled_from(["", '"', "\n", "\\", "{", "}", ":", "'", "\0", "\\x", "#"]))
    path = tmp_path_factory.getbasetemp() / "damaged.config"
    path.write_text(text[:begin] + put + text[end:])
    said = ""
    try:
        read_tls_file(str(path))
    except NoSuchMessage as error:
        said = error.message + error.place
    except ServingError as error:
        said = error.message
    for line in SECRETS:
        assert line[:20] not in said
        assert line[-20:] not in said
