import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from salver.backends.registry import Backends
from salver.core.backend import ENTRY_POINTS, Backend, BackendOptions
from salver.core.servable import Loader
from salver.errors import FailedPrecondition, NotFound


class FileBackend:
    """Claims folders with a certain file."""

    extra = ""

    def __init__(self, name: str, file: str, wraps: bool = False) -> None:
        self.name = name
        self.file = file
        self.wraps = wraps

    def lacking(self, names: object) -> str | None:
        return None if self.file in names else self.file  # type: ignore[operator]

    def detects(self, folder: Path) -> bool:
        return (folder / self.file).exists()

    def loader(self, folder: str, options: BackendOptions) -> Loader:
        raise NotImplementedError

    def estimated_bytes(self, folder: Path) -> int:
        return 0


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("backends_for_a_test")
    module.forest = FileBackend("forest", "model.forest")  # type: ignore[attr-defined]
    module.trees = FileBackend("trees", "model.trees")  # type: ignore[attr-defined]
    module.folder = FileBackend("folder", "about.txt", wraps=True)  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def backends(*names: str) -> Backends:
    return Backends(
        EntryPoint(
            name.partition("=")[0], f"backends_for_a_test:{name.split('=')[-1]}", ENTRY_POINTS
        )
        for name in names
    )


def test_the_protocol_is_what_backends_have(module: ModuleType) -> None:
    assert isinstance(module.forest, Backend)


def test_a_backend_is_found_by_its_name(module: ModuleType) -> None:
    assert backends("forest").named("forest") is module.forest


@pytest.mark.parametrize(
    ("points", "kind", "message"),
    [
        ("trees", NotFound, "There is no backend forest; installed are: trees"),
        ("forest=number", FailedPrecondition, "is no backend of this name"),
        ("forest=trees", FailedPrecondition, "is no backend of this name"),
        ("forest=missing", FailedPrecondition, "cannot be imported: AttributeError"),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_is_no_backend_is_told(points: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        backends(points).named("forest")


def test_a_folder_tells_its_backend(module: ModuleType, tmp_path: Path) -> None:
    found = backends("forest", "trees", "folder")
    assert found.of_folder(tmp_path) is None
    assert not found.is_complete(str(tmp_path))

    (tmp_path / "model.trees").touch()
    assert found.of_folder(tmp_path) is module.trees
    assert found.is_complete(str(tmp_path))

    (tmp_path / "about.txt").touch()
    assert found.of_folder(tmp_path) is module.folder


@pytest.mark.usefixtures("module")
def test_a_folder_of_two_is_refused_and_taken_for_complete(tmp_path: Path) -> None:
    found = backends("forest", "trees")
    for name in ("model.trees", "model.forest"):
        (tmp_path / name).touch()

    with pytest.raises(FailedPrecondition, match="a model of forest and trees; model_platform"):
        found.of_folder(tmp_path)
    assert found.is_complete(str(tmp_path))


@pytest.mark.usefixtures("module")
def test_a_broken_backend_is_told_once_and_in_nobody_s_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = backends("forest=missing", "trees")
    (tmp_path / "model.trees").touch()

    for _ in range(2):
        assert found.of_folder(tmp_path) is not None

    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("names", "lacks"),
    [
        (["model.trees"], None),
        (["saved_model.pb"], None),
        (["other"], "saved_model.pb"),
        (
            ["saved_model.pb", "variables/variables.index", "model.trees"],
            "variables/variables.data",
        ),
    ],
)
@pytest.mark.usefixtures("module")
def test_a_remote_version_is_whole_if_one_backend_has_its_files(
    names: list[str], lacks: str | None
) -> None:
    assert backends("trees").lacking(names) == lacks


def test_a_saved_model_has_nobody_looked_for(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    found = backends("nothing=nothing")

    assert found.is_complete(str(tmp_path))
    assert found.lacking(["saved_model.pb"]) is None
    assert "_points" not in vars(found)
