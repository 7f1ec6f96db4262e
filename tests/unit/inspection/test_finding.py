from pathlib import Path

import pytest

from salver.backends.registry import Backends
from salver.errors import NotFound
from salver.inspection.finding import FoundVersion, newest_version, versions_at


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def test_a_base_path_means_all_its_versions(tmp_path: Path) -> None:
    for number in (10, 9):
        saved_model(tmp_path / str(number))
    (tmp_path / "notes").mkdir()
    assert versions_at(str(tmp_path), Backends()) == [
        FoundVersion(f"{tmp_path}/9", 9),
        FoundVersion(f"{tmp_path}/10", 10),
    ]
    assert newest_version(f"{tmp_path}/", Backends()) == FoundVersion(f"{tmp_path}/10", 10)


@pytest.mark.parametrize(("name", "number"), [("7", 7), ("export", None)])
def test_a_version_folder_means_itself(tmp_path: Path, name: str, number: int | None) -> None:
    folder = saved_model(tmp_path / name)
    assert versions_at(str(folder), Backends()) == [FoundVersion(str(folder), number)]


def test_a_uri_is_listed(tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/finding/model/3/saved_model.pb", b"")
    try:
        found = FoundVersion("memory://finding/model/3", 3)
        assert versions_at("memory://finding/model", Backends()) == [found]
        assert versions_at("memory://finding/model/3/", Backends()) == [found]
    finally:
        files.rm("/finding", recursive=True)


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such folder"):
        versions_at(str(tmp_path / "missing"), Backends())
    with pytest.raises(NotFound, match="it is empty"):
        versions_at(str(tmp_path), Backends())
    (tmp_path / "file").touch()
    with pytest.raises(NotFound, match="there are: file"):
        versions_at(str(tmp_path), Backends())
    with pytest.raises(NotFound, match="is a file"):
        versions_at(str(tmp_path / "file"), Backends())
