"""The contracts between the protocols and what answers them.

HTTP/1.1 and HTTP/2 both turn bytes into an `HttpRequest` and an `HttpResponse` into
bytes; the application between them does not know which one it serves. gRPC has calls
and handlers instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from salver.errors import ServingError
from salver.telemetry.request_record import RequestRecord


@dataclass(slots=True)
class HttpRequest:
    """One whole request. Header names are in lower case."""

    method: bytes
    target: bytes
    """Path and query, undecoded."""
    headers: list[tuple[bytes, bytes]]
    body: bytes | bytearray
    record: RequestRecord | None = None
    """For whoever keeps records of requests: to be told what it is about; None if nobody does."""

    def header(self, name: bytes) -> bytes:
        """The first header of that name, empty if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""


@dataclass(slots=True)
class HttpResponse:
    """One whole response; length, date and connection headers are the protocol's business."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closes: bool = False
    """The connection ends after it, where the protocol lets it (HTTP/1.1)."""


Respond = Callable[[HttpResponse], None]
Cancel = Callable[[], None]


Page = Callable[[HttpRequest], HttpResponse | None]
"""Answers requests for pages of its own at once; None for any other request."""


class HttpApplication(Protocol):
    """Answers whole requests."""

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        """Answer by one call of `respond`, at once or later; never raises.

        Returns what to call if the client goes away before that, None if answered.
        """


Message = bytes | memoryview
Framed = bytes | list[bytes | memoryview]
"""An answer behind its gRPC prefix, or its pieces."""


class UnaryCall(Protocol):
    """One call on its way: what a handler needs of it."""

    deadline: float | None
    """Loop time after which nobody waits any more."""
    started: float
    """`perf_counter` when the request was complete."""
    cancel: Callable[[], None] | None
    """What to call if the client goes away; set by the handler."""
    record: RequestRecord | None
    """For whoever keeps records of requests: to be told what it is about; None if nobody does."""

    def succeed(self, framed: Framed) -> None:
        """Answer with a message that already has its gRPC prefix."""

    def fail(self, error: ServingError) -> None:
        """Answer with a status."""

    def refuse(self, error: ServingError, again: Callable[[], None]) -> None:
        """The same for want of time, within the handler.

        Others like it may be answered so for a moment, without the handler: `again` is called for
        each.
        """


Handler = Callable[[UnaryCall, Message], None]


class StreamCall(Protocol):
    """A call with a stream of answers, on its way: what its service sees of it. Loop only."""

    is_behind: bool
    """Whether the client has yet to take what was sent: what can wait should, until `caught_up`."""

    def send(self, framed: bytes) -> None:
        """Send another message, which has its gRPC prefix already; nothing if the call is over."""

    def finish(self, error: ServingError | None = None) -> None:
        """End the call with a status, OK if there is no error; nothing if it is over."""


class StreamReceiver(Protocol):
    """What a service does with one such call. A ServingError that it raises ends the call."""

    def message(self, message: bytes) -> None:
        """The client has sent a message."""

    def half_closed(self) -> None:
        """The client sends no more."""

    def caught_up(self) -> None:
        """The client was behind, and has now taken all that was sent."""

    def ended(self) -> None:
        """The call is over, by whomever: called once, and nothing after it."""


StreamHandler = Callable[[StreamCall], StreamReceiver]
