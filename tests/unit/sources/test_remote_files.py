import logging
from pathlib import Path
from typing import Any

import fsspec
import pytest

from salver.errors import InvalidArgument, NotFound, Unavailable
from salver.sources.remote_files import RemoteFiles
from tests.unit.sources.memory_bucket import MemoryBucket


@pytest.fixture
def files() -> RemoteFiles:
    return RemoteFiles()


def test_the_names_in_a_folder_are_found_each_once(
    files: RemoteFiles, bucket: MemoryBucket
) -> None:
    for name in ("1/saved_model.pb", "1/variables/x", "10/saved_model.pb", "note.txt"):
        bucket.put(name)
    assert sorted(files.names(bucket.uri)) == ["1", "10", "note.txt"]
    assert sorted(files.names(bucket.uri + "/")) == ["1", "10", "note.txt"]


def test_new_names_are_seen_at_once(files: RemoteFiles, bucket: MemoryBucket) -> None:
    bucket.put_version("1")
    assert files.names(bucket.uri) == ["1"]
    bucket.put_version("2")
    assert sorted(files.names(bucket.uri)) == ["1", "2"]


def test_what_is_missing_or_a_file_is_told(files: RemoteFiles, bucket: MemoryBucket) -> None:
    bucket.put("1")
    with pytest.raises(NotFound) as missing:
        files.names("memory://models/none")
    assert missing.value.message == "memory://models/none; No such file or directory"
    with pytest.raises(NotADirectoryError):
        files.names(f"{bucket.uri}/1")


def test_all_files_of_a_version_are_listed_and_of_no_other(
    files: RemoteFiles, bucket: MemoryBucket
) -> None:
    bucket.put_version("7", "variables/a/b", "variables/c")
    bucket.put_version("70")
    listing = files.listing(bucket.version("7"))
    assert listing.names == ("saved_model.pb", "variables/a/b", "variables/c")
    assert listing.files[0].size == len("7 saved_model.pb")
    assert files.listing(bucket.version("8")).names == ()


def test_another_content_of_the_same_size_has_another_fingerprint(
    files: RemoteFiles, bucket: MemoryBucket
) -> None:
    bucket.put("1/saved_model.pb", b"one")
    first = files.listing(bucket.version("1")).fingerprint
    assert files.listing(bucket.version("1")).fingerprint == first
    bucket.put("1/saved_model.pb", b"two")
    assert files.listing(bucket.version("1")).fingerprint != first


def test_a_name_that_leads_out_of_the_version_is_refused(
    files: RemoteFiles, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put_version("1")
    kind = type(fsspec.filesystem("memory"))

    def find(self: Any, path: str, detail: bool) -> dict[str, Any]:
        name = f"{path}/../../../etc/cron.d/x"
        return {name: {"name": name, "size": 1, "type": "file"}}

    monkeypatch.setattr(kind, "find", find)
    with pytest.raises(InvalidArgument, match="cron"):
        files.listing(bucket.version("1"))


def test_markers_of_folders_are_no_files(
    files: RemoteFiles, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(fsspec.filesystem("memory"))

    def find(self: Any, path: str, detail: bool) -> dict[str, Any]:
        names = [f"{path}/", f"{path}/variables/", f"{path}/saved_model.pb", path]
        return {name: {"name": name, "size": 0, "type": "file"} for name in names}

    monkeypatch.setattr(kind, "find", find)
    assert files.listing(bucket.version("1")).names == ("saved_model.pb",)


def test_a_file_is_fetched_and_its_progress_told(
    files: RemoteFiles, bucket: MemoryBucket, tmp_path: Path
) -> None:
    bucket.put("1/saved_model.pb", b"x" * 1000)
    uri = bucket.version("1")
    (file,) = files.listing(uri).files
    counts: list[int] = []
    files.download(uri, file, str(tmp_path / "file"), counts.append)
    assert (tmp_path / "file").read_bytes() == b"x" * 1000
    assert counts[-1] == 1000
    bucket.remove("1/saved_model.pb")
    with pytest.raises(NotFound, match=r"^memory://models/m/1/saved_model.pb; "):
        files.download(uri, file, str(tmp_path / "file"), counts.append)
    with pytest.raises(FileNotFoundError):
        files.download(uri, file, str(tmp_path / "none" / "file"), counts.append)


def test_faults_of_a_library_are_told_with_the_uri(
    files: RemoteFiles, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, path: str, detail: bool) -> None:
        raise ConnectionError("line is dead")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "ls", fail)
    with pytest.raises(Unavailable, match=r"^memory://models/m; line is dead$"):
        files.names(bucket.uri)


def test_libraries_do_not_log_requests(
    files: RemoteFiles, bucket: MemoryBucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.put_version("1")
    with caplog.at_level(logging.DEBUG):
        files.names(bucket.uri)
        logging.getLogger("botocore.auth").debug("a token")
        logging.getLogger("fsspec").debug("a password")
    assert caplog.messages == []
