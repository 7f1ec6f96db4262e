"""Versions that are larger than the memory of the machine."""

from pathlib import Path

import pytest

from tests.process.asking import NO_RETRIES, available, predict, states, status_of
from tests.process.load import Load
from tests.running import RunningServer, wait_until
from tests.served_models import VersionedModel

HUGE = 1 << 42
"""Bytes of a file that takes none on the disk."""


def add_huge(model: VersionedModel, version: int) -> None:
    """A SavedModel that could well be loaded, beside a file that nothing reads."""
    folder = model.prepare(version)
    (folder / "assets.extra").mkdir(exist_ok=True)
    with (folder / "assets.extra" / "padding").open("wb") as file:
        file.truncate(HUGE)
    folder.rename(model.base_path / str(version))


def test_what_cannot_fit_fails_at_once_and_all_else_serves_on(model: VersionedModel) -> None:
    with (
        RunningServer(f"--model_base_path={model.base_path}", NO_RETRIES) as server,
        Load(server) as load,
    ):
        add_huge(model, 2)
        server.wait_for_line("Servable {name: default version: 2} cannot be loaded")
        code, message = status_of(server, 2)
        assert code == "RESOURCE_EXHAUSTED"
        assert "takes about 4 TiB of memory" in message
        assert "are left; --load_memory_check=false" in message
        assert states(server) == {2: "END", 1: "AVAILABLE"}
        load.stop()
        assert load.failures == []


def test_other_frameworks_are_looked_at_too(model: VersionedModel) -> None:
    pytest.importorskip("xgboost")
    folder = model.base_path / "2"
    with RunningServer(f"--model_base_path={model.base_path}", NO_RETRIES) as server:
        place = Path(model.base_path, "incoming")
        place.mkdir()
        with (place / "model.ubj").open("wb") as file:
            file.write(b"{L\0\0\0\0\0\0\0\x07learner")
            file.truncate(HUGE)
        place.rename(folder)
        server.wait_for_line("Servable {name: default version: 2} cannot be loaded")
        assert status_of(server, 2)[0] == "RESOURCE_EXHAUSTED"
        assert predict(server) == {"predictions": [1.0]}


def test_without_the_check_the_load_tells(model: VersionedModel) -> None:
    add_huge(model, 2)
    flags = [f"--model_base_path={model.base_path}", "--load_memory_check=false"]
    with RunningServer(*flags) as server:
        wait_until(lambda: available(server) == [2], "version 2 serves")
