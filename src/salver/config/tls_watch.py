"""Watches the files of the ports' identities: what is put in their place is served next.

A thread looks at times and sizes once a second, and reads only what has changed: files with
keys are not to be opened without need.
"""

import asyncio
import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import Sequence

from salver.config.text_file import NoSuchMessage
from salver.config.tls import read_tls_file
from salver.errors import ServingError
from salver.transport.tls import ServerCredentials, ServerIdentity

logger = logging.getLogger(__name__)

_PERIOD_S = 1.0
# A file may change twice within one tick of its file system's clock.
_SETTLED_NS = 2 * 10**9

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last changes of a file in nanoseconds."""
_MISSING: Stamp = (0, 0, 0, 0, 0)


class Watch:
    """What to do about what is found in the place of the credentials that are served."""

    def __init__(self, served: ServerCredentials) -> None:
        self.paths = served.paths
        self._material = served.material
        self._stamps: list[Stamp] = []
        self._has_settled = False
        self._fault = ""
        self._reported = ""

    def must_read(self, stamps: list[Stamp], now_ns: int) -> bool:
        """Whether the files have to be read: they changed, may have, or were not good."""
        must = stamps != self._stamps or not self._has_settled or self._fault != ""
        self._stamps = stamps
        self._has_settled = all(
            stamp != _MISSING and now_ns - max(stamp[3:]) > _SETTLED_NS for stamp in stamps
        )
        return must

    def are_new(self, found: ServerCredentials) -> bool:
        """The files are good: whether they say anything new."""
        is_new = found.material != self._material
        self.paths = found.paths
        self._material = found.material
        self._fault = self._reported = ""
        return is_new

    def is_news(self, fault: str) -> bool:
        """The files are not good: whether somebody should be told.

        Once, and only of what is still there at the next look: of a key and its
        certificate one is written before the other.
        """
        is_news = fault == self._fault and fault != self._reported
        self._fault = fault
        if is_news:
            self._reported = fault
        return is_news


class CertificateWatcher:
    """The thread; what it finds it hands to the loop."""

    def __init__(self, identities: Sequence[ServerIdentity]) -> None:
        self._watches = [(identity, Watch(identity.credentials)) for identity in identities]
        self._ending = threading.Event()

    def start(self) -> None:
        """Watch from now on. To be called on the loop."""
        for identity, _ in self._watches:
            fingerprint = identity.credentials.fingerprint
            logger.info("%s: the certificate has SHA-256 %s", identity.path, fingerprint)
        if self._watches:
            # A daemon: storage that does not answer must not keep the server from its end.
            threading.Thread(
                target=self._run,
                args=(asyncio.get_running_loop(),),
                name="certificate watcher",
                daemon=True,
            ).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._ending.set()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ending.wait(_PERIOD_S):
            for identity, watch in self._watches:
                try:
                    found = look(watch)
                except Exception:
                    logger.exception("Unexpected error while looking at %s", identity.path)
                    continue
                if found is not None:
                    with contextlib.suppress(RuntimeError):  # The loop has ended meanwhile.
                        loop.call_soon_threadsafe(_replace, identity, found)


def _replace(identity: ServerIdentity, found: ServerCredentials) -> None:
    identity.credentials = found
    logger.info("%s: replaced, the certificate has SHA-256 %s", identity.path, found.fingerprint)


def look(watch: Watch) -> ServerCredentials | None:
    """Look at the files once: what is to be served from now on, if that is something new."""
    try:
        stamps = [_stamp(path) for path in watch.paths]
    except ValueError:
        return None  # A pipe has been read at the start, and will not say it again.
    if not watch.must_read(stamps, time.time_ns()):
        return None
    try:
        found = read_tls_file(watch.paths[0])
    except ServingError as error:
        place = f" ({error.place})" if isinstance(error, NoSuchMessage) else ""
        if watch.is_news(error.message + place):
            logger.error("The old certificate is served on: %s%s", error.message, place)
        return None
    return found if watch.are_new(found) else None


def _stamp(path: str) -> Stamp:
    """What can be seen of a file without reading it.

    Raises:
        ValueError: it is no regular file.
    """
    try:
        status = os.stat(path)
    except OSError:
        return _MISSING
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(path)
    times = status.st_mtime_ns, status.st_ctime_ns
    return (status.st_dev, status.st_ino, status.st_size, *times)
