"""Version policies while versions come and go."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.process.asking import LIMIT_S, LOADED, NO_RETRIES, UNLOADED, available, predict, states
from tests.process.load import Load
from tests.running import RunningServer, wait_until, write_config
from tests.served_models import VersionedModel

POLICIES = {
    "every": "all {}",
    "two": "latest { num_versions: 2 }",
    "chosen": "specific { versions: 2 versions: 5 }",
}


def test_each_policy_keeps_what_it_names(
    versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> None:
    model = versioned("model")
    for version in (1, 2):
        model.add(version)
    bodies = [
        f'name: "{name}" base_path: "{model.base_path}" model_platform: "tensorflow" '
        f"model_version_policy {{ {policy} }}"
        for name, policy in POLICIES.items()
    ]

    with RunningServer(write_config(tmp_path / "models.txt", bodies), NO_RETRIES) as server:

        def become(**versions: list[int]) -> None:
            wait_until(
                lambda: {name: available(server, name) for name in POLICIES} == versions,
                f"{versions}",
            )

        become(every=[2, 1], two=[2, 1], chosen=[2])
        model.add(5)
        become(every=[5, 2, 1], two=[5, 2], chosen=[5, 2])
        model.add(10)
        become(every=[10, 5, 2, 1], two=[10, 5], chosen=[5, 2])
        assert list(states(server, "chosen")) == [5, 2]
        assert predict(server, "chosen") == {"predictions": [5.0]}
        model.remove(5)
        become(every=[10, 2, 1], two=[10, 2], chosen=[2])
        assert predict(server, "chosen") == {"predictions": [2.0]}
        assert states(server, "every")[5] == "END"
        assert states(server, "two") == {10: "AVAILABLE", 5: "END", 2: "AVAILABLE", 1: "END"}
        # Where one of those that are wanted answers already, what is not wanted goes first.
        lines = [line for line in server.lines if "{name: two " in line]
        goes = next(i for i, x in enumerate(lines) if f"{UNLOADED} {{name: two version: 1}}" in x)
        comes = next(
            i for i, x in enumerate(lines) if "Loading servable version {name: two version: 5}" in x
        )
        assert goes < comes


def test_a_version_below_the_running_one_is_never_listed(model: VersionedModel) -> None:
    with RunningServer(f"--model_base_path={model.base_path}", NO_RETRIES) as server:
        model.add(10)
        server.wait_for_line(f"{LOADED} {{name: default version: 10}}")
        model.add(3)
        model.add(12)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 10}}")
        assert states(server) == {12: "AVAILABLE", 10: "END", 1: "END"}


def test_many_versions_one_after_the_other_fail_no_request(model: VersionedModel) -> None:
    with (
        RunningServer(f"--model_base_path={model.base_path}", NO_RETRIES) as server,
        Load(server) as load,
    ):
        load.wait_for(1.0)
        for version in range(2, 10):
            model.add(version)
            load.wait_for(float(version))
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {float(version) for version in range(1, 10)}


def test_odd_names_are_versions_and_contents_are_read_once(
    model: VersionedModel, tmp_path: Path
) -> None:
    for name, version in (("0", 0), ("-5", -5), ("08", 8), ("7 ", 7)):
        model.prepare(version).rename(model.base_path / name)
    (tmp_path / "elsewhere").mkdir()
    model.prepare(4).rename(tmp_path / "elsewhere" / "4")
    (model.base_path / "4").symlink_to(tmp_path / "elsewhere" / "4")
    for name in ("9x", "10.0", "99999999999999999999"):
        (model.base_path / name).mkdir()
    bodies = [
        f'name: "m" base_path: "{model.base_path}" model_platform: "tensorflow" '
        "model_version_policy { all {} }"
    ]
    with RunningServer(write_config(tmp_path / "models.txt", bodies), NO_RETRIES) as server:
        # The port opens when the model has a version, which need not be the highest.
        versions = [8, 7, 4, 1, 0, -5]
        wait_until(lambda: available(server, "m") == versions, "all versions are there")
        url = f"{server.url}/v1/models/m/versions/0:predict"
        answer = requests.post(url, data='{"instances": [0.0]}', timeout=LIMIT_S)
        assert answer.json() == {"predictions": [0.0]}
        url = f"{server.url}/v1/models/m/versions/-5:predict"
        answer = requests.post(url, data='{"instances": [0.0]}', timeout=LIMIT_S)
        assert answer.json()["error"].startswith("Malformed request")
        # Another content in the same place is not noticed.
        other = model.prepare(8, answer=88.0)
        (other / "saved_model.pb").rename(model.base_path / "08" / "saved_model.pb")
        model.add(9)
        server.wait_for_line(f"{LOADED} {{name: m version: 9}}")
        url = f"{server.url}/v1/models/m/versions/8:predict"
        answer = requests.post(url, data='{"instances": [0.0]}', timeout=LIMIT_S)
        assert answer.json() == {"predictions": [8.0]}


@pytest.mark.parametrize("period", [0, -1])
def test_without_polling_a_missing_version_is_never_seen(
    versioned: Callable[[str], VersionedModel], period: int
) -> None:
    model = versioned("model")
    server = RunningServer(
        f"--model_base_path={model.base_path}", f"--file_system_poll_wait_seconds={period}"
    )
    server.launch()
    try:
        other = RunningServer(f"--model_base_path={model.base_path}")
        other.launch()
        try:
            other.wait_for_line("Could not find base path")
            server.wait_for_line("Could not find base path" if period == 0 else "(Re-)adding")
            model.add(1)
            # The one that polls is up; the other has had as much time.
            other.wait_for_line("Exporting HTTP/REST API")
        finally:
            other.kill()
        assert not any("Exporting" in line for line in server.lines)
        errors = sum("Could not find base path" in line for line in server.lines)
        assert errors == (1 if period == 0 else 0)
    finally:
        server.kill()
