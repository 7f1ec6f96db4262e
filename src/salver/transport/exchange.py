"""The contract between the HTTP protocols and what answers them.

HTTP/1.1 and HTTP/2 both turn bytes into an `HttpRequest` and an `HttpResponse` into
bytes; the application between them does not know which one it serves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class HttpRequest:
    """One whole request. Header names are in lower case."""

    method: bytes
    target: bytes
    """Path and query, undecoded."""
    headers: list[tuple[bytes, bytes]]
    body: bytes

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


class HttpApplication(Protocol):
    """Answers whole requests."""

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        """Answer by one call of `respond`, at once or later; never raises.

        Returns what to call if the client goes away before that, None if answered.
        """
