"""Versions that come, go and fail while the server runs, most of it under load."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.grpc_client import GrpcClient
from tests.process.load import Load
from tests.process.watching import LIMIT_S, states, wait_until
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

NO_RETRIES = "--max_num_load_retries=0"
MEGABYTE = 1 << 20
AVAILABLE = {"error_code": "OK", "error_message": ""}
LOADED = "Successfully loaded servable version"
UNLOADED = "Done unloading servable version"


def predict(server: RunningServer, name: str = "default") -> Any:
    url = f"{server.url}/v1/models/{name}:predict"
    return requests.post(url, data='{"instances": [0.0]}', timeout=LIMIT_S).json()


def config_of(model: VersionedModel, name: str) -> str:
    return f'name: "{name}" base_path: "{model.base_path}" model_platform: "tensorflow"'


def test_a_version_that_is_renamed_in_takes_over_without_a_failure(model: VersionedModel) -> None:
    flag = f"--model_base_path={model.base_path}"
    with RunningServer(flag, NO_RETRIES) as server, Load(server) as load:
        load.wait_for(1.0)
        model.add(2)
        load.wait_for(2.0)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")
        load.wait_for(2.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0, 2.0}
        assert states(server) == {2: "AVAILABLE", 1: "END"}


def test_a_deleted_version_gives_way_to_the_one_below_without_a_failure(
    model: VersionedModel,
) -> None:
    model.add(2)
    flag = f"--model_base_path={model.base_path}"
    with RunningServer(flag, NO_RETRIES) as server, Load(server) as load:
        load.wait_for(2.0)
        model.remove(2)
        load.wait_for(1.0)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 2}}")
        load.wait_for(1.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0, 2.0}
        assert states(server) == {2: "END", 1: "AVAILABLE"}


def test_a_version_that_was_deleted_can_come_back(model: VersionedModel) -> None:
    model.add(2)
    flag = f"--model_base_path={model.base_path}"
    with RunningServer(flag, NO_RETRIES) as server, Load(server) as load:
        load.wait_for(2.0)
        model.remove(2)
        load.wait_for(1.0)
        model.add(2, answer=22.0)
        load.wait_for(22.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0, 2.0, 22.0}


def test_a_broken_version_is_reported_and_the_good_one_serves(model: VersionedModel) -> None:
    flag = f"--model_base_path={model.base_path}"
    with RunningServer(flag, NO_RETRIES) as server, Load(server) as load:
        load.wait_for(1.0)
        model.break_(2)
        server.wait_for_line("Servable {name: default version: 2} cannot be loaded")
        load.wait_for(1.0)
        assert states(server) == {2: "END", 1: "AVAILABLE"}
        broken = requests.get(f"{server.url}/v1/models/default/versions/2", timeout=LIMIT_S)
        (status,) = broken.json()["model_version_status"]
        assert status["status"]["error_code"] != "OK"
        assert status["status"]["error_message"]
        # A better one above it is taken all the same.
        model.add(3)
        load.wait_for(3.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0, 3.0}


def test_a_version_is_loaded_when_its_model_file_arrives(model: VersionedModel) -> None:
    incoming = model.prepare(2)
    folder = model.base_path / "2"
    folder.mkdir()
    flag = f"--model_base_path={model.base_path}"
    with RunningServer(flag, NO_RETRIES) as server:
        assert predict(server) == {"predictions": [1.0]}
        assert states(server) == {1: "AVAILABLE"}
        (incoming / "saved_model.pb").rename(folder / "saved_model.pb")
        server.wait_for_line(f"{LOADED} {{name: default version: 2}}")
        wait_until(lambda: predict(server) == {"predictions": [2.0]}, "version 2 answers")
        assert not any("cannot be loaded" in line for line in server.lines)


def test_the_ports_stay_closed_until_every_base_path_is_there(
    versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> None:
    first, late = versioned("first"), versioned("late")
    first.add(1)
    flag = write_config(
        tmp_path / "models.txt", [config_of(first, "first"), config_of(late, "late")]
    )
    server = RunningServer(flag, NO_RETRIES)
    server.launch()
    try:
        server.wait_for_line("Could not find base path")
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url, timeout=LIMIT_S)
        late.add(5)
        server.wait_for_line("Exporting HTTP/REST API")
        assert predict(server, "first") == {"predictions": [1.0]}
        assert predict(server, "late") == {"predictions": [5.0]}
    finally:
        server.kill()


def test_a_base_path_that_vanishes_leaves_everything_serving(
    versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> None:
    first, second = versioned("first"), versioned("second")
    first.add(1)
    second.add(7)
    flag = write_config(
        tmp_path / "models.txt", [config_of(first, "first"), config_of(second, "second")]
    )
    with RunningServer(flag, NO_RETRIES) as server, Load(server, "second") as load:
        away = tmp_path / "away"
        first.base_path.rename(away)
        server.wait_for_line("Could not find base path")
        assert predict(server, "first") == {"predictions": [1.0]}
        second.add(8)
        load.wait_for(8.0)
        away.rename(first.base_path)
        first.add(2)
        server.wait_for_line(f"{LOADED} {{name: first version: 2}}")
        load.wait_for(8.0)
        load.stop()
        assert load.failures == []


def test_a_model_without_versions_left_is_not_found(model: VersionedModel) -> None:
    flag = f"--model_base_path={model.base_path}"
    with RunningServer(flag, NO_RETRIES) as server:
        model.remove(1)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")
        assert states(server) == {1: "END"}
        assert predict(server) == {"error": "Servable not found for request: Latest(default)"}
        model.add(1)
        wait_until(lambda: predict(server) == {"predictions": [1.0]}, "version 1 is back")


def test_without_polling_nothing_new_is_loaded(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}", "--file_system_poll_wait_seconds=0"]
    with RunningServer(*flags) as still, RunningServer(flags[0]) as polling:
        model.add(2)
        polling.wait_for_line(f"{LOADED} {{name: default version: 2}}")
        assert states(still) == {1: "AVAILABLE"}
        assert predict(still) == {"predictions": [1.0]}


def test_a_config_that_is_not_polled_stays_in_effect(
    versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> None:
    first, second = versioned("first"), versioned("second")
    first.add(1)
    second.add(2)
    path = tmp_path / "models.txt"
    flag = write_config(path, [config_of(first, "first")])
    with RunningServer(flag, "--model_config_file_poll_wait_seconds=0") as server:
        write_config(path, [config_of(second, "second")])
        first.add(3)
        # By then the server has looked at the disk again.
        server.wait_for_line(f"{LOADED} {{name: first version: 3}}")
        wait_until(lambda: predict(server, "first") == {"predictions": [3.0]}, "version 3 answers")
        assert predict(server, "second") == {
            "error": "Servable not found for request: Latest(second)"
        }


@pytest.mark.slow
def test_a_heavy_load_leaves_requests_alone_and_gives_its_memory_back(
    versioned: Callable[[str], VersionedModel], heavy_saved_model: str, tmp_path: Path
) -> None:
    light, heavy = versioned("light"), versioned("heavy")
    light.add(1)
    heavy.add(1)
    flag = write_config(
        tmp_path / "models.txt", [config_of(light, "light"), config_of(heavy, "heavy")]
    )
    with (
        RunningServer(flag, NO_RETRIES) as server,
        Load(server, "light") as load,
    ):
        load.wait_for(1.0, 500)
        memory = psutil.Process(server.pid).memory_info
        before = memory().rss
        incoming = heavy.base_path / "incoming"
        shutil.copytree(heavy_saved_model, incoming)
        incoming.rename(heavy.base_path / "2")
        server.wait_for_line("Loading servable version {name: heavy version: 2}")
        load.wait_for(1.0)
        server.wait_for_line(f"{LOADED} {{name: heavy version: 2}}")
        server.wait_for_line(f"{UNLOADED} {{name: heavy version: 1}}")
        assert memory().rss > before + 150 * MEGABYTE
        heavy.remove(2)
        server.wait_for_line(f"{UNLOADED} {{name: heavy version: 2}}")
        wait_until(lambda: memory().rss < before + 60 * MEGABYTE, "the memory comes back")
        load.wait_for(1.0)
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0}


@pytest.mark.slow
def test_heavy_versions_one_after_the_other_use_the_same_memory(
    heavy_saved_model: str, tmp_path: Path
) -> None:
    base_path, away = tmp_path / "heavy", tmp_path / "away"
    shutil.copytree(heavy_saved_model, base_path / "1")
    with RunningServer(f"--model_base_path={base_path}") as server:
        memory = psutil.Process(server.pid).memory_info
        before = memory().rss
        for version in range(1, 4):
            (base_path / str(version)).rename(away)
            server.wait_for_line(f"{UNLOADED} {{name: default version: {version}}}")
            away.rename(base_path / str(version + 1))
            server.wait_for_line(f"{LOADED} {{name: default version: {version + 1}}}")
        assert memory().rss < before + 60 * MEGABYTE


@pytest.mark.slow
def test_twenty_swaps_leave_no_growth(model: VersionedModel) -> None:
    flags = [f"--model_base_path={model.base_path}", "--file_system_poll_wait_seconds=1"]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        process = psutil.Process(server.pid)

        def swap(version: int) -> None:
            model.add(version)
            model.remove(version - 1)
            server.wait_for_line(f"{UNLOADED} {{name: default version: {version - 1}}}")
            for _ in range(50):
                assert client.answer("default") == version

        for version in range(2, 7):
            swap(version)
        memory, threads, files = process.memory_info().rss, process.num_threads(), process.num_fds()
        for version in range(7, 23):
            swap(version)
        assert process.memory_info().rss < memory + 20 * MEGABYTE
        assert process.num_threads() <= threads + 2
        assert process.num_fds() <= files + 2
