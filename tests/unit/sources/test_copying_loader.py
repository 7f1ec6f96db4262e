import errno
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from salver.errors import Code, DataLoss, ServingError, Unavailable
from salver.sources.remote_models import RemoteModels
from salver.sources.version_copies import HeldCopy, VersionCopies
from tests.unit.sources.memory_bucket import MODEL_FILE, MemoryBucket
from tests.unit.sources.waiting import wait_until


def lacking(names: Collection[str]) -> str | None:
    return None if MODEL_FILE in names else MODEL_FILE


class TextLoader:
    """Its servable is the text of the model file; fails as often as told."""

    def __init__(self, folder: str, failures: list[BaseException]) -> None:
        self.folder = folder
        self.unloads = 0
        self._failures = failures

    def load(self) -> str:
        if self._failures:
            raise self._failures.pop(0)
        return (Path(self.folder) / MODEL_FILE).read_text()

    def unload(self) -> None:
        assert os.path.exists(self.folder)
        self.unloads += 1


class Bench:
    def __init__(self, root: Path) -> None:
        self.models = RemoteModels(str(root), lacking, lambda folder: None)
        self.failures: list[BaseException] = []
        self.loaders: list[TextLoader] = []

    def make_loader(self, folder: str) -> TextLoader:
        self.loaders.append(TextLoader(folder, self.failures))
        return self.loaders[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "cache")


@pytest.fixture
def uri(bucket: MemoryBucket) -> str:
    bucket.put_version("7")
    return bucket.version("7")


def test_a_version_is_loaded_from_its_copy_which_goes_when_it_is_not_wanted(
    bench: Bench, uri: str
) -> None:
    bench.models.want("m", [uri])
    loader = bench.models.loader(uri, bench.make_loader)
    assert loader.load() == "7 saved_model.pb"
    bench.models.want("m", [])
    loader.unload()
    (inner,) = bench.loaders
    assert inner.unloads == 1
    wait_until(lambda: not os.path.exists(inner.folder))


def test_an_error_of_the_load_names_the_uri_and_the_copy_stays_for_the_next_attempt(
    bench: Bench, uri: str, bucket: MemoryBucket
) -> None:
    bench.models.want("m", [uri])
    folder: list[str] = []

    def make_loader(path: str) -> TextLoader:
        folder.append(path)
        return TextLoader(path, [DataLoss(f"Can't parse {path}/{MODEL_FILE}")])

    with pytest.raises(DataLoss) as error:
        bench.models.loader(uri, make_loader).load()
    assert error.value.message == f"Can't parse {uri}/{MODEL_FILE}"
    assert bench.models.loader(uri, bench.make_loader).load() == "7 saved_model.pb"
    assert bench.loaders[0].folder == folder[0]


def test_a_loader_that_breaks_down_keeps_no_copy_from_being_deleted(bench: Bench, uri: str) -> None:
    bench.models.want("m", [uri])
    bench.failures = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        bench.models.loader(uri, bench.make_loader).load()
    bench.models.want("m", [])
    wait_until(lambda: not os.path.exists(bench.loaders[0].folder))


def test_an_error_of_the_copy_is_that_of_the_load(bench: Bench, bucket: MemoryBucket) -> None:
    with pytest.raises(ServingError) as error:
        bench.models.loader(bucket.version("8"), bench.make_loader).load()
    assert error.value.code is Code.NOT_FOUND
    assert bench.loaders == []


def test_unloading_what_was_never_loaded_does_no_harm(bench: Bench, uri: str) -> None:
    bench.models.loader(uri, bench.make_loader).unload()


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, Code.RESOURCE_EXHAUSTED), (errno.EROFS, Code.FAILED_PRECONDITION)],
)
def test_a_fault_of_the_own_disk_is_told_with_the_path(
    bench: Bench, uri: str, number: int, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: VersionCopies, uri: str) -> HeldCopy:
        raise OSError(number, os.strerror(number), "/cache/x")

    monkeypatch.setattr(VersionCopies, "fetch", fail)
    with pytest.raises(ServingError) as error:
        bench.models.loader(uri, bench.make_loader).load()
    assert error.value.status == f"{code.name}: /cache/x; {os.strerror(number)}"


def test_paths_of_this_machine_are_no_matter_of_the_cache(bench: Bench, tmp_path: Path) -> None:
    bench.models.want("m", ["/models/m/1"])
    assert not (tmp_path / "cache").exists()


def test_passwords_are_in_no_error(bench: Bench) -> None:
    with pytest.raises(ServingError) as error:
        bench.models.loader("ftp://me:password@127.0.0.1:1/m/1", bench.make_loader).load()
    assert isinstance(error.value, Unavailable)
    assert "password" not in error.value.message
    assert "ftp://***@127.0.0.1:1/m/1; " in error.value.message
