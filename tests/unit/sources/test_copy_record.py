import os
from pathlib import Path

import pytest

from salver.sources.copy_record import FILES, finished_files, is_whole, note_finished
from salver.sources.listing import RemoteFile, listing_of

MODEL = RemoteFile("saved_model.pb", "x", 5, "one")
SHARD = RemoteFile("variables/shard", "y", 3, "two")
LISTING = listing_of([MODEL, SHARD], "s3://b/m/1")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A whole copy."""
    for file in LISTING.files:
        path = tmp_path / FILES / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * file.size)
        note_finished(str(tmp_path), file)
    return tmp_path


def test_a_copy_with_all_files_is_whole(copy: Path) -> None:
    assert is_whole(str(copy), LISTING)
    assert set(finished_files(str(copy))) == {"saved_model.pb", "variables/shard"}


def test_nothing_is_no_copy(tmp_path: Path) -> None:
    assert not is_whole(str(tmp_path / "none"), LISTING)
    assert finished_files(str(tmp_path / "none")) == {}


def test_a_file_that_is_gone_short_or_written_to_is_not_finished(copy: Path) -> None:
    shard = copy / FILES / SHARD.name
    status = shard.stat()
    shard.write_bytes(b"abc")
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert set(finished_files(str(copy))) == {MODEL.name}
    shard.write_bytes(b"ab")
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_whole(str(copy), LISTING)
    shard.unlink()
    assert set(finished_files(str(copy))) == {MODEL.name}


def test_a_file_that_nobody_copied_makes_a_copy_one_not_to_be_used(copy: Path) -> None:
    (copy / FILES / "assets").mkdir()
    (copy / FILES / "assets" / "more").touch()
    assert not is_whole(str(copy), LISTING)


@pytest.mark.parametrize(
    "other",
    [
        RemoteFile("saved_model.pb", "x", 5, "three"),
        RemoteFile("saved_model.pb", "x", 6, "one"),
        RemoteFile("saved_model.pbtxt", "x", 5, "one"),
    ],
)
def test_another_content_is_not_whole(copy: Path, other: RemoteFile) -> None:
    assert not is_whole(str(copy), listing_of([other, SHARD], "s3://b/m/1"))


def test_a_line_that_was_broken_off_does_not_count(copy: Path) -> None:
    record = copy / "finished.jsonl"
    record.write_bytes(record.read_bytes()[:-9])
    assert set(finished_files(str(copy))) == {MODEL.name}
    note_finished(str(copy), SHARD)
    # The first line after a broken one is lost with it; the file is then copied once more.
    note_finished(str(copy), SHARD)
    assert is_whole(str(copy), LISTING)
