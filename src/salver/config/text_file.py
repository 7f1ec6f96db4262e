"""Reads one text-format protobuf file: the form of all configuration files."""

import logging
import re
from pathlib import Path

from salver.codecs.messages import WireMessage, parse_text
from salver.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServingError,
    UnknownError,
)

logger = logging.getLogger(__name__)

_PLACE = re.compile(r"Error parsing text-format [\w.]+(: \d+:\d+)?")
_CAUSES: tuple[tuple[type[OSError], type[ServingError]], ...] = (
    (FileNotFoundError, NotFound),
    (PermissionError, PermissionDenied),
    (IsADirectoryError, FailedPrecondition),
    (NotADirectoryError, FailedPrecondition),
)


class NoSuchMessage(InvalidArgument):
    """The text of a file is not the message that it should be."""

    def __init__(self, path: str, place: str) -> None:
        super().__init__(f"Invalid protobuf file: '{path}'")
        self.place = place
        """`Error parsing text-format {message}: {line}:{column}`; quotes nothing."""


def read_file(path: str) -> bytes:
    """All that is in a file.

    Raises:
        ServingError: NOT_FOUND and the like, `{path}; {what the system says}`.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        kind = next((kind for cause, kind in _CAUSES if isinstance(error, cause)), UnknownError)
        raise kind(f"{path}; {error.strerror}") from error
    except ValueError as error:  # A NUL in the path.
        raise InvalidArgument(f"{path!r}; Invalid argument") from error


def read_text_file(path: str, full_name: str, *, is_secret: bool = False) -> WireMessage:
    """The message in the file; what is wrong with the text, and where, goes to the log.

    Of a secret text nothing does: what the parser says quotes what it has found.

    Raises:
        ServingError: as `read_file`; INVALID_ARGUMENT for a file of zero bytes, and for one
            that is no such message, which is `NoSuchMessage`.
    """
    content = read_file(path)
    if not content:
        # The original maps the file into memory, which nothing of zero bytes can be.
        raise InvalidArgument(f"{path}; Invalid argument")
    try:
        # Comments may be in any encoding; in strings the parser minds.
        return parse_text(full_name, content.decode(errors="surrogateescape"))
    except InvalidArgument as error:
        if not is_secret:
            logger.error("%s", error.message)
        place = _PLACE.match(error.message)
        raise NoSuchMessage(path, place[0] if place else "Error parsing text-format") from error
