import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from salver.errors import FailedPrecondition
from salver.sources.file_lock import FileLock
from salver.sources.model_cache import UNUSED_S, ModelCache, Place, default_root
from tests.unit.sources.waiting import wait_until

BASE = "s3://bucket/models/m"
ONE, TWO = f"{BASE}/1", f"{BASE}/2"


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


@pytest.fixture
def cache(root: str) -> ModelCache:
    return ModelCache(root)


def put(cache: ModelCache, uri: str, fingerprint: str = "f") -> str:
    """Let there be a copy, used by nobody; its folder."""
    place = cache.place(uri)
    folder = place.copy(fingerprint)
    os.mkdir(folder)
    (Path(folder) / "content").touch()
    cache.use(place, fingerprint).release()
    return folder


def gone(*folders: str) -> Callable[[], bool]:
    return lambda: not any(os.path.exists(path) for f in folders for path in (f, f + ".lock"))


def test_places_are_private_and_say_what_they_are_for(cache: ModelCache, root: str) -> None:
    place = cache.place(ONE)
    assert os.path.basename(place.base).startswith("s3-bucket-models-m-")
    assert place.version == "1"
    for folder in (root, place.base):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_each_base_path_and_version_has_a_place_of_its_own(cache: ModelCache) -> None:
    uris = [ONE, TWO, "s3://bucket/models-m/1", "gs://bucket/models/m/1", f"{BASE}/ 1"]
    assert len({cache.place(uri) for uri in uris}) == len(uris)


@pytest.mark.parametrize("name", ["..", "a/../..", ".", "1\n2", "\0", "ä" * 100])
def test_no_name_leads_out_of_the_cache(cache: ModelCache, root: str, name: str) -> None:
    place = cache.place(f"s3://../../{name}/{name}")
    for path in (place.base, place.part, place.copy("f")):
        assert os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)
    assert os.path.dirname(place.part) == place.base


def test_secrets_are_in_no_name(cache: ModelCache) -> None:
    assert "word" not in cache.place("ftp://me:word@host/m/1").base


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_folder_that_others_may_enter_is_refused(cache: ModelCache, mode: int) -> None:
    os.chmod(cache.place(ONE).base, mode)
    with pytest.raises(FailedPrecondition, match="nobody else may enter"):
        cache.expect(BASE)


def test_a_link_in_the_place_of_a_folder_is_refused(cache: ModelCache, tmp_path: Path) -> None:
    base = cache.place(ONE).base
    os.rmdir(base)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    os.symlink(tmp_path / "elsewhere", base)
    with pytest.raises(FailedPrecondition, match="nobody else may enter"):
        cache.expect(BASE)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailedPrecondition, match=r"^--model_cache_dir: .*file.*; Not a directory$"):
        ModelCache(str(tmp_path / "file" / "cache")).expect(BASE)


def test_the_default_lies_with_the_other_caches_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/caches")
    assert default_root() == "/var/caches/salver/models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == "/home/me/.cache/salver/models"


def test_a_copy_of_a_version_that_is_not_wanted_any_more_is_deleted(cache: ModelCache) -> None:
    one, two = put(cache, ONE), put(cache, TWO)
    cache.want("m", [ONE, TWO])
    cache.want("m", [TWO])
    wait_until(gone(one))
    assert os.path.exists(two)


def test_a_copy_that_is_used_stays_until_it_is_released(cache: ModelCache) -> None:
    one, two = put(cache, ONE), put(cache, TWO)
    held = cache.use(cache.place(ONE), "f")
    cache.want("m", [ONE, TWO])
    cache.want("m", [])
    wait_until(gone(two))
    assert os.path.exists(one)
    held.release()
    cache.sweep()
    wait_until(gone(one))


def test_what_another_model_wants_stays(cache: ModelCache) -> None:
    one, two = put(cache, ONE), put(cache, TWO)
    cache.want("m", [ONE, TWO])
    cache.want("n", [ONE])
    cache.want("m", [])
    wait_until(gone(two))
    assert os.path.exists(one)


def test_copies_stay_until_it_is_known_what_is_wanted_of_their_base_path(root: str) -> None:
    earlier, later = ModelCache(root), "s3://bucket/models/later/1"
    one, unknown = put(earlier, ONE), put(earlier, later)
    cache = ModelCache(root)
    cache.expect(BASE)
    cache.expect(later.rpartition("/")[0])
    cache.want("m", [TWO])
    wait_until(gone(one))
    assert os.path.exists(unknown)
    cache.want("later", [f"{later}2"])
    wait_until(gone(unknown))


def test_copies_are_listed_with_their_fingerprints_from_the_oldest(cache: ModelCache) -> None:
    negative = f"{BASE}/-5"
    for seconds, (uri, fingerprint) in enumerate(
        [(TWO, "b"), (ONE, "z"), (ONE, "a"), (negative, "c")]
    ):
        os.utime(put(cache, uri, fingerprint), (seconds, seconds))
    os.mkdir(cache.place(f"{BASE}/-6").part)
    found = [(place.version, fingerprint) for place, fingerprint in cache.copies(f"{BASE}/")]
    assert found == [("2", "b"), ("1", "z"), ("1", "a"), ("-5", "c")]
    assert cache.copies("s3://bucket/models/none") == []


def test_an_older_content_of_a_version_goes_when_a_newer_one_is_served(cache: ModelCache) -> None:
    old, new = put(cache, ONE, "old"), put(cache, ONE, "new")
    cache.want("m", [ONE])
    cache.served_from(cache.place(ONE), "new")
    wait_until(gone(old))
    assert os.path.exists(new)


def test_what_is_half_copied_goes_with_its_version(cache: ModelCache) -> None:
    place = cache.place(ONE)
    writing = cache.begin_copy(place)
    os.mkdir(place.part)
    other = put(cache, TWO)
    cache.want("m", [ONE, TWO])
    cache.want("m", [])
    wait_until(gone(other))
    assert os.path.exists(place.part)
    writing.release()
    cache.sweep()
    wait_until(lambda: os.listdir(place.base) == [])


def test_another_process_that_uses_a_copy_keeps_it(root: str) -> None:
    ours, theirs = ModelCache(root), ModelCache(root)
    one, two = put(ours, ONE), put(ours, TWO)
    held: FileLock = theirs.use(theirs.place(ONE), "f")
    ours.want("m", [ONE, TWO])
    ours.want("m", [])
    wait_until(gone(two))
    assert os.path.exists(one)
    held.release()


def age(place: Place, fingerprint: str, seconds: float) -> None:
    path = place.copy(fingerprint) + ".lock"
    then = os.stat(path).st_mtime - seconds
    os.utime(path, (then, then))


def test_of_base_paths_that_are_not_served_what_was_long_unused_is_deleted(root: str) -> None:
    earlier = ModelCache(root)
    forgotten, recent = "s3://bucket/forgotten/1", "s3://bucket/recent/1"
    old, young, own = put(earlier, forgotten), put(earlier, recent), put(earlier, ONE)
    age(earlier.place(forgotten), "f", UNUSED_S + 60)
    age(earlier.place(recent), "f", UNUSED_S - 60)
    age(earlier.place(ONE), "f", UNUSED_S + 60)
    cache = ModelCache(root)
    cache.expect(BASE)
    cache.want("m", [ONE])
    wait_until(lambda: not os.path.exists(os.path.dirname(old)))
    assert os.path.exists(young)
    assert os.path.exists(own)


def test_without_a_remote_model_nothing_is_made(cache: ModelCache, root: str) -> None:
    cache.want("m", [])
    cache.sweep()
    assert not os.path.exists(root)
