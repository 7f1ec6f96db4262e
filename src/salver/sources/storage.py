"""Where models lie: the few questions that a source asks of a file system."""

import os
from typing import Protocol

from salver.errors import Unimplemented


class Storage(Protocol):
    """One kind of file system. Called from scan threads; every call may block."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""

    def children(self, path: str) -> list[str]:
        """The names directly in a folder, in any order.

        Raises:
            OSError: there is no such folder, or it cannot be read.
        """

    def child(self, path: str, name: str) -> str:
        """The path of something in a folder, in the form that loaders take."""


class LocalStorage:
    """The file system of this machine; `file:` URIs are taken, too."""

    def exists(self, path: str) -> bool:
        return os.path.exists(local_path(path))

    def children(self, path: str) -> list[str]:
        with os.scandir(local_path(path)) as entries:
            return [entry.name for entry in entries]

    def child(self, path: str, name: str) -> str:
        return os.path.join(local_path(path), name)


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
