"""The folder with local copies of versions from remote storage: who may use, make and delete them.

    <cache>/<base path, abridged>-<hash>/<version>-<fingerprint>/      a whole copy
                                         <version>-<fingerprint>.lock  held by those who use it
                                         <version>.part/               a copy that is being made
                                         <version>.copying             held by the one who makes it

Several processes may share the folder. A copy appears under its name whole, by renaming; it is
deleted only by one who holds its lock alone. What is deleted: of the base paths that this process
serves from, all that it no longer wants, as soon as it has wanted anything; of others, what was not
used for a week.
"""

import hashlib
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter

from salver.errors import FailedPrecondition
from salver.sources.file_lock import FileLock, lock, try_lock
from salver.sources.uri import redacted

_logger = logging.getLogger(__name__)

UNUSED_S = 7 * 24 * 3600.0
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_LOCK, _COPYING, _PART = ".lock", ".copying", ".part"


@dataclass(frozen=True, slots=True)
class Place:
    """Where copies of one version lie."""

    base: str
    """The folder of its base path."""
    version: str
    """The version's name, as far as it can be that of a file here."""

    @property
    def part(self) -> str:
        """The folder of a copy that is being made."""
        return os.path.join(self.base, self.version + _PART)

    def copy(self, fingerprint: str) -> str:
        """The folder of the copy with these contents."""
        return os.path.join(self.base, f"{self.version}-{fingerprint}")


