import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salver.telemetry.record_file import FileLimits, RecordFiles


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def files_of(folder: Path, *, max_bytes: int = 0, max_age_s: float = 0.0) -> RecordFiles:
    return RecordFiles(str(folder / "log"), FileLimits(max_bytes, max_age_s), Clock())


def due_at(files: RecordFiles) -> float | None:
    return files.due_at


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("log-*.tfrecord"))]


@contextmanager
def small_disk() -> Iterator[None]:
    """No file can have more than 10 bytes; nor could the one that a test's output goes to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_made_before_the_first_record(tmp_path: Path) -> None:
    files = files_of(tmp_path / "folder")
    files.close()
    assert list(tmp_path.iterdir()) == []
    assert files.write([b"abc"]) == (1, None)
    assert contents(tmp_path / "folder") == [b"abc"]
    files.close()


def test_records_that_fit_share_a_file_and_no_file_gets_too_large(tmp_path: Path) -> None:
    files = files_of(tmp_path, max_bytes=6)
    assert files.write([b"aa", b"bb", b"ccc", b"dddd"]) == (4, None)
    assert files.write([b"e", b"ff"]) == (2, None)
    files.close()
    assert contents(tmp_path) == [b"aabb", b"ccc", b"dddde", b"ff"]


def test_a_record_beyond_the_limit_gets_a_file_of_its_own(tmp_path: Path) -> None:
    files = files_of(tmp_path, max_bytes=4)
    assert files.write([b"a", b"long record", b"b"]) == (3, None)
    files.close()
    assert contents(tmp_path) == [b"a", b"long record", b"b"]


def test_a_file_that_is_too_old_is_followed_by_another(tmp_path: Path) -> None:
    clock = Clock()
    files = RecordFiles(str(tmp_path / "log"), FileLimits(max_age_s=60.0), clock)
    assert due_at(files) is None
    files.write([b"a"])
    assert due_at(files) == 1060.0
    clock.now = 1059.0
    files.write([b"b"])
    clock.now = 1060.0
    files.write([b"c"])
    assert due_at(files) == 1120.0
    clock.now = 1120.0
    files.close_if_due()
    assert due_at(files) is None
    assert contents(tmp_path) == [b"ab", b"c"]


def test_a_write_that_fails_leaves_whole_records_only(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    with small_disk():
        first = files.write([b"12345678"])
        written, error = files.write([b"abcdefgh"])
    assert first == (1, None)
    assert written == 0
    assert error is not None
    assert contents(tmp_path) == [b"12345678"]


def test_after_a_failure_the_next_write_begins_another_file(tmp_path: Path) -> None:
    files = files_of(tmp_path, max_bytes=9)
    with small_disk():
        written, error = files.write([b"1234", b"5678", b"a record that is too large", b"9"])
        last = files.write([b"9"])
    assert written == 2
    assert error is not None
    assert last == (1, None)
    files.close()
    assert contents(tmp_path) == [b"12345678", b"", b"9"]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    written, error = files_of(tmp_path / "file" / "folder").write([b"a"])
    assert written == 0
    assert isinstance(error, OSError)
