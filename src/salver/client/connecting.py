"""What sends calls, for a session: grpcio or httpx, imported when the first client needs it."""

from typing import Protocol

from salver.client.exchange import Answer, Ask
from salver.client.session import Session
from salver.errors import FailedPrecondition


class Connection(Protocol):
    """Sends calls and blocks. From any thread."""

    def ask(self, step: Ask) -> Answer:
        """Send and wait.

        Raises:
            ServingError: the server's, or that it cannot be reached, or not in time.
        """

    def close(self) -> None:
        """Give back what it holds."""


class AsyncConnection(Protocol):
    """Sends calls, to await. On any loop; each has its own connections."""

    async def ask(self, step: Ask) -> Answer:
        """See `Connection.ask`."""

    async def close(self) -> None:
        """Give back what it holds."""


def connected(session: Session) -> Connection:
    """What sends calls and blocks; it connects with the first one.

    Raises:
        InvalidArgument: a file of the TLS options cannot be used.
        FailedPrecondition: a package is missing.
    """
    try:
        if session.address.is_grpc:
            from salver.client.grpc_connection import GrpcConnection

            return GrpcConnection(session.address, session.tls, session.headers)
        from salver.client.rest_connection import RestConnection

        return RestConnection(session.address, session.tls, session.headers)
    except ImportError as error:
        raise _missing(error) from error


def connected_async(session: Session) -> AsyncConnection:
    """The same, to await."""
    try:
        if session.address.is_grpc:
            from salver.client.grpc_connection import AsyncGrpcConnection

            return AsyncGrpcConnection(session.address, session.tls, session.headers)
        from salver.client.rest_connection import AsyncRestConnection

        return AsyncRestConnection(session.address, session.tls, session.headers)
    except ImportError as error:
        raise _missing(error) from error


def _missing(error: ImportError) -> FailedPrecondition:
    return FailedPrecondition(f"{error}; the client needs it: pip install 'salver[client]'")
