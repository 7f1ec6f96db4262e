"""The installed commands as a user starts them; nothing here gets as far as a server."""

import subprocess
import sys
from pathlib import Path

import pytest

from salver import __version__

SALVER = [sys.executable, "-m", "salver"]
MODEL_SERVER = [
    sys.executable,
    "-c",
    "import sys; from salver.cli.main import tensorflow_model_server as main; sys.exit(main())",
]
BOTH = pytest.mark.parametrize(
    "command",
    [pytest.param([*SALVER, "serve"], id="serve"), pytest.param(MODEL_SERVER, id="model_server")],
)


def ended(*command: str | bytes) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="surrogateescape", timeout=60, check=False
    )


def test_salver_help_lists_the_commands() -> None:
    process = ended(*SALVER, "--help")
    assert process.returncode == 0
    assert process.stdout.startswith("usage: salver COMMAND")
    assert "  serve  " in process.stdout


def test_salver_alone_is_wrong_use() -> None:
    process = ended(*SALVER)
    assert process.returncode == 2
    assert process.stdout.startswith("usage: salver COMMAND")


def test_salver_version_is_the_package_s() -> None:
    process = ended(*SALVER, "--version")
    assert (process.returncode, process.stdout) == (0, f"salver {__version__}\n")


def test_an_unknown_command_is_wrong_use() -> None:
    process = ended(*SALVER, "--port=8500")
    assert process.returncode == 2
    assert process.stderr.startswith("salver: there is no command '--port=8500'; there are: ")
    assert "'serve'" in process.stderr


def test_serve_help_is_an_answer() -> None:
    process = ended(*SALVER, "serve", "--help")
    assert process.returncode == 0
    assert process.stdout.startswith("usage: salver serve\nFlags:\n")
    assert process.stderr == ""


def test_model_server_help_is_a_failed_start() -> None:
    process = ended(*MODEL_SERVER, "--help")
    assert process.returncode == 255
    assert process.stdout.startswith("usage: tensorflow_model_server\nFlags:\n")


@BOTH
def test_version_names_the_server_and_tensorflow(command: list[str]) -> None:
    process = ended(*command, "--version", "--no_such_flag")
    assert process.returncode == 0
    server, library = process.stdout.splitlines()
    assert server == f"TensorFlow ModelServer: {__version__}"
    assert library.startswith("TensorFlow Library: ")
    assert process.stderr == ""


@BOTH
@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--port=abc", "Couldn't interpret value abc for flag port."),
        ("--enable_batching=yes", "Couldn't interpret value yes for flag enable_batching."),
        ("--enable_batching=", "Couldn't interpret value  for flag enable_batching."),
    ],
)
def test_a_bad_value_ends_the_start(command: list[str], argument: str, complaint: str) -> None:
    process = ended(*command, argument, "--model_base_path=/m")
    assert process.returncode == 255
    assert process.stderr == f"{complaint}\n"
    assert process.stdout.startswith("usage: ")


@BOTH
def test_a_bad_value_beats_help_and_version(command: list[str]) -> None:
    process = ended(*command, "--help", "--version", "--port=x")
    assert process.returncode == 255
    assert process.stdout.startswith("usage: ")


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["--no_such_flag=1", "stray"], "--no_such_flag=1"),
        (["stray", "--help"], "stray"),
        (["--port", "1"], "--port"),
        (["--", "--model_base_path=/m"], "--"),
        ([b"\xff"], "\\udcff"),
    ],
)
def test_an_unknown_argument_is_named_and_the_start_goes_on(
    arguments: list[str | bytes], unknown: str
) -> None:
    process = ended(*MODEL_SERVER, *arguments)
    assert process.stdout.startswith(
        f"unknown argument: {unknown}\nusage: tensorflow_model_server\nFlags:\n"
    )
    assert process.stdout.endswith(
        "Failed to start server. Error: INVALID_ARGUMENT: Both server_options.model_base_path "
        "and server_options.model_config_file are empty!\n"
    )
    assert process.returncode == 255


@BOTH
def test_a_failed_start_is_told_on_both_streams_without_a_traceback(
    command: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "models.config"
    path.write_text("garbage")
    process = ended(*command, f"--model_config_file={path}")
    assert process.returncode == 255
    assert process.stdout == (
        f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{path}'\n"
    )
    where, status = process.stderr.splitlines()
    assert 'ModelServerConfig: 1:8: Message type "tensorflow.serving.ModelServerConfig"' in where
    assert status.endswith(f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'")


def test_flags_without_effect_are_named_in_one_warning() -> None:
    process = ended(*MODEL_SERVER, "--grpc_max_threads=4", "--xla_cpu_compilation_enabled")
    (warning,) = [line for line in process.stderr.splitlines() if "no effect" in line]
    assert warning.endswith("--grpc_max_threads, --xla_cpu_compilation_enabled")
