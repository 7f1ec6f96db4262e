"""What can be told of a MOJO file without H2O: whether it is one, whole, and harmless.

A MOJO is a ZIP archive with a `model.ini` in it. It is never unpacked: H2O reads its parts by name.
"""

import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from salver.errors import InvalidArgument, NotFound

ENDING = ".zip"
_DESCRIPTION = "model.ini"
_BEGINNING = b"PK\x03\x04"
_CHUNK = 1 << 20
_GREATEST_RATIO = 200
"""Bytes for each byte in the archive: trees compress to a tenth, and nothing honest to less."""
_SMALL = 1 << 20


def mojo_in(folder: Path) -> Path | None:
    """The one archive of a version folder, if it may be a MOJO.

    Raises:
        OSError: the folder cannot be read.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix == ENDING and path.is_file())
    return found[0] if len(found) == 1 else None


def may_be_mojo(path: Path) -> bool:
    """Whether it is an archive with a description of a model, or one that is damaged.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with ZipFile(path) as archive:
            return _DESCRIPTION in archive.NameToInfo
    except (BadZipFile, NotImplementedError, ValueError):
        # To load it tells what is wrong.
        with path.open("rb") as file:
            return file.read(len(_BEGINNING)) == _BEGINNING


def require_whole(path: Path, where: str, most_bytes: int) -> None:
    """Read all of the archive, and compare with its checksums.

    Args:
        path: the archive.
        where: begins the message of an error.
        most_bytes: how much all of it may be when it is unpacked.

    Raises:
        NotFound: there is no such file.
        InvalidArgument: it is no MOJO, damaged, or made to do harm.
    """
    try:
        with ZipFile(path) as archive:
            entries = archive.infolist()
            if _DESCRIPTION not in archive.NameToInfo:
                raise InvalidArgument(f"{where}: {path.name} is no MOJO: it has no {_DESCRIPTION}")
            _require_harmless(entries, f"{where}: {path.name}", most_bytes)
            for entry in entries:
                with archive.open(entry) as content:
                    while content.read(_CHUNK):
                        pass
    except FileNotFoundError:
        raise NotFound(f"{path}; No such file or directory") from None
    except (
        BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        zlib.error,
    ) as error:
        raise InvalidArgument(f"{where}: {path.name} is no whole archive: {error}") from error
    except OSError as error:
        raise InvalidArgument(f"{where}: {path.name}: {error.strerror or error}") from error


def _require_harmless(entries: list[ZipInfo], where: str, most_bytes: int) -> None:
    for entry in entries:
        if entry.filename.startswith("/") or ".." in entry.filename.split("/"):
            raise InvalidArgument(f'{where} has a part "{entry.filename}", outside of the model')
        greatest = max(entry.compress_size * _GREATEST_RATIO, _SMALL)
        if entry.file_size > greatest:
            raise InvalidArgument(
                f'{where}: the part "{entry.filename}" claims {entry.file_size} bytes from '
                f"{entry.compress_size}"
            )
    total = sum(entry.file_size for entry in entries)
    if total > most_bytes:
        raise InvalidArgument(
            f"{where} has {total} bytes when unpacked, and --jvm_max_heap_mb allows {most_bytes}"
        )
