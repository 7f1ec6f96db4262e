"""One unary gRPC call: from a whole request to its answer or its end without one."""

import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Protocol

from salver.errors import (
    DeadlineExceeded,
    InternalError,
    ResourceExhausted,
    ServingError,
    unexpected_error,
)
from salver.telemetry.request_record import RequestRecord
from salver.transport.compression import MAX_INFLATED_BYTES, Damaged, TooLarge, inflate
from salver.transport.exchange import Framed, Handler, Message
from salver.transport.grpc import (
    OK_TRAILERS,
    RESPONSE_HEADERS,
    Headers,
    error_headers,
    single_message,
    timeout_s,
    window_bits_of,
)

logger = logging.getLogger(__name__)


class Responder(Protocol):
    """Where answers go: the engine of the connection."""

    def respond(
        self, stream_id: int, headers: Headers, body: Framed | None, trailers: Headers | None
    ) -> None:
        """Send a whole answer."""


class GrpcCall:
    """What the handler of a method sees as `UnaryCall`. Loop only."""

    __slots__ = (
        "_handler", "_responder", "_stream_id", "again", "cancel", "deadline", "record", "refusal",
        "started",
    )  # fmt: skip

    def __init__(
        self,
        responder: Responder,
        stream_id: int,
        handler: Handler,
        record: RequestRecord | None = None,
    ) -> None:
        self._responder = responder
        self._stream_id = stream_id
        self._handler = handler
        self.record = record
        self.started = perf_counter()
        self.deadline: float | None = None
        self.cancel: Callable[[], None] | None = None
        self.again: Callable[[], None] | None = None
        """What was told to `refuse`."""
        self.refusal: Headers = ()

    def begin(
        self,
        headers: Mapping[bytes, bytes],
        body: Message,
        max_message_bytes: int,
        loop_time: Callable[[], float],
        unread_s: float,
    ) -> None:
        """Read the request and hand it to the handler; every fault becomes an answer.

        `unread_s`: so long it has waited to be read.
        """
        try:
            limit_s = timeout_s(headers.get(b"grpc-timeout", b""))
            if limit_s is not None:
                if limit_s <= 0:
                    raise DeadlineExceeded("Deadline Exceeded")
                self.deadline = loop_time() + limit_s - unread_s
            message, is_compressed = single_message(body)
            if not is_compressed:
                self._handle(message)
                return
            window_bits = window_bits_of(headers.get(b"grpc-encoding", b""))
            max_bytes = min(max_message_bytes, MAX_INFLATED_BYTES)
            cancel = inflate(message, window_bits, max_bytes, self._inflated)
            if cancel is not None:
                self.cancel = cancel
        except ServingError as error:
            self.fail(error)

    def _inflated(self, outcome: bytes | Damaged | TooLarge) -> None:
        self.cancel = None
        if isinstance(outcome, TooLarge):
            self.fail(ResourceExhausted("The decompressed message is too large"))
        elif isinstance(outcome, Damaged):
            self.fail(InternalError(f"Cannot decompress the request message: {outcome}"))
        else:
            self._handle(outcome)

    def _handle(self, message: Message) -> None:
        try:
            self._handler(self, message)
        except ServingError as error:
            self.fail(error)
        except Exception:  # the request boundary
            logger.exception("Unexpected error in a call")
            self.fail(unexpected_error())

    def give_up(self) -> None:
        """The client does not wait any more."""
        if self.cancel is not None:
            self.cancel()

    def succeed(self, framed: Framed) -> None:
        self._responder.respond(self._stream_id, RESPONSE_HEADERS, framed, OK_TRAILERS)

    def refuse(self, error: ServingError, again: Callable[[], None]) -> None:
        self.again, self.refusal = again, error_headers(error)
        self._responder.respond(self._stream_id, self.refusal, None, None)

    def fail(self, error: ServingError) -> None:
        self._responder.respond(self._stream_id, error_headers(error), None, None)
