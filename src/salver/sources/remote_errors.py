"""What goes wrong with remote storage, as errors of ours.

Each library has its own exceptions, and none of them is imported here: their classes are told by
name.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from salver.errors import (
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServingError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from salver.sources.uri import redacted

_NO_CREDENTIALS = (
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
    "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "ProfileNotFound",
    "DefaultCredentialsError", "RefreshError", "CredentialUnavailableError",
    "ClientAuthenticationError",
)  # fmt: skip
_BY_STATUS: dict[int, type[ServingError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
}


@contextmanager
def told_as_ours(uri: str) -> Iterator[None]:
    """Turn every exception of the storage's library into a `ServingError` that names the URI."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        raise error_of_storage(error, uri) from error


def error_of_storage(error: Exception, uri: str) -> ServingError:
    """`uri; reason`, with a code that tells who can mend it; nothing secret in it."""
    kind = _kind(error)
    text = str(error).strip()
    reason = text.splitlines()[0] if text else type(error).__name__
    if kind is NotFound and _says_nothing_but_the_path(reason, uri):
        reason = "No such file or directory"
    return kind(f"{redacted(uri)}; {redacted(reason, uri)}")


def _kind(error: Exception) -> type[ServingError]:
    names = {base.__name__ for base in type(error).__mro__}
    if names.intersection(_NO_CREDENTIALS):
        return Unauthenticated
    for attribute in ("code", "status", "status_code"):
        kind = _BY_STATUS.get(getattr(error, attribute, None) or 0)
        if kind is not None:
            return kind
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted
    if isinstance(error, FileNotFoundError):
        return NotFound
    if isinstance(error, PermissionError):
        return PermissionDenied
    if isinstance(error, NotImplementedError):
        return Unimplemented
    return Unavailable


def _says_nothing_but_the_path(reason: str, uri: str) -> bool:
    return reason.rstrip("/").endswith(uri.rstrip("/").partition("://")[2])
