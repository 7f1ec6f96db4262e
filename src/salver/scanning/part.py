"""A file, or a member of an archive: something with a name and bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Part:
    """What every reader is given."""

    where: str
    """For people: the path below what is scanned, `!` before a member of an archive."""
    name: str
    """The last component of its name, in lower case."""
    size: int
    opened: Callable[[], BinaryIO]
    """A seekable file at its beginning; the reader closes it."""
    path: Path | None = None
    """Where it lies, if it is a file."""
    depth: int = 0
    """So many archives it lies in."""

    def start(self, count: int) -> bytes:
        """The first bytes."""
        with self.opened() as file:
            return file.read(count)

    def content(self) -> bytes:
        """All of it."""
        with self.opened() as file:
            return file.read()

    @property
    def ending(self) -> str:
        """`.pkl` of `model.pkl`."""
        return Path(self.name).suffix


def file_part(path: Path, where: str) -> Part:
    """A file of the folder.

    Raises:
        OSError: it cannot be looked at.
    """
    return Part(where, path.name.lower(), path.stat().st_size, lambda: path.open("rb"), path)


@contextmanager
def whole(part: Part) -> Iterator[memoryview]:
    """All bytes. Not mapped: a file that somebody cuts off meanwhile would end the process."""
    yield memoryview(part.content())


@contextmanager
def on_disk(part: Part) -> Iterator[str]:
    """The path of a file with these bytes: its own, or one for the while."""
    if part.path is not None:
        yield str(part.path)
        return
    import shutil
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(suffix=part.ending) as file, part.opened() as content:
        shutil.copyfileobj(content, file)
        file.flush()
        yield file.name
