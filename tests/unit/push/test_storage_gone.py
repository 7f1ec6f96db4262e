"""Storage that goes away in the middle: what is told of a push and a rollback is what is there."""

import logging
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from salver.backends.registry import Backends
from salver.cli.main import main
from salver.errors import Unavailable
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_writes import RemoteWrites

FILES = ("model.onnx", "labels/a.txt", "labels/b.txt")
OLD, NEWEST = 1700000000, 1700000001
STEPS = (
    (RemoteWrites, ("upload", "write", "read", "copy", "delete")),
    (RemoteFiles, ("names", "listing")),
)
UNCHECKED = ("--no_load", "--allow_unsafe")


class Storage:
    """A base path in memory with two versions."""

    def __init__(self, name: str) -> None:
        self.path = f"/{uuid.uuid4().hex}/{name}"
        self.uri = f"memory:/{self.path}"
        self._files = fsspec.filesystem("memory")
        for version in (OLD, NEWEST):
            for file in FILES:
                self._files.pipe_file(f"{self.path}/{version}/{file}", b"old")

    def whole(self) -> set[str]:
        """The folders with all that makes a version."""
        there: dict[str, list[str]] = {}
        for path in self._files.find(self.path):
            folder, _, file = path.removeprefix(f"{self.path}/").partition("/")
            there.setdefault(folder, []).append(file)
        return {name for name, files in there.items() if Backends().lacking(files) is None}


def failing(patched: pytest.MonkeyPatch, at: int, for_ever: bool) -> list[int]:
    """Have the n-th step fail that is taken at the storage, perhaps all after it; their number."""
    count = [0]

    def wrapped(inner: Any) -> Any:
        def step(*arguments: Any, **named: Any) -> Any:
            count[0] += 1
            if count[0] == at or (for_ever and count[0] > at):
                raise Unavailable("the storage is gone")
            return inner(*arguments, **named)

        return step

    for kind, names in STEPS:
        for name in names:
            patched.setattr(kind, name, wrapped(getattr(kind, name)))
    return count


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    for file in FILES:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"new")
    return str(folder)


def versions(names: set[str]) -> set[str]:
    return {name for name in names if name.isdecimal()}


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("command", ["push", "rollback", "undo"])
def test_the_exit_code_tells_what_is_served(model: str, command: str, for_ever: bool) -> None:
    codes = set()
    for at in range(1, 40):
        storage = Storage("base")
        if command == "undo":
            assert main(["rollback", storage.uri]) == 0
        before = versions(storage.whole())
        words = {
            "push": ["push", model, storage.uri, *UNCHECKED],
            "rollback": ["rollback", storage.uri],
            "undo": ["rollback", storage.uri, "--undo"],
        }
        with pytest.MonkeyPatch.context() as patched:
            count = failing(patched, at, for_ever)
            code = main(words[command])
        after = versions(storage.whole())
        codes.add(code)
        assert code in (0, 4, 5)
        if code == 0:
            assert after != before
        if code == 4:
            assert after == before
        if count[0] < at:
            assert code == 0
            break
    else:
        raise AssertionError
    assert 4 in codes
    # After everything failed, there is no knowing.
    assert (5 in codes) == (for_ever and command != "undo")


def test_the_logs_of_a_process_go_on_after_a_push(model: str) -> None:
    logger = logging.getLogger("salver")
    before = logger.level
    main(["push", model, Storage("base").uri, *UNCHECKED])
    main(["rollback", Storage("base").uri])
    assert logger.level == before


@pytest.mark.parametrize("name", ["[1] a*b?", "ü %20#x"])
def test_names_are_no_patterns(tmp_path: Path, name: str) -> None:
    storage = Storage(name)
    for file in ("model.onnx", "w[0]", "a*b", "what?", "#1", "%20", "ü/[a]/b"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"new")
    assert main(["push", str(tmp_path), storage.uri, *UNCHECKED]) == 0
    (pushed,) = storage.whole() - {str(OLD), str(NEWEST)}
    assert main(["rollback", storage.uri]) == 0
    assert storage.whole() == {str(OLD), str(NEWEST), f"rolled-back-{pushed}"}
    assert main(["rollback", storage.uri, "--undo"]) == 0
    assert storage.whole() == {str(OLD), str(NEWEST), pushed}
