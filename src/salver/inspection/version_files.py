"""The files of a version: what they are called, how large they are, and those to be read, here."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from salver.errors import FailedPrecondition
from salver.inspection.description import File
from salver.inspection.finding import FoundVersion
from salver.sources.uri import scheme_of


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """All files of a version, and a folder of this machine with some of them."""

    files: Sequence[File]
    folder: str

    @property
    def names(self) -> set[str]:
        return {file.name for file in self.files}


@contextmanager
def files_of(
    version: FoundVersion, reads: Callable[[str], bool], reads_any: Callable[[set[str]], bool]
) -> Iterator[VersionFiles]:
    """List a version's files. From remote storage those that `reads` names are brought here.

    Args:
        version: where it lies.
        reads: whether the file of this name is going to be read.
        reads_any: whether any is, given the names of all.

    Raises:
        ServingError: the storage cannot be asked.
    """
    if not scheme_of(version.path):
        yield VersionFiles(_local_files(version.path), version.path)
        return
    # It imports fsspec.
    from salver.sources.remote_files import RemoteFiles

    remote = RemoteFiles()
    listing = remote.listing(version.path)
    files = [File(file.name, file.size) for file in listing.files]
    with TemporaryDirectory(prefix="salver-show-") as folder:
        if reads_any(set(listing.names)):
            for file in listing.files:
                if reads(file.name):
                    path = os.path.join(folder, file.name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    remote.download(version.path, file, path, lambda count: None)
        yield VersionFiles(files, folder)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return os.lstat(path).st_size  # A link to what is not there.


def _local_files(folder: str) -> list[File]:
    found = []
    try:
        for parent, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(parent, name)
                found.append(File(os.path.relpath(path, folder), _size(path)))
    except OSError as error:
        raise FailedPrecondition(f"{error.filename}: {error.strerror}") from error
    return sorted(found, key=lambda file: file.name)
