"""Base paths on this machine: a version is copied beside the others and renamed."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from salver.backends.registry import Backends
from salver.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServingError,
)
from salver.export.publishing import UNFINISHED, publish, remove_abandoned, unfinished_folder
from salver.push.interruption import Interruption
from salver.push.model_folder import ModelFolder
from salver.push.version_number import aside_name, aside_versions, next_version
from salver.sources.copy_record import sync
from salver.sources.version_name import versions_by_number

_CHUNK_BYTES = 1 << 20
_KINDS: dict[int | None, type[ServingError]] = {
    errno.ENOSPC: ResourceExhausted,
    errno.EDQUOT: ResourceExhausted,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.EROFS: PermissionDenied,
    errno.ENOENT: NotFound,
}


class LocalDestination:
    """See `Destination`."""

    def __init__(self, base_path: str, backends: Backends, clock: Callable[[], float]) -> None:
        self._base_path = base_path
        self._backends = backends
        self._clock = clock

    def names(self) -> list[str]:
        """See `Destination.names`."""
        with _told(self._base_path):
            try:
                return os.listdir(self._base_path)
            except FileNotFoundError:
                return []

    def sweep(self) -> list[str]:
        """See `Destination.sweep`."""
        before = self.names()
        if any(name.startswith(UNFINISHED) for name in before):
            with _told(self._base_path):
                remove_abandoned(Path(self._base_path))
        return sorted(set(before).difference(self.names()))

    def publish(
        self, model: ModelFolder, interruption: Interruption, on_bytes: Callable[[int], None]
    ) -> int:
        """See `Destination.publish`."""
        base_path = Path(self._base_path)
        with (
            _told(self._base_path),
            self._made_base_path(),
            unfinished_folder(base_path) as unfinished,
        ):
            self._require_space(model)
            _copy(model, unfinished, interruption, on_bytes)
            model.require_unchanged()
            interruption.check()
            return self._rename(unfinished)

    @contextmanager
    def _made_base_path(self) -> Iterator[None]:
        """A base path that was not there vanishes again if nothing comes of it."""
        made = []
        folder = os.path.abspath(self._base_path)
        while not os.path.isdir(folder):
            made.append(folder)
            folder = os.path.dirname(folder)
        os.makedirs(self._base_path, exist_ok=True)
        try:
            yield
        except BaseException:
            with suppress(OSError):  # Others may have put something into it.
                for folder in made:
                    os.rmdir(folder)
            raise

    def _require_space(self, model: ModelFolder) -> None:
        free = shutil.disk_usage(self._base_path).free
        if model.size > free:
            raise ResourceExhausted(
                f"{self._base_path}: {model.size} bytes are to be copied, {free} are free"
            )

    def _rename(self, unfinished: Path) -> int:
        descriptor = os.open(self._base_path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # Without locks a number may be lower than the newest one.
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            while True:
                version = next_version(os.listdir(self._base_path), self._clock())
                with suppress(AlreadyExists):  # Somebody else was quicker, who asks for no lock.
                    publish(unfinished, Path(self._base_path), version, self._clock())
                    return version
        finally:
            os.close(descriptor)

    def versions(self) -> list[int]:
        """See `Destination.versions`."""
        found, _ = versions_by_number(self.names())
        return sorted(
            number
            for number, name in found.items()
            if self._backends.is_complete(os.path.join(self._base_path, name))
        )

    def take_back(self, version: int) -> None:
        """See `Destination.take_back`."""
        with _told(self._base_path), unfinished_folder(Path(self._base_path)) as unfinished:
            # At once, then bit by bit.
            os.rename(self._path_of(version), unfinished)

    def set_aside(self, version: int) -> str:
        """See `Destination.set_aside`."""
        name = aside_name(version)
        with _told(self._base_path):
            self._move(self._path_of(version), os.path.join(self._base_path, name))
        return name

    def bring_back(self, version: int) -> None:
        """See `Destination.bring_back`."""
        with _told(self._base_path):
            name = aside_versions(os.listdir(self._base_path))[version]
            path = os.path.join(self._base_path, name)
            self._move(path, os.path.join(self._base_path, str(version)))

    def _move(self, path: str, target: str) -> None:
        if os.path.exists(target):
            raise AlreadyExists(f"{target} is there already")
        os.rename(path, target)
        sync(self._base_path)

    def _path_of(self, version: int) -> str:
        found, _ = versions_by_number(os.listdir(self._base_path))
        if version not in found:
            raise NotFound(f"{self._base_path} has no version {version}")
        return os.path.join(self._base_path, found[version])


def _copy(
    model: ModelFolder,
    target: Path,
    interruption: Interruption,
    on_bytes: Callable[[int], None],
) -> None:
    for folder in model.folders:
        (target / folder).mkdir()
    for file in model.files:
        with open(file.path, "rb") as source, open(target / file.name, "xb") as copy:
            while chunk := source.read(_CHUNK_BYTES):
                interruption.check()
                copy.write(chunk)
                on_bytes(len(chunk))


@contextmanager
def _told(base_path: str) -> Iterator[None]:
    """Turn errors of the file system into ours."""
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno, FailedPrecondition)
        raise kind(f"{error.filename2 or error.filename or base_path}: {error.strerror}") from error
