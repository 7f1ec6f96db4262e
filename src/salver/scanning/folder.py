"""The files of a folder, and what is wrong with the entries themselves: links, devices, bits."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from salver.errors import FailedPrecondition, NotFound, PermissionDenied, ServingError
from salver.scanning.part import Part, file_part
from salver.scanning.report import Finding

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def entries(root: Path) -> Iterator[Part | Finding]:
    """Every file below a folder, or the file itself, and findings about what they are.

    Raises:
        NotFound: there is no such path.
        PermissionDenied: a part of it may not be read.
        FailedPrecondition: reading fails.
    """
    try:
        if root.is_dir():
            yield from _below(root)
        else:
            yield from _entry(root, root.parent, root.stat())
    except OSError as error:
        raise _told(error, root) from error


def _below(root: Path) -> Iterator[Part | Finding]:
    # No function that calls itself: folders may lie deeper than Python's stack.
    waiting = [root]
    while waiting:
        path = waiting.pop()
        status = root.stat() if path is root else path.lstat()
        if stat.S_ISLNK(status.st_mode):
            yield from _link(root, path)
        elif stat.S_ISDIR(status.st_mode):
            waiting.extend(path / name for name in sorted(os.listdir(path), reverse=True))
        else:
            yield from _entry(path, root, status)


def _entry(path: Path, root: Path, status: os.stat_result) -> Iterator[Part | Finding]:
    where = str(path.relative_to(root))
    for is_kind, words in _KINDS:
        if is_kind(status.st_mode):
            yield Finding("special-file", where, words, where)
            return
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield Finding("privileged-file", where, "it is set-user-ID or set-group-ID", where)
    with path.open("rb"):
        pass  # Whether it may be read is told before it is looked at.
    yield file_part(path, where)


def _link(root: Path, path: Path) -> Iterator[Part | Finding]:
    """A link within the folder is what it leads to, and that is looked at anyway."""
    where = str(path.relative_to(root))
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(root)):
        yield Finding("path-outside", where, f"a symbolic link to {os.readlink(path)}", where)
        if target.is_file():
            yield file_part(path, where)
    elif not target.exists():
        yield Finding("unreadable", where, f"a symbolic link to {os.readlink(path)}, which is "
                      "not there", where)  # fmt: skip
    elif target.is_file() and target.name != path.name:
        # Its own name may say what it is.
        yield file_part(path, where)


def _told(error: OSError, root: Path) -> ServingError:
    text = f"{error.filename or root}: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{error.filename or root}: there is no such file or folder")
    if isinstance(error, PermissionError):
        return PermissionDenied(text)
    return FailedPrecondition(text)
