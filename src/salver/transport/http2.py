"""HTTP/2 on one connection: gRPC calls, and REST for clients that speak HTTP/2.

nghttp2 (through `salver._http2`) does the protocol; this module tells calls apart,
keeps their deadlines, and writes once for all that was answered in one turn.
"""

import logging
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from time import time

from salver._http2 import Session, SessionError
from salver.codecs.predict_codec import first_tensor_data
from salver.errors import (
    ResourceExhausted,
    Unimplemented,
)
from salver.telemetry.request_record import GRPC, RecordSink, RequestRecord
from salver.transport.connection import Connection, Phase
from salver.transport.exchange import Framed, HttpRequest, HttpResponse, Message
from salver.transport.grpc import (
    PREFIX_BYTES,
    Headers,
    error_headers,
    is_grpc,
    known_timeout_s,
    refusal,
)
from salver.transport.grpc_call import GrpcCall
from salver.transport.grpc_stream import GrpcStreams
from salver.transport.http_status import html_page

logger = logging.getLogger(__name__)

_ENHANCE_YOUR_CALM = 0xB
# Larger than the default of 16 KiB: a large tensor then comes in a hundredth of the frames.
_MAX_FRAME_BYTES = 2**20
# Between the notice that no new streams are wanted and the end of taking them, unless the client
# says before that it has read the notice: what it had sent by then is still served.
_NOTICE_S = 1.0
# Below that, how long a request was not read tells nothing of the load.
_NOTEWORTHY_S = 2e-3
# Its own services: who finds a busy server unhealthy would end it.
_OF_GRPC = b"/grpc."
_PREDICT_PATH = b"/tensorflow.serving.PredictionService/Predict"
_UNKNOWN_METHOD = error_headers(Unimplemented(""))


