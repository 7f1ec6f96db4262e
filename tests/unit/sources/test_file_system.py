import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from salver.core.events import EventBus
from salver.core.manager import Manager, ManagerOptions
from salver.core.servable import ServableId
from salver.core.state import State
from salver.core.version_policy import All, Latest, Specific, VersionPolicy
from salver.errors import NotFound
from salver.sources.file_system import FileSystemSource, ModelSource
from salver.sources.storage import LocalFolder, LocalStorage
from tests.fakes import LIMIT_S, EventLog, FakeTarget, PathLoader, failure, turn_loop

MODEL_FILE = "saved_model.pb"


def is_complete(path: str) -> bool:
    return (Path(path) / MODEL_FILE).exists()


def put(base: Path, *names: str) -> None:
    """Whole versions, there at once."""
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / MODEL_FILE).touch()


def take_away(base: Path, name: str) -> None:
    (base / name / MODEL_FILE).unlink(missing_ok=True)
    (base / name).rmdir()


class Watch:
    """A source over a temporary folder that looks only when told to."""

    def __init__(self, root: Path) -> None:
        self.base = root / "m"
        self.target = FakeTarget()
        self.storage = LocalStorage(is_complete)
        self.source = FileSystemSource(
            poll_wait_s=-1,
            make_loader=lambda id_, path: PathLoader(path),
            target=self.target,
            storage=self.storage,
        )

    def model(self, policy: VersionPolicy | None = None, name: str = "m") -> ModelSource:
        return ModelSource(name, str(self.base.parent / name), policy or Latest())

    async def scan(self) -> list[tuple[str, list[int]]]:
        await self.source.scan_now()
        return self.target.take()


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(tmp_path)
    await watch.source.start()
    watch.source.set_models([watch.model()])
    yield watch
    await watch.source.stop()


NO_VERSIONS = (
    "No versions of servable m found under base path {}. "
    "Did you forget to name your leaf directory as a number (eg. '/1/')?"
)
ACCESS_ERROR = "FileSystemStoragePathSource encountered a filesystem access error: "


async def test_the_highest_version_is_aspired_with_its_path(watch: Watch) -> None:
    put(watch.base, "1", "00000010", "7", "note", "9x")
    assert await watch.scan() == [("m", [10])]
    assert watch.target.paths["m", 10] == str(watch.base / "00000010")


async def test_a_scan_that_finds_nothing_new_says_nothing(watch: Watch) -> None:
    put(watch.base, "5")
    assert await watch.scan() == [("m", [5])]
    assert await watch.scan() == []
    put(watch.base, "3")
    assert await watch.scan() == []
    put(watch.base, "10", "7")
    assert await watch.scan() == [("m", [10])]


@pytest.mark.parametrize(
    ("policy", "lists"),
    [
        pytest.param(All(), [[2, 1], [5, 2, 1], [10, 5, 2, 1], [10, 2, 1]], id="all"),
        pytest.param(Latest(2), [[2, 1], [5, 2], [10, 5], [10, 2]], id="latest 2"),
        pytest.param(Specific((2, 5)), [[2], [5, 2], [], [2]], id="specific 2, 5"),
    ],
)
async def test_policies_over_time(
    watch: Watch, policy: VersionPolicy, lists: list[list[int]]
) -> None:
    watch.source.set_models([watch.model(policy)])
    steps: list[Callable[[], None]] = [
        lambda: put(watch.base, "1", "2"),
        lambda: put(watch.base, "5"),
        lambda: put(watch.base, "10"),
        lambda: take_away(watch.base, "5"),
    ]
    for step, expected in zip(steps, lists, strict=True):
        step()
        assert await watch.scan() == ([("m", expected)] if expected else [])


async def test_a_missing_base_path_is_an_error_and_concerns_no_other_model(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base.parent / "n", "1")
    watch.source.set_models([watch.model(), watch.model(name="n")])
    assert await watch.scan() == [("n", [1])]
    base = watch.base
    assert caplog.messages == [
        f"{ACCESS_ERROR}Could not find base path {base} for servable m "
        f"with error NOT_FOUND: {base} not found"
    ]
    put(watch.base.parent / "n", "2")
    assert await watch.scan() == [("n", [2])]


