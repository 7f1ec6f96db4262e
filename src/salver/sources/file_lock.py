"""Locks between processes: files that are locked by those who have them open.

The system frees a lock when its holder ends, however that comes about. A lock file may be removed
by whoever holds it alone.
"""

import fcntl
import os
from typing import Literal

Kind = Literal["shared", "alone"]


class FileLock:
    """A lock that is held, until `release`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it; no effect if done already. The time of the file tells when it was."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.utime(descriptor)
            os.close(descriptor)

    def remove(self) -> None:
        """Take away the file of a lock that is held alone, and release it."""
        os.unlink(self._path)
        self.release()

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock(path: str, kind: Kind) -> FileLock:
    """Wait for the lock and take it; the file is made where it is missing.

    Raises:
        OSError: the file cannot be made or locked.
    """
    taken = _take(path, kind, 0)
    assert taken is not None
    return taken


def try_lock(path: str, kind: Kind) -> FileLock | None:
    """The lock, or None if another holder stands against it.

    Raises:
        OSError: the file cannot be made or locked.
    """
    return _take(path, kind, fcntl.LOCK_NB)


def _take(path: str, kind: Kind, flags: int) -> FileLock | None:
    operation = (fcntl.LOCK_SH if kind == "shared" else fcntl.LOCK_EX) | flags
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            if _is_still_there(path, descriptor):
                os.utime(descriptor)
                return FileLock(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # Removed by its last holder meanwhile: the next one is another file.


def _is_still_there(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
