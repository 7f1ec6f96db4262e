"""HTTP/1.1 on one connection: keep-alive, pipelining in order, chunks, limits.

llhttp (through httptools) parses; this module keeps the order of the answers and
decides when the connection ends. What cannot be understood is answered as libevent,
the HTTP server inside TensorFlow Serving, answers it.
"""

import re
from collections import deque
from email.utils import formatdate
from functools import lru_cache
from time import time

import httptools

from salver.telemetry.request_record import RecordSink, RequestRecord
from salver.transport.connection import REST_S, Connection, Phase
from salver.transport.exchange import Cancel, HttpRequest, HttpResponse
from salver.transport.http_status import PHRASES, html_page

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_METHODS = frozenset((b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))
_REQUEST_LINE = re.compile(rb"[^\s]+ [^\s]+ HTTP/1\.[01]\r?\n")
_BARE_LINE = re.compile(rb"[^\r\n]+\n")
_PATH = rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})"
_TARGET = re.compile(
    rb"(?:https?://[^/?#]*)?(/" + _PATH + rb"*(?:\?(?:" + _PATH + rb"|\?)*)?(?:#(?:" + _PATH
    + rb"|\?)*)?|\*)"
)  # fmt: skip
_MAX_PIPELINED = 256
_MOST_PIECES = 64
# A body of such a length is received in its place: two copies less, which pays from here on. Room
# is made for it when its first bytes are there, and counts as used; beyond, as they come.
_LONG_BODY_BYTES = range(128 * 1024, 64 * 1024 * 1024)
_LONG_ANSWER_BYTES = 64 * 1024
"""Such a body is handed on as it is; a shorter one costs less to copy behind its header."""


class _Owed:
    """A request whose answer is still to be sent, in its place in the order."""

    __slots__ = (
        "cancel", "engine", "is_head", "keeps_alive", "record", "response", "size", "version",
    )  # fmt: skip

    def __init__(self, engine: "Http1", is_head: bool, keeps_alive: bool, version: str) -> None:
        self.engine = engine
        self.is_head = is_head
        self.keeps_alive = keeps_alive
        self.version = version
        self.response: HttpResponse | None = None
        self.cancel: Cancel | None = None
        self.size = 0
        """Bytes of the request, while it waits."""
        self.record: RequestRecord | None = None

    def respond(self, response: HttpResponse) -> None:
        self.response = response
        self.engine.waiting_bytes -= self.size
        self.size = 0
        self.cancel = None
        if self.record is not None:
            self.record.end(response.status, 0 if self.is_head else len(response.body))
        self.engine.send_ready()


