"""A version written beside the others under a name that no server looks at, and renamed in.

Whoever watches a base path sees all of a version or nothing. While one is written, its folder is
locked; what an export that was killed has left behind is removed by the next one.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from salver.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from salver.sources.copy_record import sync
from salver.sources.version_name import versions_by_number

UNFINISHED = "unfinished-"
"""How names of folders begin that are being written; see `salver.sources.version_name`."""
ASIDE = "rolled-back-"
"""How names of versions begin that were rolled back, and may come back: no other gets theirs."""
MOST = 2**63 - 1


def next_version(names: Iterable[str], now_s: float) -> int:
    """A version for what is there: the time in seconds, or one more than the highest.

    Raises:
        FailedPrecondition: the highest version is the highest that there can be.
    """
    found, _ = versions_by_number(name.removeprefix(ASIDE) for name in names)
    version = max([int(now_s), *(number + 1 for number in found)])
    if version > MOST:
        raise FailedPrecondition(f"there is a version {MOST}; none can be higher")
    return version


def check_version(version: object, names: Iterable[str], where: str) -> None:
    """Check a version that the user has chosen, against those that are there.

    Raises:
        InvalidArgument: it is no version.
        AlreadyExists: it is there, or a higher one, which would go on being served.
    """
    if version is None:
        return
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= MOST:
        raise InvalidArgument(f"version is {version!r}; it must be a whole number from 0 on")
    found, _ = versions_by_number(names)
    if version in found:
        raise AlreadyExists(f"{where} has a version {version} already; nothing was written")
    highest = max(found, default=-1)
    if highest > version:
        raise AlreadyExists(
            f"{where} has the version {highest}, which is higher than {version} and would go on "
            "being served; nothing was written"
        )


@contextmanager
def unfinished_folder(base_path: Path) -> Iterator[Path]:
    """A new folder in `base_path` to write a version to; gone at the end unless it was published.

    So is a base path that was not there before.

    Raises:
        FailedPrecondition: it cannot be made.
    """
    made = [folder for folder in (base_path, *base_path.parents) if not folder.exists()]
    try:
        base_path.mkdir(parents=True, exist_ok=True)
        remove_abandoned(base_path)
        folder, descriptor = _locked_folder(base_path)
    except OSError as error:
        raise FailedPrecondition(f"{base_path}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
        with suppress(OSError):  # Those that are not empty stay: something was published.
            for place in made:
                place.rmdir()


def publish(folder: Path, base_path: Path, version: int | None, now_s: float) -> Path:
    """Give a folder of `unfinished_folder` its number, once its contents are on the disk.

    Raises:
        AlreadyExists: the version that the user has chosen has come up meanwhile.
        FailedPrecondition: the folder cannot be renamed.
    """
    try:
        _flush(folder)
        while True:
            names = os.listdir(base_path)
            check_version(version, names, str(base_path))
            number = next_version(names, now_s) if version is None else version
            target = base_path / str(number)
            if _rename_to_new(folder, target):
                sync(str(base_path))
                return target
    except OSError as error:
        raise FailedPrecondition(f"{base_path}: {error.strerror}") from error


def remove_abandoned(base_path: Path) -> None:
    """Remove the folders of exports that ended in the middle, whose locks are free."""
    for entry in os.scandir(base_path):
        if not entry.name.startswith(UNFINISHED) or not entry.is_dir(follow_symlinks=False):
            continue
        with suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _locked_folder(base_path: Path) -> tuple[Path, int]:
    while True:
        folder = base_path / f"{UNFINISHED}{secrets.token_hex(6)}"
        folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # Another export took it for abandoned, and has removed it already.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists():
                return folder, descriptor
        except BlockingIOError:
            pass  # Another export has taken it for abandoned, and is about to remove it.
        except OSError:
            return folder, descriptor  # A file system without locks: others cannot lock it either.
        os.close(descriptor)


def _rename_to_new(folder: Path, target: Path) -> bool:
    """Rename, unless there is something; of two who do so at the same time, one does."""
    if os.path.lexists(target):
        return False
    try:
        os.rename(folder, target)
    except OSError as error:
        # A folder that is not empty is never replaced.
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def _flush(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            sync(os.path.join(place, name))
        sync(place)
