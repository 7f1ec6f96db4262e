"""The two kinds of load, each on one thread that waits with the precision of `select`.

Closed: so many callers, each of which calls again once it is answered. Open: calls at given
times, whether or not the ones before are answered, as a crowd of strangers makes them; their
latency counts from the time they were due, so that a server that stalls cannot hide it.
"""

import gc
import select
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

import numpy as np

from benchmarks.client import PREDICT
from benchmarks.driver.connection import Connection
from benchmarks.driver.frames import ProtocolProblem, request_headers
from benchmarks.driver.record import Record, Requests

START_TIMEOUT_S = 20.0
SILENCE_S = 60.0
"""For so long nothing may come while something is due."""
MOST_AT_ONCE = 256
"""Calls of an open load that are begun before the answers are looked at."""
OPEN_CONNECTIONS = 8
_CHUNK = 2**18


class TakesCalls(Protocol):
    """As `Connection`."""

    @property
    def has_room(self) -> bool: ...

    def begin(self, number: int, body: bytes, *, keep: bool = False) -> None: ...


class CarriesCalls(Protocol):
    """What an open load sees of a line."""

    @property
    def connection(self) -> TakesCalls: ...


class Line:
    """A connection and its socket."""

    def __init__(self, port: int, timeout_ms: int | None) -> None:
        self.connection = Connection(request_headers(PREDICT, port, timeout_ms))
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._unsent = memoryview(b"")

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def flush(self) -> bool:
        """Send what the socket takes; whether something is left."""
        while self._unsent or (self._take()):
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return True
            self._unsent = self._unsent[sent:]
        return False

    def _take(self) -> bool:
        self._unsent = memoryview(self.connection.take_output())
        return bool(self._unsent)

    def read(self) -> bytes:
        """What is there; the socket has to be readable.

        Raises:
            ProtocolProblem: the server has hung up.
        """
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ProtocolProblem("the server hung up")
        return data


@contextmanager
def open_lines(port: int, count: int, timeout_ms: int | None = None) -> Iterator[list[Line]]:
    """Connections that are ready for calls."""
    lines = [Line(port, timeout_ms) for _ in range(count)]
    try:
        deadline = perf_counter() + START_TIMEOUT_S
        while not all(line.connection.is_ready for line in lines):
            if perf_counter() > deadline:
                raise ProtocolProblem("the server does not say what it allows")
            for line in wait(lines, 1.0):
                line.connection.receive(line.read())
        yield lines
    finally:
        for line in lines:
            line.close()


def wait(lines: Sequence[Line], seconds: float) -> list[Line]:
    """Send what is to be sent, wait, and return the lines on which something came."""
    deadline = perf_counter() + seconds
    while True:
        blocked = [line for line in lines if line.flush()]
        rest_s = max(deadline - perf_counter(), 0.0)
        readable, writable, _ = select.select(lines, blocked, [], rest_s)
        if readable or not writable:
            return readable


def closed_load(port: int, requests: Requests, concurrency: int, count: int, lines: int) -> Record:
    """`count` calls, `concurrency` at once on that many lines."""
    record = Record(requests, count)
    bodies = requests.bodies
    with open_lines(port, lines) as open_ones, _no_collections():
        begun = finished = 0
        started = perf_counter()

        def begin(line: Line, now: float) -> None:
            nonlocal begun
            if begun < count:
                body = bodies[begun % len(bodies)]
                record.sent_at[begun] = now
                line.connection.begin(begun, body, keep=record.is_kept(begun))
                begun += 1

        for place in range(concurrency):
            begin(open_ones[place % lines], 0.0)
        while finished < count:
            readable = wait(open_ones, SILENCE_S)
            if not readable:
                raise ProtocolProblem(f"no answer for {SILENCE_S:.0f} s")
            for line in readable:
                data = line.read()
                now = perf_counter() - started
                done = line.connection.receive(data)
                record.finish(done, now)
                finished += len(done)
                for _ in done:
                    begin(line, now)
    record.due = np.array(record.sent_at)
    return record


class OpenLoad:
    """Calls at given times, spread over lines; those that no line has room for wait here."""

    def __init__(self, requests: Requests, arrivals: np.ndarray, limit_s: float) -> None:
        self.record = Record(requests, len(arrivals))
        self.record.due = arrivals
        self._bodies = requests.bodies
        self._due = arrivals.tolist()
        self._limit_s = limit_s
        self._arrived = 0
        self._waiting: deque[int] = deque()
        self._finished = 0
        self._turn = 0

    def run(self, lines: Sequence[Line]) -> None:
        """Until all have been answered.

        Raises:
            ProtocolProblem: nothing came although something was due.
        """
        count = len(self._due)
        started = perf_counter()
        while self._finished < count:
            now = perf_counter() - started
            self.begin_due(lines, now)
            is_over = self._arrived == count
            until = SILENCE_S if is_over else self._due[self._arrived] - (perf_counter() - started)
            readable = wait(lines, until)
            if not readable and is_over:
                raise ProtocolProblem(f"no answer for {SILENCE_S:.0f} s")
            for line in readable:
                data = line.read()
                now = perf_counter() - started
                done = line.connection.receive(data)
                self.record.finish(done, now)
                self._finished += len(done)

    def begin_due(self, lines: Sequence[CarriesCalls], now: float) -> None:
        """Begin what is due by now, as far as the lines have room."""
        due = self._due
        most = min(len(due), self._arrived + MOST_AT_ONCE)
        while self._arrived < most and due[self._arrived] <= now:
            self._waiting.append(self._arrived)
            self._arrived += 1
        while self._waiting:
            number = self._waiting[0]
            if now - due[number] > self._limit_s:
                self.record.give_up(number, now)
                self._finished += 1
            elif (line := self._next_line(lines)) is None:
                return
            else:
                self.record.sent_at[number] = now
                body = self._bodies[number % len(self._bodies)]
                line.connection.begin(number, body, keep=self.record.is_kept(number))
            self._waiting.popleft()

    def _next_line(self, lines: Sequence[CarriesCalls]) -> CarriesCalls | None:
        for _ in lines:
            self._turn = (self._turn + 1) % len(lines)
            if lines[self._turn].connection.has_room:
                return lines[self._turn]
        return None


def open_load(port: int, requests: Requests, arrivals: np.ndarray, limit_s: float) -> Record:
    """Calls at `arrivals`, in seconds; the server is told that the client waits `limit_s`."""
    load = OpenLoad(requests, arrivals, limit_s)
    with open_lines(port, OPEN_CONNECTIONS, round(limit_s * 1000)) as lines, _no_collections():
        load.run(lines)
    return load.record


def poisson(rate: float, count: int, seed: int) -> np.ndarray:
    """Times of arrivals that know nothing of each other, `rate` per second on average."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


@contextmanager
def _no_collections() -> Iterator[None]:
    # A collection would stop the clock of the load for milliseconds.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
