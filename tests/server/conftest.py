"""One server for all tests of this folder: models of every kind, both ports, a UNIX socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import served_models
from tests.grpc_client import GrpcClient
from tests.running import RunningServer, write_config

VERSIONS = (1, 2, 3)
SAVED_MODELS = (
    "counter", "echo", "half_plus_two_1", "half_plus_two_2", "keras", "lookup", "loops", "several",
)  # fmt: skip


@pytest.fixture(scope="session")
def constant_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("constant") / "1"
    served_models.export("constant", path)
    return path


@pytest.fixture(scope="session")
def slow_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slow")
    served_models.export("slow", folder / "1")
    return folder


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seen")
    served_models.export("seen", folder / "1")
    return folder


@pytest.fixture(scope="session")
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("socket") / "server.sock")


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    saved_model_folder: Path,
    constant_template: Path,
    slow_base_path: Path,
    socket_path: str,
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    versioned = served_models.VersionedModel(constant_template, folder / "versioned")
    for version in VERSIONS:
        versioned.add(version)
    models = {name: saved_model_folder / name for name in SAVED_MODELS}
    models["slow"] = slow_base_path
    bodies = [
        f'name: "{n}" base_path: "{p}" model_platform: "tensorflow"' for n, p in models.items()
    ]
    bodies.append(
        f'name: "versioned" base_path: "{versioned.base_path}" model_platform: "tensorflow" '
        "model_version_policy { all {} } "
        'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 3 } '
        'version_labels { key: "promised" value: 99 }'
    )
    monitoring = folder / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics" }')
    with RunningServer(
        write_config(folder / "models.txt", bodies),
        f"--monitoring_config_file={monitoring}",
        f"--grpc_socket_path={socket_path}",
        "--allow_version_labels_for_unavailable_models",
        "--rest_api_compression_min_bytes=1000",
    ) as running:
        # The port opens when every model has one version.
        for version in VERSIONS:
            running.wait_for_line(f"loaded servable version {{name: versioned version: {version}}}")
        yield running


@pytest.fixture(scope="session")
def grpc_client(server: RunningServer) -> Iterator[GrpcClient]:
    with GrpcClient(server.grpc_address) as client:
        yield client


@pytest.fixture(scope="session")
def seen_server(seen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own for those who reload its config, and put it back."""
    folder = tmp_path_factory.mktemp("config")
    body = f'name: "seen" base_path: "{seen}" model_platform: "tensorflow"'
    with RunningServer(write_config(folder / "models.txt", [body])) as running:
        yield running
