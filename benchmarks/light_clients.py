"""Clients of both protocols that cost next to nothing: ready bytes out, the status in."""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from hpack import Decoder

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
# No table that changes: the same header block then always has the same meaning.
_NO_TABLE = bytes((0, 1, 0, 0, 0, 0, 0, 4, 0x7F, 0xFF, 0xFF, 0xFF))
_WIDEST = (0x7FFF0000).to_bytes(4, "big")
_CONNECTIONS = 4

OK = "OK"
LOST = "lost"
"""With the reason behind it, where there is one."""
LATE = "late"

OnOutcome = Callable[[str, bytes], None]
"""Told of the status and, if it is good, of the body."""


class Channel(Protocol):
    """Sends one request of the order, whenever it is told to."""

    async def open(self) -> None: ...

    def send(self, on_outcome: OnOutcome) -> Callable[[], None]:
        """Send; returns what to call if the answer is no longer waited for."""

    def close(self) -> None: ...


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


def _literal(text: bytes) -> bytes:
    assert len(text) < 0x7F
    return bytes((len(text),)) + text


class _Http2(asyncio.Protocol):
    """One connection with calls of gRPC on it, no more than this program needs."""

    def __init__(self, block: bytes, body: bytes) -> None:
        self._block = block
        self._body = body
        self._next = 1
        self._waiting: dict[int, OnOutcome] = {}
        self._bodies: dict[int, bytes] = {}
        self._statuses: dict[bytes, str] = {}
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        opening = _PREFACE + _frame(_SETTINGS, 0, 0, _NO_TABLE)
        self._transport.write(opening + _frame(_WINDOW_UPDATE, 0, 0, _WIDEST))

    def send(self, on_outcome: OnOutcome) -> Callable[[], None]:
        assert self._transport is not None
        if self._transport.is_closing():
            on_outcome(LOST, b"")
            return lambda: None
        stream = self._next
        self._next += 2
        self._waiting[stream] = on_outcome
        headers = _frame(_HEADERS, _END_HEADERS, stream, self._block)
        self._transport.write(headers + _frame(_DATA, _END_STREAM, stream, self._body))

        def cancel() -> None:
            if self._waiting.pop(stream, None) is not None and self._transport is not None:
                self._transport.write(_frame(_RST_STREAM, 0, stream, (8).to_bytes(4, "big")))

        return cancel

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        start = 0
        while start + 9 <= len(data):
            end = start + 9 + int.from_bytes(data[start : start + 3], "big")
            if end > len(data):
                break
            self._on_frame(data, start, end)
            start = end
        self._buffer = data[start:]

    def _on_frame(self, data: bytes, start: int, end: int) -> None:
        kind, flags = data[start + 3], data[start + 4]
        stream = int.from_bytes(data[start + 5 : start + 9], "big")
        if kind == _HEADERS and flags & _END_STREAM:
            self._ended(stream, self._status(data[start + 9 : end]))
        elif kind == _RST_STREAM:
            self._ended(stream, f"{LOST}: reset {data[end - 1]}")
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            assert self._transport is not None
            payload = data[start + 9 : end] if kind == _PING else b""
            self._transport.write(_frame(kind, _ACK, 0, payload))
        elif kind == _DATA and end - start > 9:
            self._bodies[stream] = self._bodies.get(stream, b"") + data[start + 9 : end]
            # Streams are short, and never run out of window; the connection does.
            assert self._transport is not None
            size = (end - start - 9).to_bytes(4, "big")
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, size))

    def _status(self, block: bytes) -> str:
        known = self._statuses.get(block)
        if known is None:
            pairs = dict(Decoder().decode(block, raw=True))
            status = pairs.get(b"grpc-status", b"?").decode()
            known = self._statuses[block] = OK if status == "0" else status
        return known

    def _ended(self, stream: int, outcome: str) -> None:
        body = self._bodies.pop(stream, b"")
        on_outcome = self._waiting.pop(stream, None)
        if on_outcome is not None:
            on_outcome(outcome, body)

    def connection_lost(self, exc: Exception | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for on_outcome in waiting.values():
            on_outcome(f"{LOST}: {exc or 'closed'}", b"")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class GrpcChannel:
    """Calls in turn over a few connections, as clients of gRPC do it."""

    def __init__(self, port: int, path: str, body: bytes, deadline_s: float) -> None:
        pairs = [
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()),
            (b":authority", b"a"), (b"content-type", b"application/grpc"), (b"te", b"trailers"),
        ]  # fmt: skip
        if deadline_s:
            pairs.append((b"grpc-timeout", b"%dm" % round(deadline_s * 1000)))
        block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in pairs)
        self._port = port
        self._connections = [_Http2(block, body) for _ in range(_CONNECTIONS)]
        self._turn = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._connections:
            await loop.create_connection(lambda each=connection: each, "127.0.0.1", self._port)  # type: ignore[misc]

    def send(self, on_outcome: OnOutcome) -> Callable[[], None]:
        self._turn = (self._turn + 1) % len(self._connections)
        return self._connections[self._turn].send(on_outcome)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class _Http1(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, channel: "RestChannel") -> None:
        self._channel = channel
        self._on_outcome: OnOutcome | None = None
        self._buffer = b""
        self._is_made = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._on_outcome is not None:
            self._transport.write(self._channel.request)

    def send(self, on_outcome: OnOutcome) -> None:
        self._on_outcome = on_outcome
        if self._transport is not None:
            self._transport.write(self._channel.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        place = head.lower().index(b"content-length: ") + 16
        if len(body) < int(head[place:].split(b"\r\n", 1)[0]):
            return
        status = head[9:12].decode()
        self._buffer = b""
        self._channel.free.append(self)
        self._end(OK if status == "200" else status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._channel.free:
            self._channel.free.remove(self)
        self._end(f"{LOST}: {exc or 'closed'}", b"")

    def _end(self, outcome: str, body: bytes) -> None:
        on_outcome, self._on_outcome = self._on_outcome, None
        if on_outcome is not None:
            on_outcome(outcome, body)

    def close(self) -> None:
        self._on_outcome = None
        if self._transport is not None:
            self._transport.abort()


class RestChannel:
    """Connections as many as requests are under way, kept for the next ones."""

    def __init__(self, port: int, path: str, body: bytes, deadline_s: float) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.free: list[_Http1] = []
        self._port = port
        self._all: list[_Http1] = []
        self._opening: set[asyncio.Task[object]] = set()

    async def open(self) -> None:
        pass

    def send(self, on_outcome: OnOutcome) -> Callable[[], None]:
        if self.free:
            connection = self.free.pop()
        else:
            connection = _Http1(self)
            self._all.append(connection)
            task = asyncio.ensure_future(self._connect(connection, on_outcome))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        connection.send(on_outcome)
        return connection.close

    async def _connect(self, connection: _Http1, on_outcome: OnOutcome) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: connection, "127.0.0.1", self._port)
        except OSError as error:
            on_outcome(f"{LOST}: {error}", b"")

    def close(self) -> None:
        for connection in self._all:
            connection.close()
