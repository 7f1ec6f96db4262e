"""The rest of the loop, and what ends it."""

import asyncio
import threading
from time import perf_counter

import pytest

from salver.execution import nap as nap_module
from salver.execution.nap import Nap
from salver.execution.workers import Workers
from tests.fakes import LIMIT_S

LONG_S = 1000.0


class Job:
    """Computes as long as the test says."""

    waited_s = 0.0

    def __init__(self) -> None:
        self.started, self.may_end = threading.Event(), threading.Event()
        self.finished = asyncio.Event()

    def compute(self) -> None:
        self.started.set()
        assert self.may_end.wait(LIMIT_S)

    def following(self) -> None:
        return None

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


class CountedNap(Nap):
    """Tells how often it was taken, and for how long the last time."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self.seconds = 0.0

    def take(self, seconds: float) -> None:
        self.taken += 1
        self.seconds = seconds


class LastJobSeen(Job):
    """Notes whether the last job might end, when this one is finished."""

    def __init__(self, last: Job) -> None:
        super().__init__()
        self._last = last
        self.was_last_done = False

    def finish(self) -> None:
        self.was_last_done = self._last.may_end.is_set()
        super().finish()


@pytest.mark.parametrize("more_is_to_do", [True, False])
async def test_what_is_computed_waits_for_more_while_every_thread_has_more_to_do(
    more_is_to_do: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nap_module, "_BETWEEN_RESULTS_S", LONG_S)
    workers = Workers(1, "worker", Nap())
    workers.start()
    last = Job()
    first = LastJobSeen(last)
    jobs = [first, Job(), last] if more_is_to_do else [first, last]
    for job in jobs:
        workers.submit(job)
    first.may_end.set()
    for job in jobs[1:] if more_is_to_do else []:
        threading.Timer(0.03, job.may_end.set).start()
    async with asyncio.timeout(LIMIT_S):
        for job in jobs:
            await job.finished.wait()
            last.may_end.set()
    assert first.was_last_done == more_is_to_do
    workers.stop()


async def test_a_run_on_the_loop_itself_is_not_kept_waiting() -> None:
    nap = CountedNap()
    nap.hold_off()
    nap.await_more(0.0)
    assert nap.taken == 0


async def test_threads_of_several_kinds_have_the_loop_rest_once_a_turn() -> None:
    nap = CountedNap()
    nap.await_more(0.0)
    nap.await_more(0.0)
    assert nap.taken == 1
    await asyncio.sleep(0)
    nap.await_more(0.0)
    assert nap.taken == 2


@pytest.mark.parametrize(
    ("waited_s", "seconds"), [(0.0, 2e-3), (0.01, 2e-3), (0.08, 5e-3), (1.0, 8e-3)]
)
async def test_the_rest_is_no_more_than_a_part_of_what_was_waited(
    waited_s: float, seconds: float
) -> None:
    nap = CountedNap()
    nap.await_more(waited_s)
    assert nap.seconds == pytest.approx(seconds)