class Http2:
    """The engine for HTTP/2; also the handler of its session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        board = connection.switchboard
        options = board.options
        self._application = connection.application
        self._grpc_handlers = connection.grpc_handlers
        self._board = board
        self._refusals = board.refusals
        self._refused = board.refusals.latest
        self._client = ""
        self._records: dict[int, RequestRecord] = {}
        self._max_request_bytes = options.max_request_bytes
        self._session = Session(
            self,
            max_concurrent_streams=options.max_concurrent_streams,
            max_header_bytes=options.max_header_bytes,
            # The gRPC prefix is not part of the message.
            max_body_bytes=options.max_request_bytes + PREFIX_BYTES,
            max_frame_bytes=_MAX_FRAME_BYTES,
            streaming_paths=connection.streaming_paths,
        )
        self._loop = connection.loop
        self._cancels: dict[int, Callable[[], None]] = {}
        self._flush_is_due = False
        self._is_asked_to_leave = False
        self._is_draining = False
        self._is_over = False
        self._streams: GrpcStreams | None = None
        self._waiting: dict[int, int] = {}
        self._waiting_bytes = 0
        self._accounted = 0
        self._requests = 0
        self._in_flight = 0

    # --- the connection's side -----------------------------------------------------

    def feed(self, data: memoryview) -> None:
        if self._is_over:
            return
        try:
            self._session.feed(data)
        except SessionError as error:
            logger.debug("HTTP/2 connection ended: %s", error)
            self._is_over = True
        self.flush_soon()

    def lost(self) -> None:
        self._is_over = True
        self._connection.buffer_changed(-self._accounted)
        self._accounted = 0
        for cancel in list(self._cancels.values()):
            cancel()
        self._cancels.clear()
        for record in self._records.values():
            record.abandon()
        self._records.clear()
        if self._streams is not None:
            self._streams.lost()

    def drain(self) -> None:
        if self._is_asked_to_leave:
            return
        self._is_asked_to_leave = True
        if self._streams is not None:
            self._streams.drain()
        self._session.shutdown_notice()
        self.flush_soon()
        self._loop.call_later(_NOTICE_S, self.on_notice_read)

    def on_notice_read(self) -> None:
        """The client has read the notice, or has had its time."""
        if not (self._is_over or self._is_draining):
            self._is_draining = True
            self._session.goaway()
            self.flush_soon()

    def progress(self) -> tuple[Phase, int]:
        # A stream that is neither whole nor with us waits for the client: to send, or to read.
        session = self._session
        moved = self._requests + session.buffered_bytes - session.unsent_bytes
        owed = 0 if self._streams is None else self._streams.owed()
        if session.open_streams > self._in_flight - owed:
            return Phase.ARRIVING, moved
        return (Phase.BUSY if self._in_flight else Phase.IDLE), moved

    # --- the session's side --------------------------------------------------------

    def on_long_body(self, headers: list[tuple[bytes, bytes]], head: memoryview) -> tuple[int, int]:
        if (b":path", _PREDICT_PATH) not in headers or head[0]:
            return -1, -1
        # TensorFlow reads the values where they lie if they lie on a boundary.
        data = first_tensor_data(head[PREFIX_BYTES:])
        size = PREFIX_BYTES + int.from_bytes(head[1:PREFIX_BYTES], "big")
        return size, PREFIX_BYTES + data if data >= 0 else -1

    def on_request(self, stream_id: int, headers: list[tuple[bytes, bytes]], body: Message) -> None:
        self._requests += 1
        named = dict(headers)
        records = self._board.records
        record = None
        if records is not None:
            record = self._records[stream_id] = self._record(records, named, len(body))
        self._in_flight += 1
        if self._connection.unread_s > _NOTEWORTHY_S or self._refused:
            answer = self._refusal(named, body)
            if answer is not None:
                self.respond(stream_id, answer, None, None)
                return
        if is_grpc(named.get(b"content-type", b"")):
            self._call(stream_id, named, body, record)
        else:
            path = named.get(b":path", b"")
            request = HttpRequest(named[b":method"], path, headers, bytes(body), record)
            cancel = self._application.handle(
                request, lambda response: self._respond_http(stream_id, request, response)
            )
            if cancel is not None:
                self._wait(stream_id, cancel, len(body))

    def _refusal(self, headers: dict[bytes, bytes], body: Message) -> Headers | None:
        """The answer to a call that the server is too busy for, as far as that shows here.

        Where more comes than can be served, refusing has to cost a fraction of serving.
        """
        path = headers.get(b":path", b"")
        limit_s = known_timeout_s(headers.get(b"grpc-timeout", b""))
        if limit_s is None or path.startswith(_OF_GRPC):
            return None
        unread_s = self._connection.unread_s
        if unread_s > _NOTEWORTHY_S:
            answer = refusal(limit_s, unread_s)
            if answer is not None:
                self._board.read_too_late += 1
                return answer
            limit_s -= unread_s
        if not self._refused:
            return None
        return self._refusals.answer(path, body, limit_s, self._loop.time())

    def on_stream(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        named = dict(headers)
        if not is_grpc(named.get(b"content-type", b"")):
            self.on_request(stream_id, headers, b"")
            return
        self._requests += 1
        self._in_flight += 1
        if self._streams is None:
            handlers = self._connection.grpc_streams
            self._streams = GrpcStreams(
                self, self._session, handlers, self._max_request_bytes, self._loop
            )
            if self._is_asked_to_leave:
                self._streams.drain()
        records = self._board.records
        record = None if records is None else self._record(records, named, 0)
        self._streams.begin(stream_id, named, record)

    def on_part(self, stream_id: int, part: bytes, ended: bool) -> None:
        self._requests += 1
        if self._streams is not None:
            self._streams.part(stream_id, part, ended)

    def on_overflow(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        limit = self._max_request_bytes
        error = ResourceExhausted(f"Received message larger than max ({limit} bytes)")
        if self._streams is not None and self._streams.fail(stream_id, error):
            return
        self._in_flight += 1
        if self._board.records is not None:
            self._records[stream_id] = self._record(self._board.records, dict(headers), 0)
        if is_grpc(dict(headers).get(b"content-type", b"")):
            self.respond(stream_id, error_headers(error), None, None)
        else:
            page = HttpResponse(413, b"text/html", html_page(413))
            self._respond_http(stream_id, HttpRequest(b"", b"", headers, b""), page)

    def on_close(self, stream_id: int, error_code: int) -> None:
        cancel = self._cancels.pop(stream_id, None)
        if cancel is not None:
            # The request will not be answered any more.
            self._in_flight -= 1
            self._wait_no_more(stream_id)
            cancel()
            if self._records and (record := self._records.pop(stream_id, None)) is not None:
                record.abandon()
        elif self._streams is not None:
            self._streams.closed(stream_id)

    def stream_over(self) -> None:
        """A streamed call is no longer under way; its last bytes may still have to leave."""
        self._in_flight -= 1

    def _record(
        self, sink: RecordSink, headers: dict[bytes, bytes], request_bytes: int
    ) -> RequestRecord:
        self._client = self._client or self._connection.client
        protocol = GRPC if is_grpc(headers.get(b"content-type", b"")) else "HTTP/2"
        method, path = headers.get(b":method", b""), headers.get(b":path", b"")
        return RequestRecord(sink, self._client, protocol, method, path, request_bytes)

    def _call(
        self,
        stream_id: int,
        headers: dict[bytes, bytes],
        body: Message,
        record: RequestRecord | None,
    ) -> None:
        # CONNECT has no path.
        handler = self._grpc_handlers.get(headers.get(b":path", b""))
        if handler is None:
            self.respond(stream_id, _UNKNOWN_METHOD, None, None)
            return
        call = GrpcCall(self, stream_id, handler, record)
        unread_s = self._connection.unread_s
        late_s = unread_s if unread_s > _NOTEWORTHY_S else 0.0
        call.begin(headers, body, self._max_request_bytes, self._loop.time, late_s)
        if call.again is not None and call.deadline is not None:
            now = self._loop.time()
            self._refusals.add(
                headers[b":path"], body, call.deadline - now, call.refusal, call.again, now
            )
        if call.cancel is not None:
            self._wait(stream_id, call.give_up, len(body))

    def _wait(self, stream_id: int, cancel: Callable[[], None], size: int) -> None:
        """The request, of so many bytes, goes on after this turn."""
        self._cancels[stream_id] = cancel
        self._waiting[stream_id] = size
        self._waiting_bytes += size

    def _wait_no_more(self, stream_id: int) -> None:
        self._waiting_bytes -= self._waiting.pop(stream_id, 0)

    # --- answers -------------------------------------------------------------------

    def respond(
        self,
        stream_id: int,
        headers: tuple[tuple[bytes, bytes], ...],
        body: Framed | None,
        trailers: tuple[tuple[bytes, bytes], ...] | None,
    ) -> None:
        """Queue a whole answer; it leaves with the others of this turn."""
        if self._is_over:
            return
        self._in_flight -= 1
        if self._records and (record := self._records.pop(stream_id, None)) is not None:
            _end(record, headers, body, trailers)
        if self._cancels and self._cancels.pop(stream_id, None) is not None:
            self._wait_no_more(stream_id)
        self._session.respond(stream_id, headers, body, trailers)
        self.flush_soon()

    def flush_soon(self) -> None:
        """Write what is ready at the end of this turn."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._connection.switchboard.flush_soon(self)

    def _respond_http(self, stream_id: int, request: HttpRequest, response: HttpResponse) -> None:
        headers = (
            (b":status", b"%d" % response.status),
            (b"content-type", response.content_type),
            (b"date", _date(int(time()))),
            (b"content-length", b"%d" % len(response.body)),
            *((name.lower(), value) for name, value in response.headers),
        )
        body = None if request.method == b"HEAD" else response.body
        self.respond(stream_id, headers, body, None)

    def flush(self) -> None:
        self._flush_is_due = False
        connection = self._connection
        while connection.is_writable:
            chunks = self._session.data_to_send()
            if not chunks:
                break
            connection.write(chunks)
        if self._streams is not None:
            self._streams.flushed()
        self._account()
        session = self._session
        if self._is_over or not (session.want_read or session.want_write):
            self._is_over = True
            connection.close()
        elif self._is_draining and not session.open_streams and not session.want_write:
            connection.close()

    def _account(self) -> None:
        """Tell how many bytes of requests and answers are held here."""
        if self._is_over:
            # What was told of is given back when the connection is lost, and only once.
            return
        session = self._session
        held = session.buffered_bytes + self._waiting_bytes + session.unsent_bytes
        if self._streams is not None:
            held += self._streams.held_bytes
        if held != self._accounted:
            fits = self._connection.buffer_changed(held - self._accounted)
            self._accounted = held
            if not fits:
                logger.warning("Too many bytes wait for clients and models: a connection ends")
                session.terminate(_ENHANCE_YOUR_CALM)
                self.flush_soon()


def _end(
    record: RequestRecord, headers: Headers, body: Framed | None, trailers: Headers | None
) -> None:
    """Tell the record of a request what was answered."""
    pieces = () if body is None else body if isinstance(body, list) else (body,)
    grpc_status = dict((*headers, *(trailers or ()))).get(b"grpc-status")
    record.end(
        int(headers[0][1]),
        sum(map(len, pieces)),
        None if grpc_status is None else int(grpc_status),
    )


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
