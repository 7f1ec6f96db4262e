"""What is known of the files of a local copy: a record beside them, one line for each that is done.

A file counts as there if its line is, and if it has the size and the time that the line tells: so
a copy that was broken off is gone on with, and one that was meddled with is not used.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from salver.sources.listing import Listing, RemoteFile

FILES = "files"
"""The folder with the files themselves, in that of the copy."""
_RECORD = "finished.jsonl"


@dataclass(frozen=True, slots=True)
class Finished:
    """One file that was copied whole."""

    name: str
    size: int
    """In bytes."""
    tag: str
    """See `RemoteFile.tag`."""
    mtime_ns: int
    """When it was last written here, in nanoseconds."""


def note_finished(folder: str, file: RemoteFile) -> None:
    """Record that a file of the copy in `folder` is there, and safe from a loss of power.

    Raises:
        OSError: it cannot be written.
    """
    path = os.path.join(folder, FILES, file.name)
    sync(path)
    done = Finished(file.name, file.size, file.tag, os.stat(path).st_mtime_ns)
    with open(os.path.join(folder, _RECORD), "a", encoding="utf-8") as record:
        record.write(json.dumps(asdict(done)) + "\n")


def finished_files(folder: str) -> dict[str, Finished]:
    """The files of a copy that are there and as they were when they were copied."""
    return {
        done.name: done
        for done in _recorded(folder)
        if _is_untouched(os.path.join(folder, FILES, done.name), done)
    }


def recorded_listing(folder: str) -> Listing:
    """What was on the storage when a copy was made, as far as the copy still is as it was then."""
    files = [
        RemoteFile(done.name, "", done.size, done.tag) for done in finished_files(folder).values()
    ]
    return Listing(tuple(sorted(files, key=lambda file: file.name)))


def is_whole(folder: str, listing: Listing) -> bool:
    """Whether a copy holds exactly what the listing shows."""
    finished = finished_files(folder)
    wanted = {file.name: file for file in listing.files}
    return set(present_files(folder)) == set(wanted) and all(
        name in finished and is_same(finished[name], file) for name, file in wanted.items()
    )


def is_same(finished: Finished, file: RemoteFile) -> bool:
    """Whether a file that was copied is still the one on the storage."""
    return finished.size == file.size and finished.tag == file.tag


def present_files(folder: str) -> Iterator[str]:
    """The names of all files in a copy, with `/` between folders, recorded or not."""
    root = os.path.join(folder, FILES)
    for place, _, names in os.walk(root):
        for name in names:
            yield os.path.relpath(os.path.join(place, name), root)


def sync(path: str) -> None:
    """Have a file or folder written to the disk.

    Raises:
        OSError: it cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(folder: str) -> None:
    """Have a copy's record and folders written to the disk; its files are already.

    Raises:
        OSError: they cannot be.
    """
    sync(os.path.join(folder, _RECORD))
    for place, _, _ in os.walk(folder):
        sync(place)


def _recorded(folder: str) -> Iterator[Finished]:
    try:
        with open(os.path.join(folder, _RECORD), encoding="utf-8", errors="replace") as record:
            lines = record.readlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield Finished(**json.loads(line))
        except (ValueError, TypeError):
            continue  # Broken off in the middle.


def _is_untouched(path: str, done: Finished) -> bool:
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (done.size, done.mtime_ns)
