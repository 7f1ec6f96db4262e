"""Archives: what their directories claim, and the parts that are worth a look inside.

Nothing is unpacked to a place that an archive names. What is read is read up to a limit.
"""

import bz2
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, cast

from salver.scanning.part import Part
from salver.scanning.report import Finding

MOST_DEEP = 4
_CHUNK = 1 << 20
_IN_MEMORY = 32 << 20
_MOST_TIMES = 200
"""Bytes for each byte in the archive; text of honest models shrinks to a tenth or twentieth."""
_SMALL = 32 << 20
"""So much may come out of anything."""
_MOST_BYTES = 32 << 30
_ENCRYPTED = 0x1

_UNPACKERS: tuple[tuple[bytes, Callable[[], object]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lzma.LZMADecompressor),
    (b"\x5d\0\0", lzma.LZMADecompressor),
    (b"\x78\x01", zlib.decompressobj),
    (b"\x78\x5e", zlib.decompressobj),
    (b"\x78\x9c", zlib.decompressobj),
    (b"\x78\xda", zlib.decompressobj),
)
UNSUPPORTED = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"\x04\x22\x4d\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
}  # fmt: skip
"""Kinds of archives that are not looked into, by how they begin."""


class TooLarge(ValueError):
    """More comes out of an archive than may."""


def is_compressed(start: bytes) -> bool:
    """Whether a file begins like a stream that was compressed as a whole."""
    return any(start.startswith(magic) for magic, _ in _UNPACKERS)


@contextmanager
def uncompressed(part: Part) -> Iterator[Part]:
    """What is in a compressed stream.

    Raises:
        TooLarge: it is a bomb.
        ValueError: it is damaged.
    """
    start = part.start(8)
    make = next(make for magic, make in _UNPACKERS if start.startswith(magic))
    limit = min(_SMALL + _MOST_TIMES * part.size, _MOST_BYTES)
    with SpooledTemporaryFile(_IN_MEMORY) as target:
        try:
            with part.opened() as file:
                size = _unpack(file, make, target, limit)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise ValueError(str(error)) from error
        yield Part(part.where, part.name, size, lambda: _again(target), None, part.depth + 1)


def _unpack(file: BinaryIO, make: Callable[[], object], target: IO[bytes], limit: int) -> int:
    size = 0
    machine = cast("zlib._Decompress", make())
    while chunk := file.read(1 << 16):
        while chunk:
            if getattr(machine, "eof", False):
                machine = cast("zlib._Decompress", make())
            content = machine.decompress(chunk)
            size += len(content)
            if size > limit:
                raise TooLarge(f"more than {limit} bytes come out")
            target.write(content)
            # Several streams may lie one after the other, as those readers take them.
            chunk = machine.unused_data if getattr(machine, "eof", False) else b""
    return size


def _again(file: IO[bytes]) -> BinaryIO:
    file.seek(0)
    return cast(BinaryIO, _Kept(file))


