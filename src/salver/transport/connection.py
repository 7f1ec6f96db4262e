"""One client connection: its socket, its limits, and the protocol that its first bytes choose.

All connections of the loop share one receive buffer: reading and parsing happen in one
go, and whatever must outlive that is copied by the parser.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from time import perf_counter
from typing import Protocol, cast

from salver.telemetry.request_record import RecordSink
from salver.transport.door import OPEN, Door, NoHttp
from salver.transport.exchange import Handler, HttpApplication, StreamHandler
from salver.transport.receive_buffer import ReceiveBuffer
from salver.transport.refusals import Refusals
from salver.transport.unread import Leftover, Turns, unread_bytes

logger = logging.getLogger(__name__)

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_WRITE_HIGH_WATER = 1024 * 1024
_LINGER_S = 1.0
REST_S = 1.0
"""How long a connection that rests stays open when the server ends: a request may be on its way."""


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Limits of one listener's connections."""

    max_request_bytes: int = 2**31 - 1
    """Largest body of one request, as sent and, for gRPC, as decompressed."""
    max_header_bytes: int = 64 * 1024
    """Largest header block of one request, its target included."""
    max_concurrent_streams: int = 1000
    """Requests that one HTTP/2 connection may have under way."""
    max_buffered_bytes: int = _half_of_memory()
    """Bytes of requests and answers that wait, for a client or a model, over all connections."""
    max_connections: int = 0
    """Connections open at a time; more are closed at once. 0: no limit."""
    stall_timeout_s: float = 30.0
    """Longest wait for a client that owes the rest of a request or does not read; 0: no limit."""
    idle_timeout_s: float = 0.0
    """Longest time without any request; 0: no limit, as TensorFlow Serving has none."""


class Phase(Enum):
    """What a connection is waiting for."""

    IDLE = "for a request"
    ARRIVING = "for the rest of a request"
    BUSY = "for the model"


class Engine(Protocol):
    """An HTTP version at work on one connection."""

    def feed(self, data: memoryview) -> None:
        """Take bytes from the client; they are valid during the call only."""

    def lost(self) -> None:
        """The connection is gone: whatever runs for it is no longer wanted."""

    def flush(self) -> None:
        """Write what is ready: at the end of a turn of the loop, or when the client reads again."""

    def drain(self) -> None:
        """Take no new requests and close once those under way are answered."""

    def progress(self) -> tuple[Phase, int]:
        """What is waited for, and a number that changes whenever something has moved."""


