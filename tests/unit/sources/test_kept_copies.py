import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from salver.errors import Unavailable
from tests.unit.sources.memory_bucket import MODEL_FILE, MemoryBucket
from tests.unit.sources.test_version_copies import WHOLE, Bench, contents
from tests.unit.sources.waiting import wait_until


class Dead(Bench):
    """A process whose storage cannot be asked."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.files.listing = self._fail  # type: ignore[assignment]

    def _fail(self, uri: str) -> None:
        raise Unavailable(f"{uri}; no route")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def copied(root: Path, bucket: MemoryBucket, *names: str) -> list[Path]:
    """Versions that an earlier process has copied; the folders of their files."""
    bench = Bench(root)
    bench.cache.want("m", [bucket.version(name) for name in names])
    folders = []
    for name in names:
        bucket.put_version(name, "variables/x")
        held = bench.copies.fetch(bucket.version(name))
        folders.append(Path(held.path))
        held.release()
    return folders


def test_there_is_nothing_where_nothing_was_copied(root: Path, bucket: MemoryBucket) -> None:
    assert Dead(root).kept.folder(bucket.uri) is None
    copied(root, bucket, "7")
    assert Dead(root).kept.folder(f"{bucket.uri}-other") is None


def test_versions_have_the_paths_that_their_storage_gives_them(
    root: Path, bucket: MemoryBucket
) -> None:
    copied(root, bucket, "7", "-8")
    folder = Dead(root).kept.folder(f"{bucket.uri}/")
    assert folder is not None
    assert sorted(folder.names()) == ["-8", "7"]
    assert (folder.has("7"), folder.has("9")) == (True, False)
    assert folder.path("7") == bucket.version("7")
    assert folder.exists()
    assert folder.is_complete("7", seen=False)


@pytest.mark.parametrize(
    "harm",
    [
        lambda files: (files / MODEL_FILE).write_text("7 saved_model.px"),
        lambda files: (files / MODEL_FILE).unlink(),
        lambda files: (files / "stranger").touch(),
        lambda files: (files.parent / "finished.jsonl").unlink(),
        lambda files: cut(files.parent / "finished.jsonl"),
        lambda files: files.parent.rename(files.parent.with_name("7-of-other-contents")),
    ],
)
def test_a_copy_that_is_not_what_it_was_does_not_count(
    root: Path, bucket: MemoryBucket, harm: Callable[[Path], object]
) -> None:
    files, _ = copied(root, bucket, "7", "6")
    harm(files)
    folder = Dead(root).kept.folder(bucket.uri)
    assert folder is not None
    assert folder.names() == ["6"]


def cut(record: Path) -> None:
    """Take away the last of the lines, and its file with it."""
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(lines[:-1]))
    name = lines[-1].partition('"name": "')[2].partition('"')[0]
    (record.parent / "files" / name).unlink()


def test_a_version_is_loaded_from_its_newest_copy_without_asking(
    root: Path, bucket: MemoryBucket
) -> None:
    (files,) = copied(root, bucket, "7")
    old = files.parent.with_name("kept")
    os.rename(files.parent, old)
    bucket.put("7/variables/x", b"newer")
    bench = Bench(root)
    newer = bench.fetch(bucket.version("7"))
    newer.release()
    os.rename(old, files.parent)
    then = Path(newer.path).parent.stat().st_mtime
    os.utime(files.parent, (then - 60, then - 60))

    dead = Dead(root)
    with pytest.raises(Unavailable):
        dead.fetch(bucket.version("7"))
    assert dead.kept.folder(bucket.uri) is not None
    copy = dead.fetch(bucket.version("7"))
    assert contents(copy) == {**WHOLE, "variables/x": "newer"}
    assert dead.files.fetched == []


def test_once_the_storage_has_answered_it_is_asked(root: Path, bucket: MemoryBucket) -> None:
    copied(root, bucket, "7")
    dead = Dead(root)
    dead.kept.folder(bucket.uri)
    dead.kept.answered(f"{bucket.uri}/")
    with pytest.raises(Unavailable):
        dead.fetch(bucket.version("7"))


def test_a_version_without_a_copy_is_asked_for(root: Path, bucket: MemoryBucket) -> None:
    copied(root, bucket, "7")
    dead = Dead(root)
    dead.kept.folder(bucket.uri)
    with pytest.raises(Unavailable):
        dead.fetch(bucket.version("8"))


def test_it_is_told_once_that_a_copy_is_not_what_the_storage_has(
    root: Path, bucket: MemoryBucket, caplog: pytest.LogCaptureFixture
) -> None:
    copied(root, bucket, "7", "8")
    dead = Dead(root)
    dead.kept.folder(bucket.uri)
    caplog.set_level(logging.WARNING)
    for name in ("7", "8"):
        uri = bucket.version(name)
        dead.cache.want(name, [uri])
        copy = dead.copies.fetch(uri)
        fingerprint = Path(copy.path).parent.name.partition("-")[2]
        dead.kept.compare(uri, fingerprint if name == "7" else "another")
        dead.kept.compare(uri, "another")
    (line,) = caplog.messages
    assert line.startswith(f"{bucket.version('8')} is not what its local copy was made of")


def test_no_copy_is_deleted_before_the_storage_has_answered(
    root: Path, bucket: MemoryBucket
) -> None:
    seven, eight = copied(root, bucket, "7", "8")
    dead = Dead(root)
    dead.kept.folder(bucket.uri)
    # Another model of this base path may want the other one.
    dead.cache.want("m", [bucket.version("7")])
    dead.fetch(bucket.version("7")).release()
    assert dead.kept.folder(bucket.uri) is not None
    assert dead.kept.standing_in(bucket.version("8")) is not None
    dead.kept.answered(bucket.uri)
    wait_until(lambda: not eight.exists())
    assert seven.exists()
