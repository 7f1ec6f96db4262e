import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from salver.sources.file_lock import lock, try_lock
from tests.fakes import LIMIT_S


def test_many_may_share_and_only_one_may_be_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with lock(path, "shared"), lock(path, "shared"):
        assert try_lock(path, "alone") is None
    with lock(path, "alone"):
        assert try_lock(path, "shared") is None
        assert try_lock(path, "alone") is None
    with lock(path, "shared"):
        pass


def test_releasing_twice_does_no_harm(tmp_path: Path) -> None:
    held = lock(str(tmp_path / "lock"), "alone")
    held.release()
    other = lock(str(tmp_path / "lock"), "alone")
    held.release()
    assert try_lock(str(tmp_path / "lock"), "alone") is None
    other.release()


def test_who_waits_for_a_lock_that_is_removed_gets_a_new_one(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = lock(path, "alone")
    got: list[bool] = []
    waiter = threading.Thread(target=lambda: got.append(lock(path, "alone") is not None))
    waiter.start()
    first.remove()
    waiter.join(LIMIT_S)
    assert got == [True]
    assert os.path.exists(path)


def test_the_end_of_a_process_frees_its_locks(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    code = (
        "import sys; from salver.sources.file_lock import lock\n"
        "held = lock(sys.argv[1], 'alone'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert try_lock(path, "shared") is None
        holder.kill()
        holder.wait(LIMIT_S)
        with lock(path, "alone"):
            pass


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="lock"):
        lock(str(tmp_path / "lock"), "alone")
    assert not (tmp_path / "elsewhere").exists()
