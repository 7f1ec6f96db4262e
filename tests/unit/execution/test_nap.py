"""The rest of the loop, and what ends it."""

import asyncio
import threading
from time import perf_counter

from salver.execution.nap import Nap
from salver.execution.workers import Workers
from tests.fakes import LIMIT_S

LONG_S = 1000.0


class Job:
    """Computes as long as the test says."""

    def __init__(self) -> None:
        self.started, self.may_end = threading.Event(), threading.Event()
        self.finished = asyncio.Event()

    def compute(self) -> None:
        self.started.set()
        assert self.may_end.wait(LIMIT_S)

    def finish(self) -> None:
        self.finished.set()


async def test_it_ends_when_a_thread_has_nothing_more_to_do() -> None:
    nap = Nap()
    workers = Workers(1, "worker", nap)
    workers.start()
    first, last = Job(), Job()
    workers.submit(first)
    workers.submit(last)
    assert nap.under_way == 2
    assert await asyncio.to_thread(first.started.wait, LIMIT_S)
    threading.Timer(0.01, first.may_end.set).start()
    threading.Timer(0.02, last.may_end.set).start()
    nap.take(LONG_S)
    # Only the end of the last left the thread without work; and both are finished after it.
    assert last.may_end.is_set()
    assert not first.finished.is_set()
    async with asyncio.timeout(LIMIT_S):
        await first.finished.wait()
        await last.finished.wait()
    assert not nap.under_way
    workers.stop()


async def test_it_ends_by_itself() -> None:
    nap, job = Nap(), Job()
    workers = Workers(1, "worker", nap)
    workers.start()
    workers.submit(job)
    began = perf_counter()
    nap.take(0.01)
    assert perf_counter() - began >= 0.009
    job.may_end.set()
    async with asyncio.timeout(LIMIT_S):
        await job.finished.wait()
    workers.stop()


async def test_there_is_none_where_nothing_is_computed_or_a_thread_waits() -> None:
    nap, job = Nap(), Job()
    nap.take(LONG_S)
    workers = Workers(2, "worker", nap)
    workers.start()
    workers.submit(job)
    job.may_end.set()
    # Its end was before the rest; the loop has not looked since.
    limit = perf_counter() + LIMIT_S
    while not nap.idle:
        assert perf_counter() < limit
    nap.take(LONG_S)
    async with asyncio.timeout(LIMIT_S):
        await job.finished.wait()
    assert not nap.idle
    nap.take(LONG_S)
    workers.stop()
