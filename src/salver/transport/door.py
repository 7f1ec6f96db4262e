"""What one port lets in: with TLS or in the clear; HTTP, gRPC or both."""

from dataclasses import dataclass

from salver.transport.exchange import HttpRequest, HttpResponse, Respond
from salver.transport.http_status import html_page
from salver.transport.tls import ServerIdentity


@dataclass(frozen=True, slots=True)
class Door:
    """The rules of one listening socket.

    Every port speaks every protocol, unless an API was given protection that this port
    does not have: it must not be reached around that.
    """

    identity: ServerIdentity | None = None
    """None: in the clear."""
    answers_http: bool = True
    answers_grpc: bool = True


OPEN = Door()


class NoHttp:
    """The application of ports where HTTP requests are not answered."""

    def handle(self, request: HttpRequest, respond: Respond) -> None:
        respond(HttpResponse(404, b"text/html", html_page(404), closes=True))
