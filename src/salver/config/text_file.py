"""Reads one text-format protobuf file: the form of all configuration files."""

import logging
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

_CAUSES: tuple[tuple[type[OSError], type[ServingError]], ...] = (
    (FileNotFoundError, NotFound),
    (PermissionError, PermissionDenied),
    (IsADirectoryError, FailedPrecondition),
    (NotADirectoryError, FailedPrecondition),
)


def read_text_file(path: str, full_name: str) -> WireMessage:
    """The message in the file; what is wrong with the text, and where, goes to the log.

    Raises:
        ServingError: NOT_FOUND and the like, `{path}; {what the system says}`;
            INVALID_ARGUMENT for a file of zero bytes, and for one that is no such message.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        kind = next((kind for cause, kind in _CAUSES if isinstance(error, cause)), UnknownError)
        raise kind(f"{path}; {error.strerror}") from error
    except ValueError as error:  # A NUL in the path.
        raise InvalidArgument(f"{path!r}; Invalid argument") from error
    if not content:
        # The original maps the file into memory, which nothing of zero bytes can be.
        raise InvalidArgument(f"{path}; Invalid argument")
    try:
        # Comments may be in any encoding; in strings the parser minds.
        return parse_text(full_name, content.decode(errors="surrogateescape"))
    except InvalidArgument as error:
        logger.error("%s", error.message)
        raise InvalidArgument(f"Invalid protobuf file: '{path}'") from error
