"""Where models lie: the few questions that a source asks of a file system."""

import os
from collections.abc import Callable
from typing import Protocol

from salver.errors import Unimplemented
from salver.sources.uri import scheme_of


class Folder(Protocol):
    """One base path, during one look at it. Called from scan threads; every call may block."""

    def exists(self) -> bool:
        """Whether there is a file or folder.

        Raises:
            ServingError: there is no telling, or there is more to tell than that it is missing.
        """

    def names(self) -> list[str]:
        """The names directly in the folder, in any order.

        Raises:
            OSError: there is no such folder, or it cannot be read.
        """

    def has(self, name: str) -> bool:
        """Whether there is something of this name in the folder."""

    def path(self, name: str) -> str:
        """The path of something in the folder, in the form that loaders take."""

    def is_complete(self, name: str, seen: bool) -> bool:
        """Whether all files of a version are there, as far as can be told without loading it.

        `seen` says that they were at an earlier look: there is no need to ask again, unless
        something speaks against it.
        """


class Storage(Protocol):
    """One kind of file system, or several behind one face."""

    def require(self, base_path: str) -> None:
        """Check that base paths of this kind can be read at all. Cheap; asks no storage.

        Raises:
            Unimplemented: the kind is not known, or what it needs is not installed.
            ServingError: something else that it needs is not there.
        """

    def folder(self, base_path: str) -> Folder:
        """The base path, ready to be looked at; asks nothing yet.

        Raises:
            Unimplemented: as `require`.
        """

    def kept(self, base_path: str) -> Folder | None:
        """What is kept of a base path that cannot be looked at, None if nothing is.

        Raises:
            ServingError: what is kept cannot be read.
            OSError: likewise.
        """


class LocalStorage:
    """The file system of this machine; `file:` URIs are taken, too."""

    def __init__(self, is_complete: Callable[[str], bool]) -> None:
        self._is_complete = is_complete

    def require(self, base_path: str) -> None:
        local_path(base_path)

    def folder(self, base_path: str) -> "LocalFolder":
        return LocalFolder(local_path(base_path), self._is_complete)

    def kept(self, base_path: str) -> None:
        return None


class LocalFolder:
    """A base path on the file system of this machine."""

    def __init__(self, base_path: str, is_complete: Callable[[str], bool]) -> None:
        self._base_path = base_path
        self._is_complete = is_complete

    def exists(self) -> bool:
        return os.path.exists(self._base_path)

    def names(self) -> list[str]:
        with os.scandir(self._base_path) as entries:
            return [entry.name for entry in entries]

    def has(self, name: str) -> bool:
        return os.path.exists(self.path(name))

    def path(self, name: str) -> str:
        return os.path.join(self._base_path, name)

    def is_complete(self, name: str, seen: bool) -> bool:
        return seen or self._is_complete(self.path(name))


class LocalAndRemote:
    """All storage there is: this machine's for plain paths, another for URIs."""

    def __init__(self, local: Storage, remote: Storage) -> None:
        self._local = local
        self._remote = remote

    def require(self, base_path: str) -> None:
        self._of(base_path).require(base_path)

    def folder(self, base_path: str) -> Folder:
        return self._of(base_path).folder(base_path)

    def kept(self, base_path: str) -> Folder | None:
        return self._of(base_path).kept(base_path)

    def _of(self, base_path: str) -> Storage:
        return self._remote if scheme_of(base_path) else self._local


def local_path(path: str) -> str:
    """A path of this machine from a path or a `file:` URI, whose host and escapes do not count.

    Raises:
        Unimplemented: the URI is of another scheme.
    """
    scheme, separator, rest = path.partition("://")
    if not separator or not scheme.isalnum():
        return path
    if scheme != "file":
        raise Unimplemented(f"File system scheme '{scheme}' not implemented (file: '{path}')")
    return "/" + rest.partition("/")[2]
