import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from salver.config.tls import read_tls_file
from salver.config.tls_watch import CertificateWatcher, Stamp, Watch, look
from salver.transport.tls import ServerIdentity
from tests.certificates import Authority, Pair, ssl_config, text_of

AUTHORITY = Authority()
OLD, NEW = AUTHORITY.issue(), AUTHORITY.issue()
SECOND = 10**9
NOW = 1000 * SECOND
LONG_AGO = 900 * SECOND


def stamp(changed: int = LONG_AGO, inode: int = 1, size: int = 5) -> Stamp:
    return (1, inode, size, changed, changed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tls.config"
    path.write_text(ssl_config(OLD))
    return path


def watch_of(path: Path) -> Watch:
    return Watch(read_tls_file(str(path)))


def put(path: Path, text: str) -> None:
    """Replace a file as careful people do: at once."""
    new = path.with_name("new")
    new.write_text(text)
    new.rename(path)


# --- decisions -----------------------------------------------------------------------


def test_what_has_not_changed_is_not_read_again(path: Path) -> None:
    watch = watch_of(path)
    assert watch.must_read([stamp()], NOW)
    for second in range(3):
        assert not watch.must_read([stamp()], NOW + second * SECOND)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param([stamp(inode=2)], id="another file"),
        pytest.param([stamp(size=6)], id="another size"),
        pytest.param([stamp(changed=LONG_AGO + 1)], id="another time"),
        pytest.param([(0, 0, 0, 0, 0)], id="gone"),
        pytest.param([stamp(), stamp()], id="one file more"),
    ],
)
def test_what_has_changed_is_read(path: Path, after: list[Stamp]) -> None:
    watch = watch_of(path)
    assert watch.must_read([stamp()], NOW)
    assert watch.must_read(after, NOW)


