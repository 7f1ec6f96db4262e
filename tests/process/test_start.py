"""How a start fails, and what it does about ports and sockets that are taken."""

import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.grpc_client import GrpcClient
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

LIMIT_S = 60
START_FAILED = 255
MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"


def failed_start(*flags: str) -> str:
    """The text after `Failed to start server. Error: ` of a start that fails."""
    command = [sys.executable, "-m", "salver", "serve", "--host=127.0.0.1", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == START_FAILED, done.stderr
    assert "Traceback" not in done.stderr
    start = "Failed to start server. Error: "
    lines = done.stdout.splitlines()
    assert lines[0].startswith(start), done.stdout
    return done.stdout.removeprefix(start).rstrip("\n")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        pytest.param(
            [],
            "INVALID_ARGUMENT: Both server_options.model_base_path and "
            "server_options.model_config_file are empty!",
            id="nothing to serve",
        ),
        pytest.param(
            ["--port=0"],
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set.",
            id="no port",
        ),
        pytest.param(
            ["--model_base_path=models/relative"],
            "INVALID_ARGUMENT: Expected model default to have an absolute path or URI; "
            "got base_path()=models/relative",
            id="a relative path",
        ),
    ],
)
def test_flags_that_do_not_fit_end_the_start(flags: list[str], error: str) -> None:
    assert failed_start(*flags) == error


def test_a_config_that_is_no_text_proto_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text("improperly formatted file")
    assert failed_start(f"--model_config_file={path}") == (
        f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"
    )


def test_a_custom_model_config_ends_the_start_in_words(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text("custom_model_config {}")
    assert failed_start(f"--model_config_file={path}") == (
        "UNIMPLEMENTED: ModelServer does not yet support custom model config."
    )


def test_a_monitoring_file_that_cannot_be_read_ends_the_start(
    model: VersionedModel, tmp_path: Path
) -> None:
    flags = [f"--model_base_path={model.base_path}", "--rest_api_port=8501"]
    path = tmp_path / "monitoring.txt"
    assert failed_start(*flags, f"--monitoring_config_file={path}") == (
        f"NOT_FOUND: {path}; No such file or directory"
    )
    path.write_text("prometheus_config { path: 7 }")
    error = failed_start(*flags, f"--monitoring_config_file={path}")
    assert error == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"


def test_a_grpc_port_that_is_none_ends_the_start(model: VersionedModel) -> None:
    for port in ("70000", "-1"):
        assert failed_start(f"--model_base_path={model.base_path}", f"--port={port}") == (
            "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"
        )


def test_a_config_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    assert failed_start(f"--model_config_file={tmp_path}/none.txt").startswith("NOT_FOUND: ")


def test_a_model_that_is_listed_twice_ends_the_start(tmp_path: Path) -> None:
    body = 'name: "m" base_path: "/m" model_platform: "tensorflow"'
    assert failed_start(write_config(tmp_path / "models.txt", [body, body])) == (
        "INVALID_ARGUMENT: Illegal to list model m multiple times in config list"
    )


def test_a_label_of_what_is_not_available_ends_the_start(
    model: VersionedModel, tmp_path: Path
) -> None:
    body = (
        f'name: "m" base_path: "{model.base_path}" model_platform: "tensorflow" '
        'version_labels { key: "stable" value: 1 }'
    )
    assert failed_start(write_config(tmp_path / "models.txt", [body])) == (
        "FAILED_PRECONDITION: Request to assign label to version 1 of model m, "
        "which is not currently available for inference"
    )


def test_a_model_that_cannot_be_loaded_ends_the_start(model: VersionedModel) -> None:
    model.break_(2)
    error = failed_start(f"--model_base_path={model.base_path}", "--max_num_load_retries=0")
    assert error.startswith(
        "UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: default version: 2} due to error: "
    )
    assert error.endswith("}, }")


@pytest.mark.skipif(not MODELS.exists(), reason="the models of others are not here")
def test_a_session_bundle_is_refused() -> None:
    assert failed_start(
        f"--model_base_path={MODELS}/bad_half_plus_two", "--max_num_load_retries=0"
    ) == (
        "UNKNOWN: 1 servable(s) did not become available: {{{name: default version: 123} "
        "due to error: UNIMPLEMENTED: Session Bundle is deprecated and removed.}, }"
    )


def test_a_grpc_port_that_is_taken_ends_the_start(model: VersionedModel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = failed_start(f"--port={port}", f"--model_base_path={model.base_path}")
    assert error == "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"


def test_without_its_rest_port_the_server_serves_grpc(model: VersionedModel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flags = [f"--rest_api_port={port}", f"--model_base_path={model.base_path}"]
        with RunningServer(*flags, ready_line="Failed to start HTTP Server") as server:
            assert str(port) in server.wait_for_line("Failed to start HTTP Server")
            with GrpcClient(server.grpc_address) as client:
                assert client.answer("default") == 1.0


def test_one_port_for_both_is_enough(model: VersionedModel) -> None:
    flags = ["--rest_api_port=0", f"--model_base_path={model.base_path}"]
    with RunningServer(*flags, ready_line="Running gRPC ModelServer") as server:
        response = requests.get(f"http://{server.grpc_address}/v1/models/default", timeout=LIMIT_S)
        assert response.json()["model_version_status"][0]["state"] == "AVAILABLE"
        with GrpcClient(server.grpc_address) as client:
            assert client.answer("default") == 1.0


def test_a_stale_socket_file_is_replaced_and_removed_at_the_end(
    model: VersionedModel, tmp_path: Path
) -> None:
    path = tmp_path / "server.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    flags = ["--port=0", f"--grpc_socket_path={path}", f"--model_base_path={model.base_path}"]
    with RunningServer(*flags), GrpcClient(f"unix:{path}") as client:
        assert client.answer("default") == 1.0
    assert not path.exists()


def test_a_socket_that_another_server_listens_on_is_left_to_it(
    model: VersionedModel, tmp_path: Path
) -> None:
    path = tmp_path / "server.sock"
    flags = [f"--grpc_socket_path={path}", f"--model_base_path={model.base_path}"]
    with RunningServer(*flags), GrpcClient(f"unix:{path}") as client:
        assert failed_start("--port=0", *flags) == (
            "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"
        )
        assert client.answer("default") == 1.0


def test_a_file_in_the_place_of_the_socket_is_left_alone(
    model: VersionedModel, tmp_path: Path
) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    flags = [f"--grpc_socket_path={path}", f"--model_base_path={model.base_path}"]
    assert failed_start("--port=0", *flags) == (
        "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"
    )
    assert path.read_text() == "precious"


def test_channel_arguments_of_grpc_are_accepted(model: VersionedModel) -> None:
    arguments = "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb,grpc.so_reuseaddr=1"
    flags = [f"--grpc_channel_arguments={arguments}", f"--model_base_path={model.base_path}"]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        assert client.answer("default") == 1.0


def test_an_empty_config_starts_without_models(
    tmp_path: Path, versioned: Callable[[str], VersionedModel]
) -> None:
    path = tmp_path / "models.txt"
    path.write_text("# none yet\n")
    with RunningServer(f"--model_config_file={path}") as server:
        response = requests.get(f"{server.url}/v1/models/default", timeout=LIMIT_S)
        assert response.status_code == 404
