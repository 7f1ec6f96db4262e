"""The files of one version on remote storage, as one listing shows them.

Two listings with the same fingerprint show the same contents, as far as the storage tells them
apart: by name, size, and a tag that changes with each upload.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from salver.errors import InvalidArgument

_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a version."""

    name: str
    """Its path within the version, with `/` between folders."""
    path: str
    """What its file system calls it."""
    size: int
    """In bytes."""
    tag: str
    """Entity tag, generation or time: whatever tells one content from the next."""
    crc32c: int | None = None
    """Its checksum, where the storage states one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a version, in the order of their names."""

    files: tuple[RemoteFile, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.name for file in self.files)

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def fingerprint(self) -> str:
        """The same for the same contents; letters and digits."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{len(file.name)} {file.name} {file.size} {file.tag}\n".encode())
        return digest.hexdigest()[:32]


def listing_of(files: Iterable[RemoteFile], uri: str) -> Listing:
    """Put files in order, and refuse names that have no place in the folder of a version.

    Raises:
        InvalidArgument: a name leads out of the folder, or cannot be that of a file here.
    """
    ordered = tuple(sorted(files, key=lambda file: file.name))
    for file in ordered:
        if not is_plain(file.name):
            raise InvalidArgument(
                f"{uri} holds an object that cannot be a file of a version: {file.name!r}"
            )
    return Listing(ordered)


def is_plain(name: str) -> bool:
    """Whether a relative path stays inside of its folder and can be that of a file."""
    return "\0" not in name and all(
        part not in ("", ".", "..") and len(part.encode(errors="replace")) <= _LONGEST_NAME
        for part in name.split("/")
    )


def first_parts(names: Iterable[str]) -> list[str]:
    """What lies directly in a folder, each once, from the relative paths of what lies in it.

    Some object stores list all descendants: only what comes before the first `/` counts.
    """
    return list(dict.fromkeys(part for name in names if (part := name.lstrip("/").split("/")[0])))