def default_root() -> str:
    """Where copies lie if nothing else is said: with the other caches of the user."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(caches, "salver", "models")


class ModelCache:
    """Hands out places and locks, and deletes what nobody wants. From any thread."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._bases: set[str] = set()
        self._told: set[str] = set()
        """Bases of which it is known what is wanted: copies in others may be, once it is."""
        self._spared: set[str] = set()
        """Bases in which nothing is deleted."""
        self._wanted: dict[str, frozenset[Place]] = {}
        self._current: dict[Place, str] = {}
        self._guard = threading.Lock()
        self._sweeping = False
        self._asked_again = False
        self._has_swept_others = False

    def expect(self, base_path: str) -> None:
        """Be ready for copies from this base path.

        Raises:
            FailedPrecondition: there can be no private folder for them.
        """
        base = self._base(base_path)
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
            os.makedirs(base, mode=0o700, exist_ok=True)
            status = os.stat(base, follow_symlinks=False)
        except OSError as error:
            raise FailedPrecondition(
                f"--model_cache_dir: {error.filename or base}; {error.strerror}"
            ) from error
        is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if not is_private or status.st_uid != os.geteuid():
            raise FailedPrecondition(
                f"--model_cache_dir: {base} must be a folder that belongs to the user of this "
                "server and that nobody else may enter"
            )
        with self._guard:
            self._bases.add(base)

    def place(self, uri: str) -> Place:
        """Where copies of the version at `uri` lie.

        Raises:
            FailedPrecondition: as `expect`.
        """
        base_path, _, name = uri.rpartition("/")
        self.expect(base_path)
        return self._place(base_path, name)

    def copies(self, base_path: str) -> list[tuple[Place, str]]:
        """The copies of versions under a base path, with their fingerprints, oldest first.

        Raises:
            FailedPrecondition: as `expect`.
            OSError: they cannot be listed.
        """
        self.expect(base_path)
        base = self._base(base_path)
        found = []
        with os.scandir(base) as entries:
            for entry in entries:
                version, dash, fingerprint = entry.name.rpartition("-")
                # Another thread, or another server, may delete one that nobody wants meanwhile.
                with suppress(FileNotFoundError):
                    if dash and _PART not in fingerprint and entry.is_dir(follow_symlinks=False):
                        found.append((entry.stat().st_mtime_ns, Place(base, version), fingerprint))
        return [(place, fingerprint) for _, place, fingerprint in sorted(found, key=itemgetter(0))]

    def spare(self, base_path: str) -> None:
        """Delete nothing of this base path: what a copy was made of may not be there any more."""
        with self._guard:
            self._spared.add(self._base(base_path))

    def spare_no_more(self, base_path: str) -> None:
        """Go on as before `spare`; no effect without that."""
        base = self._base(base_path)
        with self._guard:
            if base not in self._spared:
                return
            self._spared.discard(base)
        self.sweep()

    def use(self, place: Place, fingerprint: str) -> FileLock:
        """Keep a copy from being deleted, whether it is there already or not.

        Raises:
            OSError: the lock file cannot be made.
        """
        return lock(place.copy(fingerprint) + _LOCK, "shared")

    def begin_copy(self, place: Place) -> FileLock:
        """Be the only one who copies this version; waits for others to finish.

        Raises:
            OSError: the lock file cannot be made.
        """
        path = os.path.join(place.base, place.version + _COPYING)
        taken = try_lock(path, "alone")
        if taken is None:
            _logger.info("Waiting until %s is no longer written by another", place.part)
            taken = lock(path, "alone")
        return taken

    def served_from(self, place: Place, fingerprint: str) -> None:
        """This is the copy that counts; older ones of the same version are not wanted."""
        with self._guard:
            self._current[place] = fingerprint
        self.sweep()

    def want(self, name: str, uris: Collection[str]) -> None:
        """These are all versions that a model of this process aspires; free what it does not."""
        places = frozenset(
            self._place(base_path, version)
            for base_path, _, version in (uri.rpartition("/") for uri in uris)
        )
        with self._guard:
            if self._wanted.get(name) == places:
                return
            self._wanted[name] = places
            self._told.update(place.base for place in places)
            wanted = frozenset().union(*self._wanted.values())
            self._current = {p: copy for p, copy in self._current.items() if p in wanted}
        self.sweep()

    def sweep(self) -> None:
        """Delete what nobody wants, soon, on a thread of its own."""
        with self._guard:
            if not self._bases:
                return
            self._asked_again = True
            if self._sweeping:
                return
            self._sweeping = True
        threading.Thread(target=self._sweep_until_done, name="salver-cache", daemon=True).start()

    def _base(self, base_path: str) -> str:
        shown = redacted(base_path.rstrip("/"))
        digest = hashlib.sha256(base_path.rstrip("/").encode()).hexdigest()[:12]
        return os.path.join(self._root, f"{_UNSAFE.sub('-', shown)[-80:].strip('-.')}-{digest}")

    def _place(self, base_path: str, name: str) -> Place:
        return Place(self._base(base_path), _UNSAFE.sub("_", name))

    def _sweep_until_done(self) -> None:
        while True:
            with self._guard:
                if not self._asked_again:
                    self._sweeping = False
                    return
                self._asked_again = False
                bases, told = set(self._bases), self._told - self._spared
                wanted = frozenset().union(*self._wanted.values())
                current = dict(self._current)
            try:
                self._sweep(bases, told, wanted, current)
            except OSError as error:
                _logger.warning("Cannot tidy %s: %s", self._root, error)

    def _sweep(
        self,
        bases: Collection[str],
        told: Collection[str],
        wanted: Collection[Place],
        current: dict[Place, str],
    ) -> None:
        for base in told:
            versions = {place.version for place in wanted if place.base == base}
            copies = {p.copy(fingerprint) for p, fingerprint in current.items() if p in wanted}
            known = {p.version for p in current if p in wanted and p.base == base}
            for path in _locked_things(base):
                version = _version_of(path)
                is_old_copy = path.endswith(_LOCK) and version in known
                if version not in versions or (is_old_copy and path[: -len(_LOCK)] not in copies):
                    _delete(path)
        if not self._has_swept_others:
            self._has_swept_others = True
            oldest = time.time() - UNUSED_S
            for entry in os.scandir(self._root):
                if entry.is_dir(follow_symlinks=False) and entry.path not in bases:
                    _delete_unused(entry.path, oldest)


def _delete_unused(base: str, oldest: float) -> None:
    for path in _locked_things(base):
        if os.stat(path).st_mtime < oldest:
            _delete(path)
    if not os.listdir(base):
        os.rmdir(base)


def _locked_things(base: str) -> list[str]:
    """The lock files in the folder of a base path: everything there has one."""
    return [
        os.path.join(base, name) for name in os.listdir(base) if name.endswith((_LOCK, _COPYING))
    ]


def _version_of(lock_path: str) -> str:
    name = os.path.basename(lock_path)
    if name.endswith(_COPYING):
        return name.removesuffix(_COPYING)
    return name.removesuffix(_LOCK).rpartition("-")[0]


def _delete(lock_path: str) -> None:
    """Delete a copy, or what there is of one, and its lock file, unless someone holds it."""
    held = try_lock(lock_path, "alone")
    if held is None:
        return
    with held:
        if lock_path.endswith(_COPYING):
            folder = lock_path.removesuffix(_COPYING) + _PART
        else:
            folder = lock_path.removesuffix(_LOCK)
        if os.path.exists(folder):
            shutil.rmtree(folder)
            _logger.info("Deleted the local copy %s", folder)
        held.remove()
