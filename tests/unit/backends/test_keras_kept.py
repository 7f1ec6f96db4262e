import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.backends.keras_kept import KeptConversions

KIB = 1 << 10


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary folders."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def kept() -> Iterator[KeptConversions]:
    kept = KeptConversions(most_bytes=10 * KIB)
    yield kept
    kept.close()


def conversion(folder: Path, size: int) -> str:
    """A folder with a file of so many bytes."""
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(bytes(size))
    return str(folder / "saved_model")


def sizes(kept: KeptConversions, *keys: str) -> list[int | None]:
    found: list[int | None] = []
    for key in keys:
        with kept.found(key) as folder:
            path = None if folder is None else Path(folder, "saved_model.pb")
            found.append(None if path is None else path.stat().st_size)
    return found


def test_what_is_kept_is_found_again_by_the_content_of_the_file(
    kept: KeptConversions, tmp_path: Path
) -> None:
    for name, content in (("one", b"x"), ("same", b"x"), ("other", b"y")):
        (tmp_path / name).write_bytes(content)
    key = kept.key(str(tmp_path / "one"), False)
    assert key is not None
    kept.keep(key, conversion(tmp_path, 5))

    same = kept.key(str(tmp_path / "same"), False)
    others = kept.key(str(tmp_path / "other"), False), kept.key(str(tmp_path / "same"), True)

    assert same == key
    assert sizes(kept, str(same), *map(str, others)) == [5, None, None]


def test_the_file_that_was_not_used_for_longest_goes(kept: KeptConversions, tmp_path: Path) -> None:
    for key in "ab":
        kept.keep(key, conversion(tmp_path / key, 4 * KIB))
    assert sizes(kept, "a") == [4 * KIB]

    kept.keep("c", conversion(tmp_path / "c", 4 * KIB))

    assert sizes(kept, "a", "b", "c") == [4 * KIB, None, 4 * KIB]


def test_what_is_being_loaded_stays(kept: KeptConversions, tmp_path: Path) -> None:
    kept.keep("a", conversion(tmp_path / "a", 6 * KIB))
    with kept.found("a") as folder:
        kept.keep("b", conversion(tmp_path / "b", 6 * KIB))
        assert folder is not None
        assert Path(folder, "saved_model.pb").exists()


def test_what_is_too_large_is_not_kept(kept: KeptConversions, tmp_path: Path) -> None:
    kept.keep("a", conversion(tmp_path / "a", 11 * KIB))
    (tmp_path / "file").write_bytes(bytes(11 * KIB))

    assert sizes(kept, "a") == [None]
    assert kept.key(str(tmp_path / "file"), False) is None


def test_with_the_last_model_all_is_given_back(
    kept: KeptConversions, tmp_path: Path, place: Path
) -> None:
    kept.used()
    kept.used()
    kept.keep("a", conversion(tmp_path / "a", 5))
    kept.unused()
    assert sizes(kept, "a") == [5]

    kept.unused()

    assert sizes(kept, "a") == [None]
    assert list(place.iterdir()) == []
    kept.keep("b", conversion(tmp_path / "b", 5))
    assert sizes(kept, "b") == [5]


def test_what_a_killed_process_left_behind_is_deleted_and_what_another_uses_is_not(
    kept: KeptConversions, tmp_path: Path, place: Path
) -> None:
    for name in ("left", "used"):
        folder = place / f"salver-keras-kept-{name}"
        folder.mkdir()
        (folder / "lock").touch()
    held = os.open(place / "salver-keras-kept-used" / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        kept.keep("a", conversion(tmp_path / "a", 5))
    finally:
        os.close(held)

    assert not (place / "salver-keras-kept-left").exists()
    assert (place / "salver-keras-kept-used").exists()
