"""gRPC calls with streams of messages: those of one connection, and each by itself.

What a client does not take is bounded: beyond a limit of unsent answers its next
messages wait, and beyond a limit of waiting messages its call ends. A call that
nobody reads, or whose message never gets whole, counts as owed by the client.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from salver._http2 import Session
from salver.errors import (
    DeadlineExceeded,
    InternalError,
    ResourceExhausted,
    ServingError,
    Unavailable,
    unexpected_error,
)
from salver.telemetry.request_record import RequestRecord
from salver.transport.compression import Damaged, TooLarge, inflate
from salver.transport.exchange import StreamHandler, StreamReceiver
from salver.transport.grpc import (
    OK_TRAILERS,
    PREFIX_BYTES,
    RESPONSE_HEADERS,
    error_headers,
    error_trailers,
    timeout_s,
    window_bits_of,
)

logger = logging.getLogger(__name__)

_HTTP_OK = 200

MAX_MESSAGE_BYTES = 256 * 1024
"""Of a message on a stream, and of all that wait there; small enough to be unpacked inline."""
_MAX_UNSENT_BYTES = 64 * 1024


class Engine(Protocol):
    """The connection under the calls."""

    def flush_soon(self) -> None:
        """Send what the session has, at the end of this turn."""

    def stream_over(self) -> None:
        """One of the calls is no longer under way."""


class GrpcStreams:
    """The calls of one connection that are streams. Loop only."""

    def __init__(
        self,
        engine: Engine,
        session: Session,
        handlers: Mapping[bytes, StreamHandler],
        max_request_bytes: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.engine = engine
        self.session = session
        self.loop = loop
        self.max_message_bytes = min(max_request_bytes, MAX_MESSAGE_BYTES)
        self.held_bytes = 0
        """Bytes of messages that have come but are not taken."""
        self.sending: set[GrpcStream] = set()
        """Calls with bytes that may not have left."""
        self.open: dict[int, GrpcStream] = {}
        self._handlers = handlers
        self._is_draining = False

    def begin(
        self, stream_id: int, headers: Mapping[bytes, bytes], record: RequestRecord | None
    ) -> None:
        """A call has come; its messages follow."""
        stream = self.open[stream_id] = GrpcStream(self, stream_id, record)
        if self._is_draining:
            stream.finish(_shutting_down())
        else:
            stream.begin(self._handlers[headers[b":path"]], headers)

    def part(self, stream_id: int, part: bytes, ended: bool) -> None:
        """Bytes of messages have come; `ended`: the last ones."""
        stream = self.open.get(stream_id)
        if stream is not None:
            stream.take(part, ended)

    def fail(self, stream_id: int, error: ServingError) -> bool:
        """End a call with an error; False if there is no such call."""
        stream = self.open.get(stream_id)
        if stream is None:
            return False
        stream.finish(error)
        return True

    def closed(self, stream_id: int) -> None:
        """The client has gone away from a call, which may be none of ours."""
        stream = self.open.get(stream_id)
        if stream is not None:
            stream.end()

    def lost(self) -> None:
        """The connection is gone."""
        for stream in list(self.open.values()):
            stream.end()

    def drain(self) -> None:
        """End all calls, and from now on each that comes."""
        self._is_draining = True
        for stream in list(self.open.values()):
            stream.finish(_shutting_down())

    def flushed(self) -> None:
        """Bytes have left, or could not: who was waiting for that goes on."""
        for stream in list(self.sending):
            stream.flushed()

    def owed(self) -> int:
        """How many of the calls wait for the client to read, or for the rest of a message."""
        return sum(stream.is_behind or stream.has_part for stream in self.open.values())


class GrpcStream:
    """What the service of a method sees as `StreamCall`. Loop only."""

    __slots__ = (
        "_encoding", "_has_answered", "_has_end_to_tell", "_id", "_is_over", "_received",
        "_receiver", "_record", "_sent_bytes", "_streams", "_timer", "_unsent", "is_behind",
    )  # fmt: skip

    def __init__(self, streams: GrpcStreams, stream_id: int, record: RequestRecord | None) -> None:
        self._streams = streams
        self._id = stream_id
        self._record = record
        self._sent_bytes = 0
        self._receiver: StreamReceiver | None = None
        self._encoding = b""
        self._timer: asyncio.TimerHandle | None = None
        self._received = bytearray()
        self._unsent = 0
        self._has_end_to_tell = False
        self._has_answered = False
        self._is_over = False
        self.is_behind = False

    @property
    def has_part(self) -> bool:
        """Whether a message has begun to come."""
        return bool(self._received)

    def begin(self, handler: StreamHandler, headers: Mapping[bytes, bytes]) -> None:
        """Start the call's clock and its service; every fault becomes the end of the call."""
        self._encoding = headers.get(b"grpc-encoding", b"")
        try:
            limit_s = timeout_s(headers.get(b"grpc-timeout", b""))
            if limit_s is not None:
                self._timer = self._streams.loop.call_later(limit_s, self._expire)
        except ServingError as error:
            self.finish(error)
            return
        self._guard(lambda: self._start(handler))

    def _start(self, handler: StreamHandler) -> None:
        self._receiver = handler(self)

    def _expire(self) -> None:
        self.finish(DeadlineExceeded("Deadline Exceeded"))

    # --- from the client -----------------------------------------------------------

    def take(self, part: bytes, ended: bool) -> None:
        """Add to what has come, and hand over the messages that are whole."""
        self._received += part
        self._streams.held_bytes += len(part)
        if self._record is not None:
            self._record.request_bytes += len(part)
        self._has_end_to_tell |= ended
        self._guard(self._deliver)

    def _deliver(self) -> None:
        while not self._is_over and self._unsent < _MAX_UNSENT_BYTES:
            message = self._next_message()
            if message is None:
                break
            self._receive(message)
        if self._is_over:
            return
        if len(self._received) > self._streams.max_message_bytes + PREFIX_BYTES:
            raise ResourceExhausted("Too many messages wait for the client to read the answers")
        if self._has_end_to_tell and self._unsent < _MAX_UNSENT_BYTES:
            if self._received:
                raise InternalError("The request ended before its message was complete")
            self._has_end_to_tell = False
            assert self._receiver is not None
            self._receiver.half_closed()

    def _next_message(self) -> tuple[bytes, bool] | None:
        """The next whole message and whether it is compressed; None if there is none."""
        received = self._received
        if len(received) < PREFIX_BYTES:
            return None
        size = int.from_bytes(received[1:PREFIX_BYTES], "big")
        limit = self._streams.max_message_bytes
        if received[0] > 1:
            raise InternalError(f"Invalid gRPC message flags: {received[0]}")
        if size > limit:
            raise ResourceExhausted(f"Received message larger than max ({limit} bytes)")
        end = PREFIX_BYTES + size
        if len(received) < end:
            return None
        message, is_compressed = bytes(received[PREFIX_BYTES:end]), received[0] == 1
        del received[:end]
        self._streams.held_bytes -= end
        return message, is_compressed

    def _receive(self, message: tuple[bytes, bool]) -> None:
        data, is_compressed = message
        assert self._receiver is not None
        if not is_compressed:
            self._receiver.message(data)
            return
        # As small as messages are here, it is done before this returns.
        inflate(
            data, window_bits_of(self._encoding), self._streams.max_message_bytes, self._inflated
        )

    def _inflated(self, outcome: bytes | Damaged | TooLarge) -> None:
        if isinstance(outcome, TooLarge):
            raise ResourceExhausted("The decompressed message is too large")
        if isinstance(outcome, Damaged):
            raise InternalError(f"Cannot decompress the request message: {outcome}")
        assert self._receiver is not None
        self._receiver.message(outcome)

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except ServingError as error:
            self.finish(error)
        except Exception:  # the request boundary
            logger.exception("Unexpected error in a call")
            self.finish(unexpected_error())

    # --- to the client -------------------------------------------------------------

    def send(self, framed: bytes) -> None:
        if self._is_over:
            return
        streams = self._streams
        if not self._has_answered:
            self._has_answered = True
            streams.session.start_response(self._id, RESPONSE_HEADERS)
        self._unsent = streams.session.send(self._id, framed)
        self._sent_bytes += len(framed)
        streams.sending.add(self)
        streams.engine.flush_soon()

    def flushed(self) -> None:
        """See what is left of the answers after some may have been sent."""
        if self._is_over:
            return
        was_behind = self.is_behind
        self._unsent = self._streams.session.send(self._id, b"")
        self.is_behind = self._unsent > 0
        if self.is_behind and self._unsent >= _MAX_UNSENT_BYTES:
            return
        if not self.is_behind:
            self._streams.sending.discard(self)
        self._guard(self._deliver)
        if was_behind and not self.is_behind and not self._is_over:
            assert self._receiver is not None
            self._guard(self._receiver.caught_up)

    def finish(self, error: ServingError | None = None) -> None:
        if self._is_over:
            return
        session = self._streams.session
        if self._has_answered:
            session.finish(self._id, OK_TRAILERS if error is None else error_trailers(error))
        elif error is None:
            session.respond(self._id, RESPONSE_HEADERS, None, OK_TRAILERS)
        else:
            session.respond(self._id, error_headers(error), None, None)
        record, self._record = self._record, None
        if record is not None:
            record.end(_HTTP_OK, self._sent_bytes, 0 if error is None else int(error.code))
        self._streams.engine.flush_soon()
        self.end()

    def end(self) -> None:
        """Nothing can be sent any more: let go of everything."""
        if self._is_over:
            return
        self._is_over = True
        if self._record is not None:
            self._record.abandon(self._sent_bytes)
        streams = self._streams
        del streams.open[self._id]
        streams.sending.discard(self)
        streams.held_bytes -= len(self._received)
        self._received.clear()
        if self._timer is not None:
            self._timer.cancel()
        streams.engine.stream_over()
        if self._receiver is not None:
            try:
                self._receiver.ended()
            except Exception:  # the others on the connection go on
                logger.exception("Unexpected error at the end of a call")


def _shutting_down() -> ServingError:
    return Unavailable("The server is shutting down")