class Switchboard:
    """What all connections of a loop share: the applications, the limits, the buffer."""

    def __init__(
        self,
        options: ConnectionOptions,
        application: HttpApplication,
        grpc_handlers: Mapping[bytes, Handler],
        engines: tuple[Callable[["Connection"], Engine], Callable[["Connection"], Engine]],
        grpc_streams: Mapping[bytes, StreamHandler] | None = None,
        records: RecordSink | None = None,
        handshake_failed: Callable[[str], None] | None = None,
        nap: Callable[[float], None] | None = None,
        end_turn: Callable[[], None] | None = None,
    ) -> None:
        self.options = options
        self.application = application
        self.grpc_handlers = grpc_handlers
        self.grpc_streams = grpc_streams or {}
        self.streaming_paths = frozenset(self.grpc_streams)
        self.http1_engine, self.http2_engine = engines
        self.records = records
        """Who gets a record of each request, if anybody does; may change at any time."""
        self.handshake_failed = handshake_failed
        """Who is told, if anybody is, why a TLS handshake came to nothing."""
        self._nap = nap
        """Lets the loop do nothing for so many seconds if that makes room for the runs."""
        self._end_turn = end_turn
        """Is called, if it is there, when all that has arrived has been read, before answers are
        written: for those who answer all that comes in a turn of the loop together."""
        self.receiving = ReceiveBuffer()
        self._turns = Turns()
        self.refusals = Refusals()
        self.read_too_late = 0
        """Calls that were refused because they were read too late."""
        self.connections: set[Connection] = set()
        self.buffered_bytes = 0
        self._to_flush: list[Engine] = []
        self._flush_is_due = False
        self.is_draining = False
        self.all_closed = asyncio.Event()
        """Set once draining has left no connection."""

    def connection(self, door: Door = OPEN) -> "Connection":
        """A protocol for one new socket that comes in by `door`."""
        return Connection(self, door)

    def flush_soon(self, engine: Engine) -> None:
        """Have `engine` write when everything that has arrived by now has been read.

        Each write may wake the client, which costs more than many an answer: those of all
        connections together wake it once.
        """
        self._to_flush.append(engine)
        if not self._flush_is_due:
            self._flush_at_the_end()

    def came_after(self, now: float) -> float:
        """See `Turns`: of what is read now."""
        if not self._flush_is_due:
            self._flush_at_the_end()
        return self._turns.came_after(now)

    def _flush_at_the_end(self) -> None:
        self._flush_is_due = True
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._end_turn is not None:
            self._end_turn()
        self._flush_is_due = False
        engines, self._to_flush = self._to_flush, []
        for engine in engines:
            try:
                engine.flush()
            except Exception:  # the others have answers to send, too
                logger.exception("Unexpected error on a connection")
        nap_s = self.refusals.take_nap_s()
        if nap_s and self._nap is not None:
            self._nap(nap_s)
        self._turns.end(perf_counter())

    def drain(self) -> None:
        """Ask every connection to come to its end."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.drain()
        if not self.connections:
            self.all_closed.set()

    def closed(self, connection: "Connection") -> None:
        """Forget a connection whose socket is gone."""
        self.connections.discard(connection)
        if self.is_draining and not self.connections:
            self.all_closed.set()

    def sweep(self, now: float) -> None:
        """Close what has waited too long; called every second or so."""
        self.refusals.clear()
        for connection in list(self.connections):
            connection.check_progress(now)


class Connection(asyncio.BufferedProtocol):
    """The socket's side: reads, writes, back-pressure, time limits. Loop only.

    A client that closes its side counts as gone: TCP does not tell whether it would
    still read, and one that has given up should not keep the workers busy.
    """

    def __init__(self, switchboard: Switchboard, door: Door = OPEN) -> None:
        self.switchboard = switchboard
        self._receiving = switchboard.receiving
        self.application = switchboard.application if door.answers_http else NoHttp()
        self.grpc_handlers = switchboard.grpc_handlers if door.answers_grpc else {}
        self.grpc_streams = switchboard.grpc_streams if door.answers_grpc else {}
        self.streaming_paths = switchboard.streaming_paths if door.answers_grpc else frozenset()
        self.loop = asyncio.get_running_loop()
        self.is_writable = True
        self._transport: asyncio.Transport | None = None
        self._engine: Engine | None = None
        self.unread_s = 0.0
        """How long, at most, what is read now has waited to be read."""
        self._leftover: Leftover | None = None
        self._first_bytes = b""
        self._is_discarding = False
        self._place: memoryview | None = None
        self._on_placed: Callable[[int], None] | None = None
        self._mark: tuple[object, ...] = ()
        self._marked_at = self.loop.time()

    # --- from the loop -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        board = self.switchboard
        board.connections.add(self)
        if board.is_draining:
            # It waited to be accepted when the end came.
            board.all_closed.clear()
            self.drain()
        limit = board.options.max_connections
        if limit and len(board.connections) > limit:
            logger.warning("Refused a connection: %d are open", limit)
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._receiving.room if self._place is None else self._place

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_discarding:
            return
        if self._place is not None:
            self._placed(nbytes)
            return
        room = self._receiving.room
        now = perf_counter()
        came_after = self.switchboard.came_after(now)
        leftover = self._leftover
        if leftover is not None:
            came_after = leftover.came_after(nbytes)
        self.unread_s = now - came_after
        if nbytes < len(room):
            self._leftover = None
            self._take(room[:nbytes])
            return
        # There may be more than can be answered in this turn.
        left = self._unread_bytes()
        if leftover is None:
            self._leftover = Leftover(came_after, now, left)
        else:
            leftover.look(now, left)
        self._take(room)
        if self._receiving.is_long(perf_counter() - now):
            self._pause_for_a_turn()

    def _unread_bytes(self) -> int:
        assert self._transport is not None
        socket = self._transport.get_extra_info("socket")
        return 0 if socket is None else unread_bytes(socket.fileno())

    def _take(self, data: memoryview) -> None:
        if self._engine is not None:
            self._engine.feed(data)
        else:
            self._choose_engine(bytes(data))

    def _pause_for_a_turn(self) -> None:
        """What else has come waits in the socket until the others have had theirs."""
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        assert self._transport is not None
        if self.is_writable and not self._transport.is_closing():
            self._transport.resume_reading()

    def _placed(self, nbytes: int) -> None:
        assert self._place is not None
        assert self._on_placed is not None
        on_placed = self._on_placed
        self._place = self._place[nbytes:]
        if not self._place:
            self._place = self._on_placed = None
        on_placed(nbytes)

    def eof_received(self) -> None:
        # What is answered by now is still sent; then the transport closes by itself.
        if self._engine is not None:
            self._engine.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.switchboard.closed(self)
        if self._engine is not None:
            self._engine.lost()

    def pause_writing(self) -> None:
        # A client that does not read gets no more work done either.
        self.is_writable = False
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_writable = True
        self._read_on()
        if self._engine is not None:
            self._engine.flush()

    # --- for the engines -----------------------------------------------------------

    @property
    def client(self) -> str:
        """Address and port of the client, `unix` for one on a UNIX socket."""
        peer = None if self._transport is None else self._transport.get_extra_info("peername")
        if not isinstance(peer, tuple):
            return "unix"
        host, port = peer[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def write(self, chunks: list[bytes | memoryview]) -> None:
        """Send `chunks` in order; they are not copied where the socket takes them at once."""
        if self._transport is None or self._transport.is_closing():
            return
        if len(chunks) == 1:
            self._transport.write(chunks[0])
        else:
            self._transport.writelines(chunks)

    def receive_into(self, place: memoryview, on_placed: Callable[[int], None]) -> None:
        """Receive the next bytes where they belong rather than in the shared buffer.

        `on_placed` is called with how many there are now, until `place` is full; then
        bytes go to `Engine.feed` again.
        """
        self._place, self._on_placed = place, on_placed

    def close(self) -> None:
        """Close after what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def refuse(self) -> None:
        """Close after a refusal while the client may still be sending.

        Closing at once would reset the connection, and the client might never read why.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._is_discarding = True
        self._place = self._on_placed = None
        if transport.can_write_eof():
            transport.write_eof()
        self.loop.call_later(_LINGER_S, transport.close)

    def buffer_changed(self, difference: int) -> bool:
        """Account for bytes of requests and answers that are held; False: there are too many."""
        board = self.switchboard
        board.buffered_bytes += difference
        return difference <= 0 or board.buffered_bytes <= board.options.max_buffered_bytes

    # --- time and endings ----------------------------------------------------------

    def drain(self) -> None:
        if self._engine is None:
            # What it will send may be on its way: then that is answered.
            self.loop.call_later(REST_S, self._close_if_silent)
        else:
            self._engine.drain()

    def _close_if_silent(self) -> None:
        if self._engine is None:
            self.close()

    def check_progress(self, now: float) -> None:
        """Abort if the client owes something and nothing has moved for too long."""
        phase, count = (Phase.IDLE, 0) if self._engine is None else self._engine.progress()
        mark = (phase, count, self._unsent_bytes())
        if mark != self._mark:
            self._mark, self._marked_at = mark, now
            return
        options = self.switchboard.options
        limit_s = 0.0
        if phase is Phase.ARRIVING or self._unsent_bytes() or self._engine is None:
            limit_s = options.stall_timeout_s
        elif phase is Phase.IDLE:
            limit_s = options.idle_timeout_s
        if limit_s and now - self._marked_at >= limit_s and self._transport is not None:
            self._transport.abort()

    def _unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _choose_engine(self, data: bytes) -> None:
        data = self._first_bytes + data
        if len(data) < len(HTTP2_PREFACE) and HTTP2_PREFACE.startswith(data):
            self._first_bytes = data
            return
        is_http2 = data.startswith(HTTP2_PREFACE)
        board = self.switchboard
        engine = board.http2_engine if is_http2 else board.http1_engine
        self._first_bytes = b""
        self._engine = engine(self)
        self._engine.feed(memoryview(data))
        if board.is_draining:
            self._engine.drain()
