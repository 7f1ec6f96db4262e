"""Versions that cannot be loaded: retries, repairs, and what goes on meanwhile."""

from collections.abc import Callable
from pathlib import Path

from tests.process.asking import (
    LOADED,
    NO_RETRIES,
    UNLOADED,
    available,
    config_of,
    predict,
    states,
    status_of,
)
from tests.process.load import Load
from tests.running import RunningServer, wait_until, write_config
from tests.served_models import VersionedModel

SECOND = "{name: default version: 2}"


def test_a_load_in_retry_is_loading_all_the_time_and_disturbs_nobody(
    model: VersionedModel,
) -> None:
    flags = ["--max_num_load_retries=2", "--load_retry_interval_micros=300000"]
    with (
        RunningServer(f"--model_base_path={model.base_path}", *flags) as server,
        Load(server) as load,
    ):
        load.wait_for(1.0)
        model.break_(2)
        server.wait_for_line(f"Loading servable: {SECOND} failed: DATA_LOSS")
        for retry in (1, 2):
            assert states(server) == {2: "LOADING", 1: "AVAILABLE"}
            server.wait_for_line(f"Retrying of Loading servable: {SECOND} retry: {retry}")
        server.wait_for_line(f"Retrying of Loading servable: {SECOND} exhausted max_num_retries: 2")
        server.wait_for_line(f"Encountered an error for servable version {SECOND}: DATA_LOSS")
        server.wait_for_line(f"Servable {SECOND} cannot be loaded: DATA_LOSS")
        assert states(server) == {2: "END", 1: "AVAILABLE"}
        assert status_of(server, 2) == (
            "DATA_LOSS",
            f"Can't parse {model.base_path}/2/saved_model.pb as binary proto",
        )
        load.stop()
        assert load.failures == []
        assert set(load.answers) == {1.0}


def test_a_repair_in_place_is_not_noticed_but_one_that_was_away_is_tried_again(
    model: VersionedModel,
) -> None:
    with RunningServer(f"--model_base_path={model.base_path}", NO_RETRIES) as server:
        broken = model.break_(2)
        server.wait_for_line(f"Servable {SECOND} cannot be loaded")
        good = model.prepare(2)
        (good / "saved_model.pb").rename(broken / "saved_model.pb")
        # A higher one shows that the disk was looked at since.
        model.add(5)
        server.wait_for_line(f"{LOADED} {{name: default version: 5}}")
        assert status_of(server, 2)[0] == "DATA_LOSS"
        model.remove(5)
        server.wait_for_line(f"{LOADED} {SECOND}")
        wait_until(lambda: predict(server) == {"predictions": [2.0]}, "version 2 answers")
        wait_until(lambda: states(server) == {5: "END", 2: "AVAILABLE", 1: "END"}, "5 is gone")


def test_a_broken_version_that_goes_away_ends_its_retries_with_the_error_of_the_load(
    model: VersionedModel,
) -> None:
    # With the pauses of an hour nothing goes on by itself.
    flags = ["--max_num_load_retries=5", "--load_retry_interval_micros=3600000000"]
    with RunningServer(f"--model_base_path={model.base_path}", *flags) as server:
        model.break_(2)
        server.wait_for_line(f"Loading servable: {SECOND} failed: DATA_LOSS")
        assert states(server) == {2: "LOADING", 1: "AVAILABLE"}
        model.remove(2)
        server.wait_for_line(f"Retrying of Loading servable: {SECOND} was cancelled.")
        wait_until(lambda: states(server) == {2: "END", 1: "AVAILABLE"}, "version 2 has ended")
        assert status_of(server, 2)[0] == "DATA_LOSS"


def test_a_load_in_retry_holds_up_neither_its_model_nor_another(
    versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> None:
    first, second = versioned("first"), versioned("second")
    first.add(1)
    second.add(1)
    flags = [
        write_config(
            tmp_path / "models.txt", [config_of(first, "first"), config_of(second, "second")]
        ),
        "--load_retry_interval_micros=3600000000",
        "--num_load_threads=1",
    ]
    with RunningServer(*flags) as server:
        first.break_(2)
        server.wait_for_line("Loading servable: {name: first version: 2} failed")
        second.add(2)
        server.wait_for_line(f"{UNLOADED} {{name: second version: 1}}")
        first.add(5)
        server.wait_for_line(f"{UNLOADED} {{name: first version: 1}}")
        assert states(server, "first") == {5: "AVAILABLE", 2: "END", 1: "END"}
        assert states(server, "second") == {2: "AVAILABLE", 1: "END"}


def test_files_that_come_after_their_folder_are_loaded_without_waiting_for_a_retry(
    versioned: Callable[[str], VersionedModel],
) -> None:
    model = versioned("model")
    folder = model.base_path / "1"
    folder.mkdir(parents=True)
    flags = [f"--model_base_path={model.base_path}", "--load_retry_interval_micros=3600000000"]
    server = RunningServer(*flags)
    server.launch()
    try:
        server.wait_for_line(
            "Loading servable: {name: default version: 1} failed: NOT_FOUND: Specified file path "
            "does not appear to contain a SavedModel bundle (should have a file called "
            "`saved_model.pb`)"
        )
        incoming = model.prepare(1)
        (incoming / "saved_model.pb").rename(folder / "saved_model.pb")
        server.wait_for_line("Exporting HTTP/REST API")
        assert available(server) == [1]
    finally:
        server.kill()
