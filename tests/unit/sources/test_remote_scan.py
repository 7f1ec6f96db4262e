"""A source over remote storage: what it aspires, what it asks for, what it says."""

from collections.abc import AsyncIterator, Collection

import pytest

from salver.core.version_policy import All, Latest, Specific, VersionPolicy
from salver.errors import PermissionDenied
from salver.sources.file_system import FileSystemSource, ModelSource
from salver.sources.listing import Listing
from salver.sources.model_cache import ModelCache
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_storage import RemoteStorage
from salver.sources.uploads import Uploads
from tests.fakes import FakeTarget, PathLoader
from tests.unit.sources.memory_bucket import MODEL_FILE, MemoryBucket

ACCESS_ERROR = "FileSystemStoragePathSource encountered a filesystem access error: "


def lacking(names: Collection[str]) -> str | None:
    return None if MODEL_FILE in names else MODEL_FILE


class CountedFiles(RemoteFiles):
    """Keeps what was listed, and fails where told."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.error: Exception | None = None

    def names(self, uri: str) -> list[str]:
        self.asked.append(uri)
        if self.error is not None:
            raise self.error
        return super().names(uri)

    def listing(self, uri: str) -> Listing:
        self.asked.append(uri)
        return super().listing(uri)

    def take(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


class Watch:
    """A source over a bucket that looks only when told to."""

    def __init__(self, bucket: MemoryBucket, cache: ModelCache) -> None:
        self.bucket = bucket
        self.files = CountedFiles()
        self.uploads = Uploads()
        self.target = FakeTarget()
        self.wanted: list[tuple[str, list[str]]] = []
        self.source = FileSystemSource(
            poll_wait_s=-1,
            make_loader=lambda id_, path: PathLoader(path),
            target=self.target,
            storage=RemoteStorage(self.files, self.uploads, cache, lacking),
            on_aspired=lambda name, paths: self.wanted.append((name, sorted(paths))),
        )

    def model(self, policy: VersionPolicy | None = None, name: str = "m") -> ModelSource:
        return ModelSource(name, self.bucket.uri, policy or Latest())

    async def scan(self) -> list[tuple[str, list[int]]]:
        await self.source.scan_now()
        return self.target.take()


@pytest.fixture
async def watch(
    bucket: MemoryBucket, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Watch]:
    watch = Watch(bucket, ModelCache(str(tmp_path_factory.mktemp("cache"))))
    await watch.source.start()
    watch.source.set_models([watch.model()])
    yield watch
    await watch.source.stop()


async def test_versions_are_aspired_with_their_uris(watch: Watch) -> None:
    watch.bucket.put_version("00000010")
    watch.bucket.put_version("7")
    watch.bucket.put("note")
    assert await watch.scan() == [("m", [10])]
    assert watch.target.paths["m", 10] == "memory://models/m/00000010"


async def test_a_look_costs_one_listing_and_one_more_for_each_new_version(watch: Watch) -> None:
    watch.bucket.put_version("1")
    await watch.scan()
    assert watch.files.take() == ["memory://models/m", "memory://models/m/1"]
    await watch.scan()
    assert watch.files.take() == ["memory://models/m"]
    watch.bucket.put_version("2")
    await watch.scan()
    assert watch.files.take() == ["memory://models/m", "memory://models/m/2"]
    watch.source.set_models([watch.model(Specific((1, 2)))])
    await watch.scan()
    assert watch.files.take() == ["memory://models/m"]


async def test_a_version_without_its_model_file_is_held_back(watch: Watch) -> None:
    watch.bucket.put_version("1")
    assert await watch.scan() == [("m", [1])]
    watch.bucket.put("2/variables/x")
    assert await watch.scan() == []
    watch.bucket.put_version("2")
    assert await watch.scan() == [("m", [2])]


async def test_a_version_that_was_tried_half_written_gives_way_until_it_has_settled(
    watch: Watch,
) -> None:
    watch.bucket.put_version("1")
    await watch.scan()
    watch.bucket.put_version("2")
    assert await watch.scan() == [("m", [2])]
    uri = watch.bucket.version("2")
    watch.uploads.lacking(uri, watch.files.listing(uri).fingerprint)
    assert await watch.scan() == [("m", [1])]
    assert await watch.scan() == []
    watch.bucket.put("2/variables/x")
    assert await watch.scan() == []
    watch.bucket.put("2/variables/y")
    assert await watch.scan() == []
    assert await watch.scan() == [("m", [2])]


async def test_without_another_version_one_that_was_half_written_is_tried_again(
    watch: Watch,
) -> None:
    watch.bucket.put_version("1")
    assert await watch.scan() == [("m", [1])]
    uri = watch.bucket.version("1")
    watch.uploads.moving(uri, watch.files.listing(uri).fingerprint)
    assert await watch.scan() == []
    assert await watch.scan() == [("m", []), ("m", [1])]
    assert await watch.scan() == []


async def test_a_base_path_without_objects_is_missing_and_keeps_what_is_served(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.bucket.put_version("1")
    watch.bucket.put_version("2")
    assert await watch.scan() == [("m", [2])]
    watch.bucket.remove("")
    assert await watch.scan() == []
    assert caplog.messages == [
        f"{ACCESS_ERROR}Could not find base path memory://models/m for servable m with error "
        "NOT_FOUND: memory://models/m; No such file or directory"
    ]


async def test_a_fault_is_told_once_until_it_is_over(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "salver")
    watch.bucket.put_version("1")
    await watch.scan()
    for request in ("4442587FB7D0A2F9", "5552587FB7D0A2F9", "6662587FB7D0A2F9"):
        watch.files.error = PermissionDenied(f"no (request {request})")
        assert await watch.scan() == []
    watch.files.error = PermissionDenied("no, and never will")
    await watch.scan()
    watch.files.error = None
    await watch.scan()
    watch.files.error = PermissionDenied("no, and never will")
    await watch.scan()
    start = f"{ACCESS_ERROR}Could not find base path memory://models/m for servable m with error"
    assert caplog.messages == [
        f"{start} PERMISSION_DENIED: no (request 4442587FB7D0A2F9)",
        f"{start} PERMISSION_DENIED: no, and never will",
        "Base path memory://models/m of servable m can be read again",
        f"{start} PERMISSION_DENIED: no, and never will",
    ]


async def test_a_warning_is_told_once_until_it_is_over(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.bucket.put("note")
    for _ in range(3):
        await watch.scan()
    watch.bucket.put_version("1")
    await watch.scan()
    watch.bucket.remove("1")
    for _ in range(3):
        await watch.scan()
    assert len(caplog.messages) == 2
    assert caplog.messages[0] == caplog.messages[1]
    assert caplog.messages[0].startswith("No versions of servable m found under base path memory:")


async def test_a_fault_of_one_model_concerns_no_other(watch: Watch) -> None:
    watch.bucket.put_version("1")
    other = ModelSource("n", "memory://models/none")
    watch.source.set_models([other, watch.model()])
    assert await watch.scan() == [("m", [1])]


async def test_names_with_blanks_zeros_and_signs_are_versions(watch: Watch) -> None:
    for name in ("-5", "0", "+7", "8 "):
        watch.bucket.put_version(name)
    watch.source.set_models([watch.model(All())])
    assert await watch.scan() == [("m", [8, 7, 0, -5])]


async def test_what_is_aspired_is_told_before_copies_may_go(watch: Watch) -> None:
    watch.bucket.put_version("1")
    watch.bucket.put_version("2")
    watch.source.set_models([watch.model(Latest(2))])
    await watch.scan()
    await watch.scan()
    watch.bucket.remove("1")
    await watch.scan()
    watch.source.set_models([])
    assert watch.wanted == [
        ("m", ["memory://models/m/1", "memory://models/m/2"]),
        ("m", ["memory://models/m/1", "memory://models/m/2"]),
        ("m", ["memory://models/m/2"]),
        ("m", []),
    ]


async def test_passwords_in_a_base_path_are_not_logged(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.source.set_models([ModelSource("n", "memory://me:word@models/none")])
    await watch.source.scan_now()
    shown = "memory://***@models/none"
    assert caplog.messages == [
        f"{ACCESS_ERROR}Could not find base path {shown} for servable n with error "
        f"NOT_FOUND: {shown}; No such file or directory"
    ]
