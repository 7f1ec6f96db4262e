"""Clients that do not wait for each other: requests leave at their time, whatever has come back.

    python -m benchmarks.open_loop   (a line of JSON on stdin, the order; one on stdout, the report)

A program of its own, so that it shares neither lock nor loop with whoever measures, and light: at
several times a server's capacity a client of grpcio would take the cores that are to be measured.
Latencies count from the time when a request was due.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field

import numpy as np
import uvloop

from benchmarks.light_clients import LATE, LOST, OK, Channel, GrpcChannel, OnOutcome, RestChannel

_LEFT_OVER_S = 30.0
_MOST_ANSWERS = 1000


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
    """How long; 0: until stdin ends."""
    concurrency: int = 8
    deadline_s: float = 0.0
    """How long a client waits; 0: for ever."""
    warm_s: float = 1.0
    """At the beginning, not counted."""
    log: str = ""
    """File for the time when each request was due (`perf_counter`) and its latency, negative if
    there was no good answer: an array of NumPy."""


@dataclass(slots=True)
class Report:
    """What came back for the requests that were due in the time that counts."""

    sent: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    """By status: `OK`, a number of HTTP or gRPC, `late` or `lost`."""
    answers: dict[str, int] = field(default_factory=dict)
    """Different good answers, their bytes in hexadecimal (gRPC: with the prefix)."""
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


class Run:
    """Sends what the order says and counts what comes of it."""

    def __init__(self, order: Order, channel: Channel) -> None:
        self._order = order
        self._channel = channel
        self._random = random.Random(1)
        self._good_s: list[float] = []
        self._log: list[tuple[float, float]] = []
        self._answers: dict[bytes, int] = {}
        self._refused_s: list[float] = []
        self._under_way = 0
        self._is_sending = True
        self._begins_at = 0.0
        self._ends_at = 0.0
        self._all_back = asyncio.Event()
        self.report = Report(seconds=order.seconds)

    async def run(self) -> Report:
        order = self._order
        await self._channel.open()
        start = time.perf_counter()
        self._begins_at = start + order.warm_s
        self._ends_at = self._begins_at + order.seconds if order.seconds else float("inf")
        if order.rate:
            await self._send_at_rate(start)
        else:
            for _ in range(order.concurrency):
                self._send_one_after_the_other("", b"")
            await asyncio.sleep(max(self._ends_at - time.perf_counter(), 0.0))
        self._is_sending = False
        self._check_all_back()
        try:
            async with asyncio.timeout(_LEFT_OVER_S):
                await self._all_back.wait()
        except TimeoutError:
            self._count(LOST, self._under_way)
        self._channel.close()
        return self._finished()

    def stop(self) -> None:
        """Send nothing more."""
        self._ends_at = time.perf_counter()
        self.report.seconds = self._ends_at - self._begins_at

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

    def _send_one_after_the_other(self, outcome: str, body: bytes) -> None:
        now = time.perf_counter()
        if now < self._ends_at:
            self._send(now, asyncio.get_running_loop(), self._send_one_after_the_other)

    def _send(
        self,
        due: float,
        loop: asyncio.AbstractEventLoop,
        then: OnOutcome = lambda outcome, body: None,
    ) -> None:
        counts = due >= self._begins_at
        self.report.sent += counts
        self._under_way += 1
        timer: asyncio.TimerHandle | None = None

        def on_outcome(outcome: str, body: bytes) -> None:
            if timer is not None:
                timer.cancel()
            self._under_way -= 1
            self._note(due, counts, outcome, body)
            then(outcome, body)
            self._check_all_back()

        cancel = self._channel.send(on_outcome)
        if self._order.deadline_s:

            def give_up() -> None:
                cancel()
                on_outcome(LATE, b"")

            timer = loop.call_later(self._order.deadline_s, give_up)

    def _note(self, due: float, counts: bool, outcome: str, body: bytes) -> None:
        now = time.perf_counter()
        if outcome == OK and len(self._answers) < _MOST_ANSWERS:
            self._answers[body] = self._answers.get(body, 0) + 1
        if self._order.log:
            self._log.append((due, now - due if outcome == OK else due - now))
        self.report.good += outcome == OK
        if outcome == OK and self._begins_at <= now < self._ends_at:
            self.report.answered += 1
        if counts:
            self._count(outcome)
            if outcome == OK:
                self._good_s.append(now - due)
            elif outcome != LATE and not outcome.startswith(LOST):
                self._refused_s.append(now - due)

    def _count(self, outcome: str, times: int = 1) -> None:
        outcomes = self.report.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + times

    def _check_all_back(self) -> None:
        if not self._under_way and not self._is_sending:
            self._all_back.set()

    def _finished(self) -> Report:
        report = self.report
        report.answers = {body.hex(): count for body, count in self._answers.items()}
        if self._order.log:
            np.save(self._order.log, np.array(self._log).reshape(-1, 2))
        if self._good_s:
            p50, p99 = np.percentile(self._good_s, (50, 99)) * 1000
            report.p50_ms, report.p99_ms = float(p50), float(p99)
            report.longest_ms = 1000 * max(self._good_s)
        if self._refused_s:
            report.refused_p99_ms = float(np.percentile(self._refused_s, 99)) * 1000
        return report


async def carried_out(order: Order) -> Report:
    """Do what the order says."""
    kind = GrpcChannel if order.protocol == "grpc" else RestChannel
    channel = kind(order.port, order.path, bytes.fromhex(order.body), order.deadline_s)
    run = Run(order, channel)
    if not order.seconds:
        loop = asyncio.get_running_loop()

        def told() -> None:
            loop.remove_reader(sys.stdin)
            run.stop()

        loop.add_reader(sys.stdin, told)
    return await run.run()


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(carried_out(order))
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
