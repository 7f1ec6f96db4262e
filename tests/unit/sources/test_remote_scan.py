"""A source over remote storage: what it aspires, what it asks for, what it says."""

import threading
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from salver.core.version_policy import All, Latest, Specific, VersionPolicy
from salver.errors import PermissionDenied, Unavailable
from salver.sources.file_system import FileSystemSource, ModelSource
from salver.sources.kept_copies import KeptCopies
from salver.sources.listing import Listing
from salver.sources.model_cache import ModelCache
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_storage import RemoteStorage
from salver.sources.uploads import Uploads
from salver.sources.version_copies import VersionCopies
from tests.fakes import LIMIT_S, FakeTarget, PathLoader
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
        self.before: Callable[[], object] = lambda: None

    def names(self, uri: str) -> list[str]:
        self.asked.append(uri)
        self.before()
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
        self.cache = cache
        self.kept = KeptCopies(cache)
        self.files = CountedFiles()
        self.uploads = Uploads()
        self.target = FakeTarget()
        self.wanted: list[tuple[str, list[str]]] = []
        self.source = self.new_source(poll_wait_s=-1)

    def new_source(self, poll_wait_s: float) -> FileSystemSource[str]:
        return FileSystemSource(
            poll_wait_s=poll_wait_s,
            make_loader=lambda id_, path: PathLoader(path),
            target=self.target,
            storage=RemoteStorage(self.files, self.uploads, self.cache, self.kept, lacking),
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


# --- storage that is down from the start ----------------------------------------------


def copy_of(watch: Watch, name: str) -> None:
    """Let there be a copy of a version that an earlier process has served."""
    watch.bucket.put_version(name)
    copies = VersionCopies(
        RemoteFiles(), watch.cache, watch.kept, Uploads(), lacking, lambda folder: None
    )
    copies.fetch(watch.bucket.version(name)).release()


@pytest.mark.parametrize(
    ("policy", "served"),
    [(Latest(), [8]), (Latest(2), [8, 7]), (All(), [8, 7, 6]), (Specific((6, 9)), [6])],
)
async def test_what_the_policy_chooses_of_the_copies_is_served_while_storage_is_down(
    watch: Watch, caplog: pytest.LogCaptureFixture, policy: VersionPolicy, served: list[int]
) -> None:
    for name in ("6", "7", "8"):
        copy_of(watch, name)
    watch.files.error = Unavailable("no route")
    watch.source.set_models([watch.model(policy)])
    assert await watch.scan() == [("m", served)]
    assert await watch.scan() == []
    assert watch.target.paths["m", served[0]] == watch.bucket.version(str(served[0]))
    assert watch.wanted[-1] == ("m", sorted(watch.bucket.version(str(v)) for v in served))
    lines = [line for line in caplog.messages if "local cache" in line]
    assert lines == [
        f"Base path {watch.bucket.uri} of servable m has not answered since the start: until it "
        f"does, what the local cache has of it is served, version {', '.join(map(str, served))}"
    ]


async def test_when_storage_answers_what_it_has_is_served(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    copy_of(watch, "7")
    watch.files.error = Unavailable("no route")
    assert await watch.scan() == [("m", [7])]
    watch.target.available = {"m": (7,)}
    watch.files.error = None
    # The same version is the same servable, and goes on.
    assert await watch.scan() == []
    assert f"Base path {watch.bucket.uri} of servable m can be read again" in caplog.messages
    watch.bucket.put_version("8")
    assert await watch.scan() == [("m", [8])]


async def test_a_copy_that_could_not_be_loaded_gives_way_to_the_storage(watch: Watch) -> None:
    copy_of(watch, "7")
    watch.files.error = Unavailable("no route")
    assert await watch.scan() == [("m", [7])]
    watch.files.error = None
    assert await watch.scan() == [("m", []), ("m", [7])]


async def test_storage_that_refuses_an_answer_gives_no_copy_away(watch: Watch) -> None:
    copy_of(watch, "7")
    watch.files.error = PermissionDenied("go away")
    assert await watch.scan() == []


async def test_storage_that_has_answered_once_keeps_what_is_served(watch: Watch) -> None:
    watch.bucket.put_version("6")
    assert await watch.scan() == [("m", [6])]
    copy_of(watch, "7")
    watch.files.error = Unavailable("no route")
    assert await watch.scan() == []


async def test_without_a_copy_there_is_nothing_to_serve(watch: Watch) -> None:
    watch.bucket.put_version("7")
    watch.files.error = Unavailable("no route")
    assert await watch.scan() == []
    watch.source.set_models([watch.model(Specific((5,)))])
    copy_of(watch, "7")
    assert await watch.scan() == []


async def test_while_the_first_look_hangs_the_copies_are_served(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.sources.file_system._TOLD_AFTER_S", 0.01)
    copy_of(watch, "7")
    gate = threading.Event()
    watch.files.before = lambda: gate.wait(LIMIT_S)
    source = watch.new_source(poll_wait_s=0.01)
    source.set_models([watch.model()])
    await source.start()
    await watch.target.until("m", [7])
    watch.bucket.put_version("8")
    gate.set()
    await watch.target.until("m", [8])
    await source.stop()