def test_a_file_that_changed_a_moment_ago_may_have_changed_again(path: Path) -> None:
    watch = watch_of(path)
    young = [stamp(changed=NOW - SECOND)]
    assert watch.must_read(young, NOW)
    assert watch.must_read(young, NOW + SECOND // 2)
    assert watch.must_read(young, NOW + 2 * SECOND)
    assert not watch.must_read(young, NOW + 3 * SECOND)


def test_a_missing_file_is_looked_for_every_time(path: Path) -> None:
    watch = watch_of(path)
    for _ in range(3):
        assert watch.must_read([(0, 0, 0, 0, 0)], NOW)


def test_what_was_not_good_is_read_until_it_is(path: Path) -> None:
    watch = watch_of(path)
    assert watch.must_read([stamp()], NOW)
    watch.is_news("broken")
    assert watch.must_read([stamp()], NOW)
    assert not watch.are_new(read_tls_file(str(path)))
    assert not watch.must_read([stamp()], NOW)


def test_a_fault_is_told_once_and_only_if_it_lasts(path: Path) -> None:
    watch = watch_of(path)
    looks = ["a", "a", "a", "b", "a", "b", "b", "b"]
    assert [watch.is_news(fault) for fault in looks] == [
        False, True, False, False, False, False, True, False
    ]  # fmt: skip


def test_a_fault_that_comes_back_after_a_repair_is_told_again(path: Path) -> None:
    watch = watch_of(path)
    good = read_tls_file(str(path))
    for _ in range(2):
        assert [watch.is_news("a"), watch.is_news("a")] == [False, True]
        assert not watch.are_new(good)


# --- looks at files ------------------------------------------------------------------


def test_a_new_text_is_found(path: Path) -> None:
    watch = watch_of(path)
    assert look(watch) is None
    put(path, ssl_config(NEW))
    found = look(watch)
    assert found is not None
    assert found.material.key == NEW.key
    assert look(watch) is None


def test_a_text_that_was_only_touched_is_not_new(path: Path) -> None:
    watch = watch_of(path)
    put(path, ssl_config(OLD))
    assert look(watch) is None


def test_a_file_that_was_changed_in_place_and_given_its_old_time_is_read(path: Path) -> None:
    old, new = ssl_config(OLD), ssl_config(NEW)
    size = max(len(old), len(new))
    path.write_text(old.ljust(size, "\n"))
    watch = watch_of(path)
    status = path.stat()
    path.write_text(new.ljust(size, "\n"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, status.st_mtime_ns)
    found = look(watch)
    assert found is not None
    assert found.material.key == NEW.key


def test_the_files_that_the_text_names_are_watched_too(path: Path, tmp_path: Path) -> None:
    cert, key = OLD.write(tmp_path, "tls")
    path.write_text(text_of(key, cert))
    watch = watch_of(path)
    assert look(watch) is None
    NEW.write(tmp_path, "tls")
    found = look(watch)
    assert found is not None
    assert (found.material.key, found.paths) == (NEW.key, (str(path), key, cert))


def test_files_that_a_new_text_names_are_watched_from_then_on(path: Path, tmp_path: Path) -> None:
    watch = watch_of(path)
    cert, key = OLD.write(tmp_path, "tls")
    put(path, text_of(key, cert))
    assert look(watch) is None  # Another place, the same certificate.
    NEW.write(tmp_path, "tls")
    assert look(watch) is not None


def mount(folder: Path, pair: Pair, generation: str) -> None:
    """Put files into a folder as Kubernetes does with secrets: behind a link that is swapped."""
    data = folder / generation
    data.mkdir(parents=True)
    (data / "tls.crt").write_text(pair.certificates)
    (data / "tls.key").write_text(pair.key)
    new = folder / "..data_tmp"
    new.symlink_to(generation)
    new.rename(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


def test_secrets_that_kubernetes_swaps_by_a_link_are_found(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "secret"
    mount(folder, OLD, "..2026_01_01")
    path.write_text(text_of(f"{folder}/tls.key", f"{folder}/tls.crt"))
    watch = watch_of(path)
    assert look(watch) is None
    mount(folder, NEW, "..2026_02_01")
    found = look(watch)
    assert found is not None
    assert found.material.certificates == NEW.certificates


def test_a_configuration_that_kubernetes_swaps_by_a_link_is_found(tmp_path: Path) -> None:
    for generation, pair in (("1", OLD), ("2", NEW)):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "tls.config").write_text(ssl_config(pair))
    data, path = tmp_path / "..data", tmp_path / "tls.config"
    data.symlink_to("1")
    path.symlink_to("..data/tls.config")
    watch = watch_of(path)
    new = tmp_path / "..data_tmp"
    new.symlink_to("2")
    new.rename(data)
    found = look(watch)
    assert found is not None
    assert found.material.key == NEW.key


def test_a_key_that_comes_before_its_certificate_is_no_fault(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = OLD.write(tmp_path, "tls")
    path.write_text(text_of(key, cert))
    watch = watch_of(path)
    put(Path(key), NEW.key)
    assert look(watch) is None
    put(Path(cert), NEW.certificates)
    assert look(watch) is not None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "server_key: x",
            "Invalid protobuf file: '{path}' "
            "(Error parsing text-format tensorflow.serving.SSLConfig: 1:13)",
            id="no text proto",
        ),
        pytest.param(
            text_of(NEW.key, OLD.certificates),
            "{path}: server_key does not belong to server_cert",
            id="a key of something else",
        ),
        pytest.param("", "{path}; Invalid argument", id="an empty file"),
        pytest.param(None, "{path}; No such file or directory", id="no file"),
    ],
)
def test_a_broken_replacement_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture, text: str | None, fault: str
) -> None:
    watch = watch_of(path)
    if text is None:
        path.unlink()
    else:
        put(path, text)
    with caplog.at_level(logging.DEBUG):
        for _ in range(5):
            assert look(watch) is None
    assert caplog.messages == [f"The old certificate is served on: {fault.format(path=path)}"]
    put(path, ssl_config(NEW))
    assert look(watch) is not None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "tls.config"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(ssl_config(OLD),))
    writer.start()
    watch = watch_of(path)
    writer.join()
    assert look(watch) is None


# --- the thread ----------------------------------------------------------------------


async def test_the_watcher_replaces_what_is_served(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity = ServerIdentity(str(path), read_tls_file(str(path)))
    watcher = CertificateWatcher([identity])
    with caplog.at_level(logging.INFO):
        watcher.start()
        first = identity.credentials
        put(path, ssl_config(NEW))
        async with asyncio.timeout(20):
            while identity.credentials is first:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.01)
        watcher.stop()
    assert identity.credentials.material.key == NEW.key
    assert caplog.messages == [
        f"{path}: the certificate has SHA-256 {first.fingerprint}",
        f"{path}: replaced, the certificate has SHA-256 {identity.credentials.fingerprint}",
    ]


async def test_nothing_to_watch_needs_no_thread() -> None:
    before = threading.active_count()
    CertificateWatcher([]).start()
    assert threading.active_count() == before
