"""Clients that do not wait for each other: requests leave at their time, whatever has come back.

    python -m benchmarks.open_loop   (one JSON order on stdin, one JSON report on stdout)

A program of its own, so that it shares neither lock nor loop with whoever measures, and light: at
several times a server's capacity a client of grpcio would take the cores that are to be measured.
Latencies count from the time when a request was due.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Protocol, cast

import numpy as np
import uvloop
from hpack import Decoder

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
# No table that changes: the same header block then always has the same meaning.
_NO_TABLE = bytes((0, 1, 0, 0, 0, 0, 0, 4, 0x7F, 0xFF, 0xFF, 0xFF))
_WIDEST = (0x7FFF0000).to_bytes(4, "big")
_CONNECTIONS = 4
_LEFT_OVER_S = 30.0

OK = "OK"
LOST = "lost"
LATE = "late"


@dataclass(slots=True)
class Order:
    """What is to be done."""

    protocol: str
    """`grpc` or `rest`."""
    port: int
    path: str
    body: str
    """Of each request, in hexadecimal; for gRPC with its prefix."""
    rate: float
    """Requests per second; 0: as many at once as `concurrency` says, one after the other."""
    seconds: float
    concurrency: int = 8
    deadline_s: float = 0.0
    """How long a client waits; 0: for ever."""
    warm_s: float = 1.0
    """At the beginning, not counted."""


@dataclass(slots=True)
class Report:
    """What came back for the requests that were due in the time that counts."""

    sent: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    """By status: `OK`, a number of HTTP or gRPC, `late` or `lost`."""
    answered: int = 0
    """Good answers that came within the time that counts, whenever they were asked for."""
    good: int = 0
    """Good answers to all requests, those that do not count included."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    longest_ms: float = 0.0
    """Of good answers."""
    refused_p99_ms: float = 0.0
    behind_ms: float = 0.0
    """The longest that the client itself was late with a request."""

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.answered / self.seconds


OnOutcome = Callable[[str], None]


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
            on_outcome(LOST)
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
            self._ended(stream, LOST)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            assert self._transport is not None
            payload = data[start + 9 : end] if kind == _PING else b""
            self._transport.write(_frame(kind, _ACK, 0, payload))
        elif kind == _DATA and end - start > 9:
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
        on_outcome = self._waiting.pop(stream, None)
        if on_outcome is not None:
            on_outcome(outcome)

    def connection_lost(self, exc: Exception | None) -> None:
        waiting, self._waiting = self._waiting, {}
        for on_outcome in waiting.values():
            on_outcome(LOST)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class GrpcChannel:
    """Calls in turn over a few connections, as clients of gRPC do it."""

    def __init__(self, order: Order) -> None:
        pairs = [
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", order.path.encode()),
            (b":authority", b"a"), (b"content-type", b"application/grpc"), (b"te", b"trailers"),
        ]  # fmt: skip
        if order.deadline_s:
            pairs.append((b"grpc-timeout", b"%dm" % round(order.deadline_s * 1000)))
        block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in pairs)
        body = bytes.fromhex(order.body)
        self._port = order.port
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
        self._end(OK if status == "200" else status)
        self._channel.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._channel.free:
            self._channel.free.remove(self)
        self._end(LOST)

    def _end(self, outcome: str) -> None:
        on_outcome, self._on_outcome = self._on_outcome, None
        if on_outcome is not None:
            on_outcome(outcome)

    def close(self) -> None:
        self._on_outcome = None
        if self._transport is not None:
            self._transport.abort()


class RestChannel:
    """Connections as many as requests are under way, kept for the next ones."""

    def __init__(self, order: Order) -> None:
        body = bytes.fromhex(order.body)
        head = f"POST {order.path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.free: list[_Http1] = []
        self._port = order.port
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
        except OSError:
            on_outcome(LOST)

    def close(self) -> None:
        for connection in self._all:
            connection.close()


class Run:
    """Sends what the order says and counts what comes of it."""

    def __init__(self, order: Order, channel: Channel) -> None:
        self._order = order
        self._channel = channel
        self._random = random.Random(1)
        self._good_s: list[float] = []
        self._refused_s: list[float] = []
        self._under_way = 0
        self._begins_at = 0.0
        self._ends_at = 0.0
        self._all_back = asyncio.Event()
        self.report = Report(seconds=order.seconds)

    async def run(self) -> Report:
        order = self._order
        await self._channel.open()
        start = time.perf_counter()
        self._begins_at = start + order.warm_s
        self._ends_at = self._begins_at + order.seconds
        if order.rate:
            await self._send_at_rate(start)
        else:
            for _ in range(order.concurrency):
                self._send_one_after_the_other("")
        try:
            async with asyncio.timeout(order.warm_s + order.seconds + _LEFT_OVER_S):
                await self._all_back.wait()
        except TimeoutError:
            self._count(LOST, self._under_way)
        self._channel.close()
        return self._finished()

    async def _send_at_rate(self, start: float) -> None:
        """Independent clients: the times between them are distributed exponentially."""
        due = start
        loop = asyncio.get_running_loop()
        while due < self._ends_at:
            now = time.perf_counter()
            if due > now:
                await asyncio.sleep(due - now)
                continue
            self.report.behind_ms = max(self.report.behind_ms, 1000 * (now - due))
            self._send(due, loop)
            due += self._random.expovariate(self._order.rate)
        self._check_all_back()

    def _send_one_after_the_other(self, outcome: str) -> None:
        now = time.perf_counter()
        if now < self._ends_at:
            self._send(now, asyncio.get_running_loop(), self._send_one_after_the_other)
        self._check_all_back()

    def _send(
        self, due: float, loop: asyncio.AbstractEventLoop, then: OnOutcome = lambda outcome: None
    ) -> None:
        counts = due >= self._begins_at
        self.report.sent += counts
        self._under_way += 1
        timer: asyncio.TimerHandle | None = None

        def on_outcome(outcome: str) -> None:
            if timer is not None:
                timer.cancel()
            self._under_way -= 1
            self._note(due, counts, outcome)
            then(outcome)
            self._check_all_back()

        cancel = self._channel.send(on_outcome)
        if self._order.deadline_s:

            def give_up() -> None:
                cancel()
                on_outcome(LATE)

            timer = loop.call_later(self._order.deadline_s, give_up)

    def _note(self, due: float, counts: bool, outcome: str) -> None:
        now = time.perf_counter()
        self.report.good += outcome == OK
        if outcome == OK and self._begins_at <= now < self._ends_at:
            self.report.answered += 1
        if counts:
            self._count(outcome)
            if outcome == OK:
                self._good_s.append(now - due)
            elif outcome not in (LATE, LOST):
                self._refused_s.append(now - due)

    def _count(self, outcome: str, times: int = 1) -> None:
        outcomes = self.report.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + times

    def _check_all_back(self) -> None:
        if not self._under_way and time.perf_counter() >= self._ends_at:
            self._all_back.set()

    def _finished(self) -> Report:
        report = self.report
        if self._good_s:
            p50, p99 = np.percentile(self._good_s, (50, 99)) * 1000
            report.p50_ms, report.p99_ms = float(p50), float(p99)
            report.longest_ms = 1000 * max(self._good_s)
        if self._refused_s:
            report.refused_p99_ms = float(np.percentile(self._refused_s, 99)) * 1000
        return report


async def carried_out(order: Order) -> Report:
    """Do what the order says."""
    channel = GrpcChannel(order) if order.protocol == "grpc" else RestChannel(order)
    return await Run(order, channel).run()


def main() -> None:
    order = Order(**json.loads(sys.stdin.read()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(carried_out(order))
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