class Http1:
    """The engine for HTTP/1.0 and 1.1; also the target of the parser's callbacks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.switchboard.options
        self._application = connection.application
        self._client = ""
        self._parser: httptools.HttpRequestParser | None = None
        self._owed: deque[_Owed] = deque()
        self._out: list[bytes | memoryview] = []
        self._flush_is_due = False
        self._is_closing = False
        self._refused = 0
        self._requests = 0
        self._is_arriving = False
        self.waiting_bytes = 0
        """Bytes of requests that are read but not answered."""
        self._accounted = 0
        self._start_over()

    def _start_over(self) -> None:
        """Forget the request that was read; the next one begins."""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._body: list[bytes | bytearray] = []
        self._body_bytes = 0
        self._length = 0
        self._long_body: bytearray | None = None

    def _new_parser(self, data: memoryview) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        if _BARE_LINE.match(data):
            # The server that clients know has always taken bare line feeds. Only those who
            # send them get a parser that does: behind a proxy such leniency is a risk.
            parser.set_dangerous_leniencies(
                lenient_optional_lf_after_cr=True, lenient_optional_cr_before_lf=True
            )
        return parser

    # --- the connection's side -----------------------------------------------------

    def feed(self, data: memoryview) -> None:
        if self._is_closing:
            return
        if self._parser is None:
            self._parser = self._new_parser(data)
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            # What follows the last request of a connection is none of our business.
            if not self._is_closing:
                self._refused = self._refused or self._status_of(error, data)
        if self._body and self._length in _LONG_BODY_BYTES:
            self._receive_long_body()
        if self.waiting_bytes or self._is_arriving or self._accounted:
            self._account()
        if self._refused:
            self._refuse(self._refused)
            self.send_ready()

    def _receive_long_body(self) -> None:
        """Take the rest of the body from the socket, past the parser, to where it belongs."""
        assert self._parser is not None
        if self._refused or self._is_closing or self._parser.should_upgrade():
            return
        self._long_body = bytearray(self._length)
        place = memoryview(self._long_body)
        place[: self._body_bytes] = b"".join(self._body)
        self._body = []
        self._connection.receive_into(place[self._body_bytes :], self._on_long_body)

    def _on_long_body(self, size: int) -> None:
        self._body_bytes += size
        if self._body_bytes == self._length and self._long_body is not None:
            self._take_request(self._long_body)
            # It still waits for the body.
            self._parser = None
            self._account()
            if self._refused:
                self._refuse(self._refused)
                self.send_ready()

    def _go_on_without_upgrade(self, rest: memoryview) -> None:
        # No upgrade is offered. The parser skipped the body of such a request: it is read
        # again, as if it had not asked.
        while not (self._refused or self._is_closing):
            head = self._head_without_upgrade()
            self._start_over()
            self._parser = self._new_parser(memoryview(head))
            try:
                self._parser.feed_data(head)
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        assert self._parser is not None
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._target, version)]
        kept = (header for header in self._headers if header[0] not in (b"upgrade", b"expect"))
        return b"\r\n".join([*lines, *(b"%b: %b" % header for header in kept), b"\r\n"])

    def lost(self) -> None:
        self._is_closing = True
        self._body_bytes = 0
        self._long_body = None
        self._give_up_owed()
        self._account()

    def _give_up_owed(self) -> None:
        """Nobody will read the answers that are still to come."""
        while self._owed:
            self._give_up(self._owed.popleft())

    def _give_up(self, owed: _Owed) -> None:
        self.waiting_bytes -= owed.size
        owed.size = 0
        if owed.record is not None and owed.response is None:
            owed.record.abandon()
        if owed.cancel is not None:
            owed.cancel()

    def drain(self) -> None:
        if self._owed:
            self._owed[-1].keeps_alive = False
        elif not self._is_arriving:
            # The next request may be on its way: then its answer is the one that says goodbye.
            self._connection.loop.call_later(REST_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not (self._owed or self._is_arriving or self._is_closing):
            self._is_closing = True
            self._connection.close()

    def progress(self) -> tuple[Phase, int]:
        if self._owed:
            return Phase.BUSY, self._requests
        # Only bytes of bodies count: a header has to be there in time, however it trickles.
        moved = self._requests + self._body_bytes
        return (Phase.ARRIVING if self._is_arriving else Phase.IDLE), moved

    # --- the parser's side ---------------------------------------------------------

    # Called some ten times per request: as few calls and as little in them as can be.

    def on_url(self, url: bytes) -> None:
        self._is_arriving = True
        self._target += url
        self._header_bytes += len(url)
        if self._header_bytes > self._options.max_header_bytes:
            self._refuse_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._headers.append((name, value))
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._options.max_header_bytes:
            self._refuse_headers()
        elif name == b"expect" and not self._refused:
            self._expect(value)
        elif name == b"content-length":
            self._expect_body(value)

    def _refuse_headers(self) -> None:
        self._refused = self._refused or 431
        self._headers = []
        self._target = b""

    def _expect_body(self, length: bytes) -> None:
        if not length.isdigit():
            return
        if len(length) > 18 or int(length) > self._options.max_request_bytes:
            # Refused before it is sent, not after.
            self._refused = self._refused or 413
        else:
            self._length = int(length)

    def _expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            self._refused = 417
        elif not self._owed:
            self._connection.write([*self._out, _CONTINUE])
            self._out = []

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._options.max_request_bytes:
            self._refused = self._refused or 413
        if self._refused:
            self._body.clear()
        elif len(self._body) < _MOST_PIECES:
            self._body.append(body)
        else:
            # Each piece is an object: a body in chunks of a byte would take many times its length.
            last = self._body[-1]
            if type(last) is not bytearray:
                last = self._body[-1] = bytearray(last)
            last += body

    def on_message_complete(self) -> None:
        self._take_request(self._body[0] if len(self._body) == 1 else b"".join(self._body))

    def _take_request(self, body: bytes | bytearray) -> None:
        self._is_arriving = False
        if self._refused or self._is_closing:
            return
        self._requests += 1
        assert self._parser is not None
        method = self._parser.get_method()
        target = _origin_form(self._target)
        version = self._parser.get_http_version()
        self._refused = _refusal(method, target, version)
        if self._refused or self._parser.should_upgrade():
            return
        assert target is not None
        request = HttpRequest(method, target, self._headers, body)
        self._start_over()
        keeps_alive = self._parser.should_keep_alive()
        owed = _Owed(self, method == b"HEAD", keeps_alive, version)
        self._owed.append(owed)
        if not keeps_alive or self._connection.switchboard.is_draining:
            owed.keeps_alive = False
            self._is_closing = True
        if len(self._owed) > _MAX_PIPELINED:
            self._refused = 503
        records = self._connection.switchboard.records
        if records is not None:
            record = self._record(records, version, method, target, len(body))
            request.record = owed.record = record
        cancel = self._application.handle(request, owed.respond)
        if owed.response is None:
            owed.cancel = cancel
            owed.size = len(body)
            self.waiting_bytes += owed.size

    def _record(
        self, sink: RecordSink, version: str, method: bytes, target: bytes, size: int
    ) -> RequestRecord:
        self._client = self._client or self._connection.client
        return RequestRecord(sink, self._client, f"HTTP/{version}", method, target, size)

    # --- answers -------------------------------------------------------------------

    def send_ready(self) -> None:
        """Send every answer whose turn has come."""
        owed = self._owed
        while owed and owed[0].response is not None:
            first = owed.popleft()
            assert first.response is not None
            closes = first.response.closes or not first.keeps_alive
            _append_response(self._out, first, first.response, closes)
            if closes:
                self._is_closing = True
                self._give_up_owed()
        if not self._flush_is_due and (self._out or self._is_closing):
            self._flush_is_due = True
            self._connection.switchboard.flush_soon(self)

    def flush(self) -> None:
        self._flush_is_due = False
        if self._accounted:
            self._account()
        if not self._connection.is_writable:
            return
        if self._out:
            self._connection.write(self._out)
            self._out = []
        if self._is_closing and not self._owed:
            if self._refused:
                self._connection.refuse()
            else:
                self._connection.close()

    def _refuse(self, status: int) -> None:
        records = self._connection.switchboard.records
        if records is not None:
            # Nobody knows for sure what was asked; the path tells as far as it was read.
            self._record(records, "1.1", b"", self._target, self._body_bytes).end(status, 0)
        self._is_closing = True
        self._body = []
        self._long_body = None
        self._body_bytes = 0
        self._account()
        owed = _Owed(self, is_head=False, keeps_alive=False, version="1.1")
        owed.response = HttpResponse(status, b"text/html", html_page(status))
        self._owed.append(owed)

    def _account(self) -> None:
        """Tell how many bytes of requests are held here."""
        held = self.waiting_bytes
        if self._is_arriving:
            held += self._body_bytes if self._long_body is None else self._length
        if held != self._accounted:
            fits = self._connection.buffer_changed(held - self._accounted)
            self._accounted = held
            if not fits and not self._refused:
                self._refused = 503
                if not self._is_arriving:
                    self._give_up_newest()

    def _give_up_newest(self) -> None:
        """Have the refusal take the place of the newest request that waits."""
        while self._owed:
            owed = self._owed.pop()
            if owed.size:
                self._give_up(owed)
                return

    def _status_of(self, error: Exception, data: memoryview) -> int:
        if self._is_arriving and self._headers and "chunk" in str(error).lower():
            return 413
        match = _REQUEST_LINE.match(data)
        if match and match[0].split(b" ", 1)[0] not in _METHODS:
            return 501
        return 400


@lru_cache(maxsize=1024)
def _origin_form(target: bytes) -> bytes | None:
    """Path and query of a request target; None if it is no URI by RFC 3986."""
    match = _TARGET.fullmatch(target)
    return None if match is None else match[1]


def _refusal(method: bytes, target: bytes | None, version: str) -> int:
    if method not in _METHODS:
        return 501
    if target is None or version not in ("1.0", "1.1"):
        return 400
    return 0


@lru_cache(maxsize=16)
def _head(status: int, content_type: bytes, second: int) -> bytes:
    """The first lines of an answer, made once a second for each kind."""
    date = formatdate(second, usegmt=True)
    line = f"HTTP/1.1 {status} {PHRASES.get(status, 'Unknown')}\r\nDate: {date}\r\nContent-Type: "
    return line.encode() + content_type + b"\r\nContent-Length: "


def _append_response(
    out: list[bytes | memoryview], owed: _Owed, response: HttpResponse, closes: bool
) -> None:
    head = _head(response.status, response.content_type, int(time()))
    body = response.body
    is_plain = not (response.headers or closes or owed.is_head) and owed.version == "1.1"
    if is_plain and len(body) < _LONG_ANSWER_BYTES:
        # Nearly every answer.
        out.append(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        return
    lines = [head, b"%d\r\n" % len(body)]
    if response.headers:
        lines.extend(b"%b: %b\r\n" % header for header in response.headers)
    if closes:
        lines.append(b"Connection: close\r\n")
    elif owed.version == "1.0":
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    if owed.is_head:
        body = b""
    if len(body) < _LONG_ANSWER_BYTES:
        out.append(b"".join([*lines, body]))
    else:
        out += (b"".join(lines), body)