class _Kept(io.RawIOBase):
    """A file that closing leaves open: it is read more than once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        return self._file.read(-1 if size is None else size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._file.readline(-1 if size is None else size)


def zip_findings(part: Part) -> Iterator[Finding]:
    """What is wrong with the directory of a ZIP archive.

    Raises:
        ValueError: it cannot be read.
    """
    with part.opened() as file, _zip(file) as archive:
        members = archive.infolist()
    seen: set[str] = set()
    for member in members:
        where = f"{part.where}!{member.filename}"
        yield from _name_findings(member.filename, where)
        if member.filename in seen:
            yield Finding("archive-trick", where, "it comes twice", member.filename)
        seen.add(member.filename)
        if stat.S_ISLNK(member.external_attr >> 16):
            yield Finding("archive-trick", where, "it is a symbolic link", member.filename)
        if member.flag_bits & _ENCRYPTED:
            yield Finding("unreadable", where, "it is encrypted", member.filename)
        if _is_bomb(member):
            yield _bomb(where, member.file_size, member.compress_size)
    claimed = sum(member.file_size for member in members)
    if claimed > max(_SMALL, _MOST_TIMES * part.size):
        yield _bomb(part.where, claimed, part.size)


def zip_parts(part: Part) -> Iterator[Part]:
    """The members of a ZIP archive.

    Raises:
        ValueError: it cannot be read.
    """
    with part.opened() as file, _zip(file) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        if member.flag_bits & _ENCRYPTED or _is_bomb(member):
            continue
        yield Part(
            f"{part.where}!{member.filename}",
            PurePosixPath(member.filename).name.lower(),
            member.file_size,
            _member_opener(part, member),
            None,
            part.depth + 1,
        )


def _member_opener(part: Part, member: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    def copy(target: IO[bytes]) -> None:
        # Read to a place of its own: to seek in a packed member would unpack it again.
        limit = max(_SMALL, _MOST_TIMES * member.compress_size)
        try:
            with part.opened() as file, _zip(file) as archive, archive.open(member) as content:
                size = 0
                while chunk := content.read(_CHUNK):
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(f"more than {limit} bytes come out of it")
                    target.write(chunk)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise ValueError(str(error)) from error

    return lambda: _copied(copy)


def _copied(copy: Callable[[IO[bytes]], None]) -> BinaryIO:
    """A file of its own, filled and at its beginning."""
    target = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the reader closes it
    try:
        copy(target)
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return cast(BinaryIO, target)


def _zip(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ValueError(str(error)) from error


def tar_findings(part: Part) -> Iterator[Finding]:
    """What is wrong with the members of a TAR archive.

    Raises:
        ValueError: it cannot be read.
    """
    for member in _tar_members(part):
        where = f"{part.where}!{member.name}"
        yield from _name_findings(member.name, where)
        if member.issym() or member.islnk():
            target = PurePosixPath(member.linkname)
            if target.is_absolute() or ".." in target.parts:
                text = f"it is a link to {member.linkname}"
                yield Finding("archive-trick", where, text, member.name)
        elif not member.isfile() and not member.isdir():
            yield Finding("archive-trick", where, "it is a device or pipe", member.name)
        if member.mode & (stat.S_ISUID | stat.S_ISGID) and member.isfile():
            yield Finding("privileged-file", where, "it is set-user-ID or set-group-ID", "")


def tar_parts(part: Part) -> Iterator[Part]:
    """The files in a TAR archive.

    Raises:
        ValueError: it cannot be read.
    """
    for member in _tar_members(part):
        if member.isfile():
            yield Part(
                f"{part.where}!{member.name}",
                PurePosixPath(member.name).name.lower(),
                member.size,
                _slice_opener(part, member.offset_data, member.size),
                None,
                part.depth + 1,
            )


def _slice_opener(part: Part, offset: int, size: int) -> Callable[[], BinaryIO]:
    def copy(target: IO[bytes]) -> None:
        with part.opened() as file:
            file.seek(offset)
            left = size
            while left and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                target.write(chunk)

    return lambda: _copied(copy)


def _tar_members(part: Part) -> list[tarfile.TarInfo]:
    try:
        with part.opened() as file, tarfile.open(fileobj=file, mode="r:") as archive:
            return archive.getmembers()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(str(error)) from error


def _name_findings(name: str, where: str) -> Iterator[Finding]:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or name[1:3] in (":\\", ":/"):
        yield Finding(
            "archive-trick", where, "its name leads out of the archive", name,
            "whoever unpacks it writes outside of the folder",
        )  # fmt: skip


def _is_bomb(member: zipfile.ZipInfo) -> bool:
    return member.file_size > max(_SMALL, _MOST_TIMES * member.compress_size)


def _bomb(where: str, claimed: int, packed: int) -> Finding:
    return Finding("archive-bomb", where, f"{packed} bytes claim to hold {claimed}", "")