async def test_a_base_path_that_vanishes_keeps_what_is_served(watch: Watch) -> None:
    put(watch.base, "1")
    assert await watch.scan() == [("m", [1])]
    hidden = watch.base.rename(watch.base.with_name("hidden"))
    assert await watch.scan() == []
    put(hidden, "2")
    hidden.rename(watch.base)
    assert await watch.scan() == [("m", [2])]


async def test_a_base_path_that_is_a_file_keeps_what_is_served(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.base.touch()
    assert await watch.scan() == []
    assert caplog.messages == [f"{ACCESS_ERROR}{watch.base}; Not a directory"]


async def test_an_empty_base_path_unloads_everything_with_a_warning_each_time(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base, "1")
    await watch.scan()
    take_away(watch.base, "1")
    assert await watch.scan() == [("m", [])]
    assert await watch.scan() == []
    assert caplog.messages == [NO_VERSIONS.format(watch.base)] * 2
    put(watch.base, "1")
    assert await watch.scan() == [("m", [1])]


async def test_a_listed_version_that_is_missing_is_named(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base, "1")
    watch.source.set_models([watch.model(Specific((9,)))])
    assert await watch.scan() == [("m", [])]
    assert caplog.messages == [
        "Version 9 of servable m, which was requested to be served as a 'specific' version in the "
        "servable's version policy, was not found in the file system",
        NO_VERSIONS.format(watch.base),
    ]
    put(watch.base, "9")
    assert await watch.scan() == [("m", [9])]


async def test_an_empty_list_of_versions_is_warned_of(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base, "1")
    watch.source.set_models([watch.model(Specific(()))])
    assert await watch.scan() == [("m", [])]
    assert caplog.messages[0] == "No specific versions requested for servable m."


async def test_listed_versions_are_found_without_a_listing_if_all_are_there(
    tmp_path: Path,
) -> None:
    class Blind(LocalFolder):
        def names(self) -> list[str]:
            raise PermissionError(13, "Permission denied", str(tmp_path))

    class BlindStorage(LocalStorage):
        def folder(self, base_path: str) -> LocalFolder:
            return Blind(base_path, is_complete)

    put(tmp_path, "2", "5")
    target = FakeTarget()
    source = FileSystemSource(
        poll_wait_s=-1,
        make_loader=lambda id_, path: PathLoader(path),
        target=target,
        storage=BlindStorage(is_complete),
    )
    await source.start()
    source.set_models([ModelSource("m", str(tmp_path), Specific((2, 5)))])
    await source.scan_now()
    assert target.take() == [("m", [5, 2])]
    take_away(tmp_path, "5")
    await source.scan_now()
    assert target.take() == []
    await source.stop()


async def test_padded_names_of_listed_versions_are_found(watch: Watch) -> None:
    put(watch.base, "002", "7 ")
    watch.source.set_models([watch.model(Specific((2, 7)))])
    assert await watch.scan() == [("m", [7, 2])]
    assert watch.target.paths["m", 2] == str(watch.base / "002")


@pytest.mark.parametrize("policy", [Latest(3), All()], ids=str)
async def test_of_two_folders_for_one_version_one_is_used_with_a_warning(
    watch: Watch, policy: VersionPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base, "001", "1")
    watch.source.set_models([watch.model(policy)])
    assert await watch.scan() == [("m", [1])]
    assert watch.target.paths["m", 1] == str(watch.base / "1")
    assert caplog.messages == [
        "Duplicate version directories detected. "
        "Version 1 will be loaded from 1, 001 will be ignored."
    ]


async def test_links_negative_numbers_and_zero_are_versions(watch: Watch) -> None:
    put(watch.base, "-5", "0")
    put(watch.base.parent / "elsewhere", "3")
    (watch.base / "3").symlink_to(watch.base.parent / "elsewhere" / "3")
    watch.source.set_models([watch.model(All())])
    assert await watch.scan() == [("m", [3, 0, -5])]


async def test_file_uris_are_taken_and_other_schemes_are_told(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base, "1")
    watch.source.set_models(
        [ModelSource("m", f"file://{watch.base}"), ModelSource("n", "s3://bucket/n")]
    )
    assert await watch.scan() == [("m", [1])]
    assert watch.target.paths["m", 1] == str(watch.base / "1")
    assert caplog.messages == [
        f"{ACCESS_ERROR}File system scheme 's3' not implemented (file: 's3://bucket/n')"
    ]


async def test_a_version_that_is_being_copied_is_held_back(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    put(watch.base, "1")
    assert await watch.scan() == [("m", [1])]
    (watch.base / "2").mkdir()
    assert await watch.scan() == []
    assert await watch.scan() == []
    held = watch.base / "2"
    assert caplog.messages == [f"Servable m: {held} is not complete yet and held back"]
    (watch.base / "2" / MODEL_FILE).touch()
    assert await watch.scan() == [("m", [2])]


async def test_the_latest_two_are_the_latest_two_complete_ones(watch: Watch) -> None:
    put(watch.base, "1", "2")
    (watch.base / "3").mkdir()
    watch.source.set_models([watch.model(Latest(2))])
    assert await watch.scan() == [("m", [2, 1])]


async def test_what_is_served_stays_while_its_only_successor_is_being_copied(
    watch: Watch,
) -> None:
    put(watch.base, "1")
    await watch.scan()
    take_away(watch.base, "1")
    (watch.base / "2").mkdir()
    assert await watch.scan() == []
    (watch.base / "2" / MODEL_FILE).touch()
    assert await watch.scan() == [("m", [2])]


async def test_a_version_that_was_complete_once_is_not_examined_again(watch: Watch) -> None:
    put(watch.base, "1", "2")
    await watch.scan()
    (watch.base / "2" / MODEL_FILE).unlink()
    assert await watch.scan() == []


async def test_an_incomplete_version_without_another_is_aspired_and_tried_again(
    watch: Watch,
) -> None:
    (watch.base / "1").mkdir(parents=True)
    assert await watch.scan() == [("m", [1])]
    assert await watch.scan() == []
    (watch.base / "1" / MODEL_FILE).touch()
    assert await watch.scan() == [("m", []), ("m", [1])]
    assert await watch.scan() == []


async def test_an_incomplete_version_that_loaded_all_the_same_is_left_alone(
    watch: Watch,
) -> None:
    (watch.base / "1").mkdir(parents=True)
    assert await watch.scan() == [("m", [1])]
    watch.target.available["m"] = (1,)
    (watch.base / "1" / MODEL_FILE).touch()
    assert await watch.scan() == []


async def test_a_complete_version_takes_the_place_of_an_incomplete_one(watch: Watch) -> None:
    (watch.base / "3").mkdir(parents=True)
    assert await watch.scan() == [("m", [3])]
    put(watch.base, "1")
    assert await watch.scan() == [("m", [1])]


async def test_a_removed_model_is_unloaded_at_once(watch: Watch) -> None:
    put(watch.base, "1")
    await watch.scan()
    watch.source.set_models([])
    assert watch.target.take() == [("m", [])]
    assert await watch.scan() == []


async def test_a_changed_policy_or_base_path_counts_from_the_next_scan(watch: Watch) -> None:
    put(watch.base, "1", "2")
    put(watch.base.parent / "moved", "10")
    await watch.scan()
    watch.source.set_models([watch.model(All())])
    assert await watch.scan() == [("m", [2, 1])]
    watch.source.set_models([ModelSource("m", str(watch.base.parent / "moved"), All())])
    assert watch.target.take() == []
    assert await watch.scan() == [("m", [10])]


async def test_an_unexpected_error_is_logged_and_keeps_what_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def confused(path: str) -> bool:
        raise ZeroDivisionError

    put(tmp_path, "1")
    target = FakeTarget()
    source = FileSystemSource(
        poll_wait_s=-1,
        make_loader=lambda id_, path: PathLoader(path),
        target=target,
        storage=LocalStorage(confused),
    )
    await source.start()
    source.set_models([ModelSource("m", str(tmp_path))])
    with caplog.at_level(logging.ERROR):
        await source.scan_now()
    assert target.take() == []
    assert "ZeroDivisionError" in caplog.text
    await source.stop()


async def test_a_loader_that_cannot_be_made_is_logged_and_concerns_no_other_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused = ["m"]

    def make_loader(id_: ServableId, path: str) -> PathLoader:
        if id_.name in refused:
            raise ZeroDivisionError
        return PathLoader(path)

    put(tmp_path, "1")
    target = FakeTarget()
    source = FileSystemSource(
        poll_wait_s=-1, make_loader=make_loader, target=target, storage=LocalStorage(is_complete)
    )
    await source.start()
    source.set_models([ModelSource(name, str(tmp_path)) for name in ("m", "n")])
    with caplog.at_level(logging.ERROR):
        await source.scan_now()
    assert target.take() == [("n", [1])]
    assert "Versions of servable m cannot be aspired" in caplog.messages
    refused.clear()
    await source.scan_now()
    assert target.take() == [("m", [1])]
    await source.stop()


async def test_a_source_is_started_only_once_and_stopped_in_any_state(tmp_path: Path) -> None:
    source, storage, _ = await polling_source(0, tmp_path)
    await storage.until_scanned(1)
    await source.start()
    await turn_loop(50)
    assert storage.scans == 1
    await source.stop()
    await source.stop()


async def test_what_changes_during_a_scan_is_not_overwritten_by_it(tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(path: str) -> bool:
        entered.set()
        assert go_on.wait(LIMIT_S)
        return True

    put(tmp_path, "1", "2")
    target = FakeTarget()
    source = FileSystemSource(
        poll_wait_s=-1,
        make_loader=lambda id_, path: PathLoader(path),
        target=target,
        storage=LocalStorage(slow),
    )
    await source.start()
    source.set_models([ModelSource("m", str(tmp_path)), ModelSource("n", str(tmp_path))])
    scan = asyncio.create_task(source.scan_now())
    await asyncio.to_thread(entered.wait, LIMIT_S)
    source.set_models([ModelSource("m", str(tmp_path), Specific((1,)))])
    go_on.set()
    await scan
    assert target.take() == [("n", [])]
    await source.scan_now()
    assert target.take() == [("m", [1])]
    await source.stop()


class CountingStorage(LocalStorage):
    """Tells the loop when a scan has asked for a base path."""

    def __init__(self) -> None:
        super().__init__(is_complete)
        self.scans = 0
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()

    def folder(self, base_path: str) -> LocalFolder:
        self.scans += 1
        self._loop.call_soon_threadsafe(self._asked.set)
        return super().folder(base_path)

    async def until_scanned(self, times: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.scans < times:
                self._asked.clear()
                await self._asked.wait()


async def polling_source(
    poll_wait_s: float, base: Path
) -> tuple[FileSystemSource[str], CountingStorage, FakeTarget]:
    storage, target = CountingStorage(), FakeTarget()
    source = FileSystemSource(
        poll_wait_s=poll_wait_s,
        make_loader=lambda id_, path: PathLoader(path),
        target=target,
        storage=storage,
    )
    source.set_models([ModelSource("m", str(base))])
    await source.start()
    return source, storage, target


async def test_a_positive_period_scans_again_and_again(tmp_path: Path) -> None:
    source, storage, _ = await polling_source(0.001, tmp_path)
    await storage.until_scanned(4)
    await source.stop()


async def test_a_period_of_zero_looks_once_at_each_base_path(tmp_path: Path) -> None:
    put(tmp_path, "1")
    source, storage, target = await polling_source(0, tmp_path)
    await target.until("m", [1])
    put(tmp_path, "2")
    source.set_models([ModelSource("m", str(tmp_path))])
    source.set_models([ModelSource("m", str(tmp_path), All())])
    await turn_loop(50)
    assert storage.scans == 1
    source.set_models([ModelSource("m", str(tmp_path)), ModelSource("n", str(tmp_path))])
    await target.until("n", [2])
    assert storage.scans == 2
    put(tmp_path / "moved", "3")
    source.set_models([ModelSource("m", str(tmp_path / "moved")), ModelSource("n", str(tmp_path))])
    await target.until("m", [3])
    assert storage.scans == 3
    await source.stop()


async def test_a_policy_that_changes_during_the_only_look_is_heeded(tmp_path: Path) -> None:
    put(tmp_path, "1", "2")
    storage, target = HangingStorage(), FakeTarget()
    gate = storage.hanging[tmp_path.name] = threading.Event()
    source = FileSystemSource(
        poll_wait_s=0,
        make_loader=lambda id_, path: PathLoader(path),
        target=target,
        storage=storage,
    )
    source.set_models([ModelSource("m", str(tmp_path))])
    await source.start()
    await until(lambda: bool(storage.looks))
    source.set_models([ModelSource("m", str(tmp_path), All())])
    await turn_loop(50)
    gate.set()
    await target.until("m", [2, 1])
    assert ("m", [2]) not in target.lists
    await source.stop()


async def test_a_change_of_the_models_does_not_wait_for_the_period(tmp_path: Path) -> None:
    source, storage, _ = await polling_source(1e6, tmp_path)
    await storage.until_scanned(1)
    source.set_models([ModelSource("m", str(tmp_path), All())])
    await storage.until_scanned(2)
    await source.stop()


async def test_a_negative_period_never_scans(tmp_path: Path) -> None:
    source, storage, _ = await polling_source(-1, tmp_path)
    source.set_models([ModelSource("m", str(tmp_path), All())])
    await turn_loop(50)
    assert storage.scans == 0
    await source.stop()


async def test_a_source_that_has_stopped_scans_no_more(tmp_path: Path) -> None:
    source, storage, target = await polling_source(0, tmp_path)
    await storage.until_scanned(1)
    await source.stop()
    put(tmp_path, "1")
    await source.scan_now()
    assert ("m", [1]) not in target.take()


class Stage:
    """A source and a manager together, over real folders."""

    def __init__(self, base: Path, manager: Manager[str], policy: VersionPolicy) -> None:
        self.base = base
        self.manager = manager
        self.log = EventLog(manager.events)
        self.source = FileSystemSource(
            poll_wait_s=-1,
            make_loader=lambda id_, path: FileLoader(id_, path),
            target=manager,
            storage=LocalStorage(is_complete),
        )
        self.source.set_models([ModelSource("m", str(base), policy)])

    def status(self) -> dict[int, str]:
        return {s.version: s.state.name for s in self.manager.statuses("m")}


class FileLoader:
    """Loads what the model file says, and fails as TensorFlow does where there is none."""

    def __init__(self, id_: ServableId, path: str) -> None:
        self.file = Path(path) / MODEL_FILE

    def load(self) -> str:
        try:
            return self.file.read_text()
        except FileNotFoundError:
            raise NotFound("Specified file path does not appear to contain a model") from None

    def unload(self) -> None:
        pass


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    options = ManagerOptions(max_load_retries=5, load_retry_interval_s=1e6)
    manager: Manager[str] = Manager(options, EventBus())
    manager.start()
    stage = Stage(tmp_path / "m", manager, Latest())
    await stage.source.start()
    yield stage
    await stage.source.stop()
    assert await manager.stop(LIMIT_S) == []


async def test_versions_come_and_go_as_the_folders_do(stage: Stage) -> None:
    put(stage.base, "1")
    await stage.source.scan_now()
    await stage.log.until("m", 1, State.AVAILABLE)
    put(stage.base, "2")
    await stage.source.scan_now()
    await stage.log.until("m", 1, State.END)
    assert stage.status() == {2: "AVAILABLE", 1: "END"}
    take_away(stage.base, "2")
    await stage.source.scan_now()
    await stage.log.until("m", 2, State.END)
    assert stage.status() == {2: "END", 1: "AVAILABLE"}
    take_away(stage.base, "1")
    await stage.source.scan_now()
    event = await stage.log.until("m", 1, State.END, times=2)
    assert failure(event.error) is None
    with pytest.raises(NotFound):
        stage.manager.acquire("m")


async def test_a_folder_whose_files_come_late_is_loaded_when_they_are_there(
    stage: Stage,
) -> None:
    (stage.base / "1").mkdir(parents=True)
    await stage.source.scan_now()
    await stage.log.until_failed("m", 1)
    (stage.base / "1" / MODEL_FILE).write_text("late")
    await stage.source.scan_now()
    await stage.log.until("m", 1, State.AVAILABLE)
    handle = stage.manager.acquire("m")
    assert handle.servable == "late"
    handle.release()


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again; for what no event tells."""
    for _ in range(int(LIMIT_S / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came true")


class HangingStorage(LocalStorage):
    """Base paths with a name in `hanging` answer when they are let go."""

    def __init__(self) -> None:
        super().__init__(is_complete)
        self.hanging: dict[str, threading.Event] = {}
        self.looks: list[str] = []

    def folder(self, base_path: str) -> LocalFolder:
        name = Path(base_path).name
        self.looks.append(name)
        gate = self.hanging.get(name)
        if gate is not None:
            assert gate.wait(LIMIT_S)
        return super().folder(base_path)


@pytest.fixture
async def hang(tmp_path: Path) -> AsyncIterator[Watch]:
    """A source that polls quickly, over storage that can hang."""
    watch = Watch(tmp_path)
    watch.storage = HangingStorage()
    watch.source = FileSystemSource(
        poll_wait_s=0.01,
        make_loader=lambda id_, path: PathLoader(path),
        target=watch.target,
        storage=watch.storage,
    )
    yield watch
    for gate in watch.storage.hanging.values():
        gate.set()
    await watch.source.stop()


async def test_base_paths_that_hang_stop_no_scan_of_another(hang: Watch) -> None:
    names = [f"m{number}" for number in range(5)]
    assert isinstance(hang.storage, HangingStorage)
    for name in (*names, "n"):
        put(hang.base.parent / name, "1")
    hang.storage.hanging = {name: threading.Event() for name in names}
    hang.source.set_models([hang.model(name=name) for name in (*names, "n")])
    await hang.source.start()
    await hang.target.until("n", [1])
    put(hang.base.parent / "n", "2")
    await hang.target.until("n", [2])
    # None that hangs is asked again meanwhile.
    assert sorted(name for name in hang.storage.looks if name != "n") == names
    hang.storage.hanging["m3"].set()
    await hang.target.until("m3", [1])


async def test_a_model_whose_base_path_hangs_can_be_given_another(hang: Watch) -> None:
    assert isinstance(hang.storage, HangingStorage)
    put(hang.base.parent / "dead", "1")
    put(hang.base.parent / "alive", "2")
    hang.storage.hanging = {"dead": threading.Event()}
    hang.source.set_models([ModelSource("m", str(hang.base.parent / "dead"))])
    await hang.source.start()
    hang.source.set_models([ModelSource("m", str(hang.base.parent / "alive"))])
    await hang.target.until("m", [2])
    hang.storage.hanging["dead"].set()
    put(hang.base.parent / "alive", "3")
    await hang.target.until("m", [3])
    assert ("m", [1]) not in hang.target.lists


async def test_a_base_path_that_hangs_is_told_once_and_when_it_is_over(
    hang: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.sources.file_system._TOLD_AFTER_S", 0.05)
    caplog.set_level(logging.INFO, "salver")
    assert isinstance(hang.storage, HangingStorage)
    put(hang.base, "1")
    hang.storage.hanging = {"m": threading.Event()}
    hang.source.set_models([hang.model()])
    await hang.source.start()
    await until(lambda: bool(caplog.messages))
    await asyncio.sleep(0.1)
    hang.storage.hanging["m"].set()
    await hang.target.until("m", [1])
    base = hang.base
    assert caplog.messages == [
        f"Base path {base} of servable m has not answered for 0 s; its versions stay as they are",
        f"Base path {base} of servable m answers again",
    ]


async def test_the_end_does_not_wait_for_a_base_path_that_hangs(hang: Watch) -> None:
    assert isinstance(hang.storage, HangingStorage)
    hang.storage.hanging = {"m": threading.Event()}
    hang.source.set_models([hang.model()])
    await hang.source.start()
    storage = hang.storage
    await until(lambda: bool(storage.looks))
    await asyncio.wait_for(hang.source.stop(), LIMIT_S)
    assert not hang.storage.hanging["m"].is_set()
