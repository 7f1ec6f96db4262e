import os
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import fsspec
import google_crc32c
import pytest

from salver.errors import (
    Aborted,
    DataLoss,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from salver.sources.kept_copies import KeptCopies
from salver.sources.listing import Listing, RemoteFile
from salver.sources.model_cache import ModelCache
from salver.sources.remote_files import RemoteFiles
from salver.sources.uploads import Uploads
from salver.sources.version_copies import HeldCopy, VersionCopies
from tests.fakes import LIMIT_S
from tests.unit.sources.memory_bucket import MODEL_FILE, MemoryBucket
from tests.unit.sources.waiting import wait_until


def lacking(names: Collection[str]) -> str | None:
    return None if MODEL_FILE in names else MODEL_FILE


class WatchedFiles(RemoteFiles):
    """Keeps what was fetched; lets a test interfere with it."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.before_fetch: Callable[[RemoteFile], None] = lambda file: None
        self.after_fetch: Callable[[RemoteFile, str], None] = lambda file, path: None
        self.change: Callable[[RemoteFile], RemoteFile] = lambda file: file

    def listing(self, uri: str) -> Listing:
        return Listing(tuple(map(self.change, super().listing(uri).files)))

    def download(
        self, uri: str, file: RemoteFile, local_path: str, on_bytes: Callable[[int], None]
    ) -> None:
        self.before_fetch(file)
        super().download(uri, file, local_path, on_bytes)
        self.fetched.append(file.name)
        self.after_fetch(file, local_path)


class Bench:
    """A process with a cache."""

    def __init__(self, root: Path) -> None:
        self.files = WatchedFiles()
        self.uploads = Uploads()
        self.cache = ModelCache(str(root))
        self.lacks: str | None = None
        self.kept = KeptCopies(self.cache)
        self.copies = VersionCopies(
            self.files, self.cache, self.kept, self.uploads, lacking, lambda folder: self.lacks
        )

    def fetch(self, uri: str) -> HeldCopy:
        self.cache.want("m", [uri])
        return self.copies.fetch(uri)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def bench(root: Path) -> Bench:
    return Bench(root)


@pytest.fixture
def uri(bucket: MemoryBucket) -> str:
    """A version with two files."""
    bucket.put_version("7", "variables/x")
    return bucket.version("7")


def contents(copy: HeldCopy) -> dict[str, str]:
    root = Path(copy.path)
    return {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }


WHOLE = {MODEL_FILE: "7 saved_model.pb", "variables/x": "7 variables/x"}


def test_a_version_is_copied_whole_and_once(bench: Bench, uri: str) -> None:
    copy = bench.fetch(uri)
    assert contents(copy) == WHOLE
    assert sorted(bench.files.fetched) == [MODEL_FILE, "variables/x"]
    copy.release()
    assert bench.fetch(uri).path == copy.path
    assert len(bench.files.fetched) == 2


def test_another_process_uses_the_copy_that_is_there(bench: Bench, root: Path, uri: str) -> None:
    bench.fetch(uri).release()
    later = Bench(root)
    assert contents(later.fetch(uri)) == WHOLE
    assert later.files.fetched == []


def test_a_version_that_was_uploaded_anew_is_copied_anew(
    bench: Bench, bucket: MemoryBucket, uri: str
) -> None:
    first = bench.fetch(uri)
    bucket.put("7/variables/x", b"another one")
    second = bench.fetch(uri)
    assert contents(first) == WHOLE
    assert contents(second) == {**WHOLE, "variables/x": "another one"}


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / MODEL_FILE).write_text("7 saved_model.px"),
        lambda folder: (folder / MODEL_FILE).unlink(),
        lambda folder: (folder / "variables" / "x").write_text(""),
        lambda folder: (folder / "stranger").touch(),
        lambda folder: (folder.parent / "finished.jsonl").unlink(),
    ],
)
def test_a_copy_that_was_meddled_with_is_made_again(
    bench: Bench, root: Path, uri: str, harm: Callable[[Path], object]
) -> None:
    copy = bench.fetch(uri)
    copy.release()
    harm(Path(copy.path))
    assert contents(Bench(root).fetch(uri)) == WHOLE


def test_without_a_model_file_there_is_no_version(bench: Bench, bucket: MemoryBucket) -> None:
    bucket.put("7/variables/x")
    with pytest.raises(NotFound) as error:
        bench.fetch(bucket.version("7"))
    assert error.value.message == (
        "Specified file path does not appear to contain a SavedModel bundle "
        "(should have a file called `saved_model.pb`)\nSpecified file path: memory://models/m/7"
    )
    assert bench.files.fetched == []
    assert bench.uploads.doubted(bucket.version("7"))


def test_a_version_that_grows_while_it_is_copied_is_not_taken(
    bench: Bench, bucket: MemoryBucket, uri: str, root: Path
) -> None:
    bench.files.after_fetch = lambda file, path: bucket.put("7/variables/y", b"late")
    with pytest.raises(Aborted, match="changed while it was copied"):
        bench.fetch(uri)
    assert bench.uploads.doubted(uri)
    assert not list(root.glob("*/7-*/files"))
    bench.files.after_fetch = lambda file, path: None
    assert contents(bench.fetch(uri)) == {**WHOLE, "variables/y": "late"}
    assert not bench.uploads.doubted(uri)
    # What had come before was not fetched twice.
    assert sorted(bench.files.fetched) == [MODEL_FILE, "variables/x", "variables/y"]


@pytest.mark.parametrize("harm", ["replace", "remove"])
def test_a_file_that_changes_before_it_is_fetched_means_an_upload_and_no_damage(
    bench: Bench, bucket: MemoryBucket, uri: str, harm: str
) -> None:
    def change(file: RemoteFile) -> None:
        if file.name == "variables/x":
            if harm == "replace":
                bucket.put("7/variables/x", b"one of another size")
            else:
                bucket.remove("7/variables/x")

    bench.files.before_fetch = change
    with pytest.raises(Aborted, match="changed while it was copied"):
        bench.fetch(uri)
    assert bench.uploads.doubted(uri)


def test_a_version_that_lacks_what_its_model_names_is_not_taken(
    bench: Bench, uri: str, root: Path
) -> None:
    bench.lacks = "assets/words.txt"
    with pytest.raises(NotFound) as error:
        bench.fetch(uri)
    assert error.value.message == f"{uri} is not complete: assets/words.txt is missing"
    assert bench.uploads.doubted(uri)
    assert not list(root.glob("*/7-*/files"))
    bench.lacks = None
    assert contents(bench.fetch(uri)) == WHOLE
    assert len(bench.files.fetched) == 2


def test_a_file_that_arrives_short_is_not_taken(bench: Bench, uri: str) -> None:
    def cut(file: RemoteFile, path: str) -> None:
        os.truncate(path, 3)

    bench.files.after_fetch = cut
    with pytest.raises(DataLoss, match=r"^memory://models/m/7/.* has .* bytes, 3 arrived$"):
        bench.fetch(uri)
    bench.files.after_fetch = lambda file, path: None
    assert contents(bench.fetch(uri)) == WHOLE


def test_a_file_whose_checksum_is_another_is_not_taken(bench: Bench, uri: str) -> None:
    bench.files.change = lambda file: replace(file, crc32c=0x8CA7EA33)
    with pytest.raises(DataLoss, match="arrived damaged"):
        bench.fetch(uri)
    checksums = {name: google_crc32c.value(text.encode()) for name, text in WHOLE.items()}
    bench.files.change = lambda file: replace(file, crc32c=checksums[file.name])
    assert contents(bench.fetch(uri)) == WHOLE


def test_a_copy_that_was_broken_off_is_gone_on_with(
    bench: Bench, bucket: MemoryBucket, root: Path
) -> None:
    bucket.put_version("7", *(f"variables/{number}" for number in range(20)))
    uri = bucket.version("7")

    def fail_late(file: RemoteFile) -> None:
        if file.name == "variables/5":
            raise Unavailable("the line is dead")

    bench.files.before_fetch = fail_late
    with pytest.raises(Unavailable):
        bench.fetch(uri)
    before = set(bench.files.fetched)
    assert before
    # A file that was being written when the power went.
    (incoming,) = root.glob("*/7.part/incoming")
    (incoming / "5").write_text("rubbish")
    later = Bench(root)
    assert len(contents(later.fetch(uri))) == 21
    assert not before & set(later.files.fetched)
    assert not list(root.glob("*/7.part"))


def test_what_was_copied_of_an_earlier_upload_does_not_stay(
    bench: Bench, bucket: MemoryBucket, uri: str
) -> None:
    bucket.put("7/variables", b"a file where a folder will be")
    bucket.remove("7/variables/x")
    bench.lacks = "something"
    with pytest.raises(NotFound):
        bench.fetch(uri)
    bench.lacks = None
    bucket.remove("7/variables")
    bucket.put("7/variables/x", b"7 variables/x")
    assert contents(bench.fetch(uri)) == WHOLE


def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    bench: Bench, uri: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = type(fsspec.filesystem("memory")).find

    def hostile(self: object, path: str, detail: bool) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = find(self, path, detail=detail)
        name = f"{path}/../../../../escaped"
        return {**found, name: {"name": name, "size": 1, "type": "file"}}

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", hostile)
    with pytest.raises(InvalidArgument, match="escaped"):
        bench.fetch(uri)
    assert not root.exists()


def test_what_does_not_fit_on_the_disk_is_not_begun(bench: Bench, uri: str) -> None:
    bench.files.change = lambda file: replace(file, size=1 << 60)
    with pytest.raises(ResourceExhausted, match="bytes are to be copied"):
        bench.fetch(uri)
    assert bench.files.fetched == []


def test_two_that_want_the_same_version_copy_it_once(root: Path, uri: str) -> None:
    benches = [Bench(root), Bench(root)]
    both_began = threading.Event()
    waiting = threading.Event()

    def hold(file: RemoteFile) -> None:
        waiting.set()
        assert both_began.wait(LIMIT_S)

    for bench in benches:
        bench.files.before_fetch = hold
    results: list[dict[str, str]] = []
    threads = [
        threading.Thread(target=lambda b=bench: results.append(contents(b.fetch(uri))))
        for bench in benches
    ]
    threads[0].start()
    assert waiting.wait(LIMIT_S)
    threads[1].start()
    both_began.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert results == [WHOLE, WHOLE]
    assert sorted(name for b in benches for name in b.files.fetched) == [MODEL_FILE, "variables/x"]


def test_a_copy_goes_when_it_is_released_and_not_wanted(bench: Bench, uri: str) -> None:
    copy = bench.fetch(uri)
    bench.cache.want("m", [])
    assert contents(copy) == WHOLE
    copy.release()
    wait_until(lambda: not os.path.exists(copy.path))


def test_a_copy_that_is_wanted_stays_when_it_is_released(bench: Bench, uri: str) -> None:
    copy = bench.fetch(uri)
    copy.release()
    leftover = bench.cache.use(bench.cache.place(f"{uri}1"), "f")
    leftover.release()
    bench.cache.sweep()
    wait_until(lambda: not os.path.exists(bench.cache.place(f"{uri}1").copy("f") + ".lock"))
    assert contents(copy) == WHOLE
