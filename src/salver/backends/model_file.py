"""The file of a model, read whole; errors are worded as TensorFlow Serving does it."""

from pathlib import Path

from salver.errors import FailedPrecondition, NotFound, PermissionDenied


def model_bytes(path: Path) -> bytes:
    """All of the file.

    Raises:
        NotFound: there is none.
        PermissionDenied: it may not be read.
        FailedPrecondition: reading fails.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}; No such file or directory") from error
    except PermissionError as error:
        raise PermissionDenied(f"{path}; Permission denied") from error
    except OSError as error:
        raise FailedPrecondition(f"{path}; {error.strerror}") from error


def starts_of(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file, fewer where it is shorter, none where it is no file.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(count)
