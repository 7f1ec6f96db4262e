"""Every error the server raises on purpose.

* ServingError            canonical code
  - Cancelled             CANCELLED
  - UnknownError          UNKNOWN
  - InvalidArgument       INVALID_ARGUMENT
  - DeadlineExceeded      DEADLINE_EXCEEDED
  - NotFound              NOT_FOUND
  - AlreadyExists         ALREADY_EXISTS
  - PermissionDenied      PERMISSION_DENIED
  - ResourceExhausted     RESOURCE_EXHAUSTED
  - FailedPrecondition    FAILED_PRECONDITION
  - Aborted               ABORTED
  - OutOfRange            OUT_OF_RANGE
  - Unimplemented         UNIMPLEMENTED
  - InternalError         INTERNAL
  - Unavailable           UNAVAILABLE
    - ProcessUnusable     (the same, of one process)
  - DataLoss              DATA_LOSS
  - Unauthenticated       UNAUTHENTICATED

The codes are those of gRPC and of `tensorflow.error.Code`. What each becomes on
the wire is written once per protocol, in `transport`.
"""

from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """Canonical status codes, numbered as in `google.rpc.Code`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """An error with a canonical code and a message for the person who reads it."""

    code: ClassVar[Code] = Code.UNKNOWN

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    @property
    def status(self) -> str:
        """`CODE: message`, as TensorFlow prints a status."""
        return f"{self.code.name}: {self.message}"


class Cancelled(ServingError):
    """The caller, or a newer decision, no longer wants the result."""

    code = Code.CANCELLED


class UnknownError(ServingError):
    """Several causes at once, or one that has no better code."""

    code = Code.UNKNOWN


class InvalidArgument(ServingError):
    """The request or configuration is wrong, whatever the state of the server."""

    code = Code.INVALID_ARGUMENT


class DeadlineExceeded(ServingError):
    """The time that the caller gave is over."""

    code = Code.DEADLINE_EXCEEDED


class NotFound(ServingError):
    """No such model, version, signature, file or folder."""

    code = Code.NOT_FOUND


class AlreadyExists(ServingError):
    """The name is taken."""

    code = Code.ALREADY_EXISTS


class PermissionDenied(ServingError):
    """The operation is not allowed here."""

    code = Code.PERMISSION_DENIED


class ResourceExhausted(ServingError):
    """A limit is reached: queue, message size, memory."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPrecondition(ServingError):
    """The request does not fit the present state of the server."""

    code = Code.FAILED_PRECONDITION


class Aborted(ServingError):
    """The operation was broken off and may be tried again."""

    code = Code.ABORTED


class OutOfRange(ServingError):
    """A value lies beyond its valid range."""

    code = Code.OUT_OF_RANGE


class Unimplemented(ServingError):
    """The server does not do this."""

    code = Code.UNIMPLEMENTED


class InternalError(ServingError):
    """Something is broken inside the model or the server."""

    code = Code.INTERNAL


class Unavailable(ServingError):
    """Not now: overloaded or shutting down; a later try may succeed."""

    code = Code.UNAVAILABLE


class ProcessUnusable(Unavailable):
    """What a model computes with is lost to this process for good: only another one can run it."""


class DataLoss(ServingError):
    """Stored data is damaged."""

    code = Code.DATA_LOSS


class Unauthenticated(ServingError):
    """The caller did not say who it is."""

    code = Code.UNAUTHENTICATED


_BY_CODE: dict[int, type[ServingError]] = {
    error.code: error for error in ServingError.__subclasses__()
}


def error_of(code: int, message: str) -> ServingError:
    """The error for a canonical code that came from outside, UNKNOWN if it is none."""
    return _BY_CODE.get(code, UnknownError)(message)


def unexpected_error() -> InternalError:
    """What a client is told of an error that nobody expected; the log has the traceback."""
    return InternalError("Unexpected error in the server; its log has the details")
