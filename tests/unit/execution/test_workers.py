import asyncio
import random
import threading
from collections import Counter, deque
from typing import Any

import pytest

from salver.errors import ResourceExhausted
from salver.execution.nap import Nap
from salver.execution.workers import Workers
from tests.fakes import LIMIT_S


async def test_threads_that_the_system_does_not_allow_are_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_two(thread: threading.Thread, *_: Any) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    workers = Workers(5, "batch_threads", Nap())
    with pytest.raises(ResourceExhausted) as refused:
        workers.start()
    assert refused.value.message == (
        "Only 2 of 5 threads (batch_threads) could be started: ask for fewer"
    )
    workers.stop()
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()


class Tally:
    """Notes on which thread each of its jobs is computed, and that it is finished."""

    def __init__(self) -> None:
        self.computed: list[str] = []
        self.finished: list[int] = []
        self._changed = asyncio.Event()

    def job(self, number: int) -> "TalliedJob":
        return TalliedJob(self, number)

    def finish(self, number: int) -> None:
        self.finished.append(number)
        self._changed.set()

    async def until_finished(self, count: int) -> None:
        while len(self.finished) < count:
            self._changed.clear()
            await self._changed.wait()


class TalliedJob:
    waited_s = 0.0

    def __init__(self, tally: Tally, number: int, line: "deque[TalliedJob] | None" = None) -> None:
        self._tally, self._number = tally, number
        self._line = line
        self.is_followed = False

    def compute(self) -> None:
        self._tally.computed.append(threading.current_thread().name)

    def following(self) -> "TalliedJob | None":
        if not self._line:
            return None
        try:
            job = self._line.popleft()
        except IndexError:
            return None
        self.is_followed = True
        return job

    def finish(self) -> None:
        self._tally.finish(self._number)


async def test_no_job_is_lost_or_done_twice_however_they_come() -> None:
    workers, tally = Workers(4, "worker", Nap()), Tally()
    workers.start()
    chance = random.Random(3)
    sent = 0
    async with asyncio.timeout(LIMIT_S):
        while sent < 20_000:
            for _ in range(chance.choice((1, 1, 2, 5, 40))):
                workers.submit(tally.job(sent))
                sent += 1
            await asyncio.sleep(0)
        await tally.until_finished(sent)
    workers.stop()
    assert sorted(tally.finished) == list(range(sent))
    assert len(tally.computed) == sent


async def test_a_job_that_follows_another_is_computed_by_the_same_thread_next() -> None:
    nap = Nap()
    workers, tally, line = Workers(1, "worker", nap), Tally(), deque[TalliedJob]()
    workers.start()
    jobs = [TalliedJob(tally, number, line) for number in range(4)]
    line += jobs[1:3]
    workers.submit(jobs[0])
    workers.submit(jobs[3])
    workers.went_on()
    workers.went_on()
    async with asyncio.timeout(LIMIT_S):
        await tally.until_finished(4)
    workers.stop()
    assert tally.finished == [0, 1, 2, 3]
    assert [job.is_followed for job in jobs] == [True, True, False, False]
    assert nap.under_way == 0


async def test_the_thread_that_ran_last_goes_on() -> None:
    workers, tally = Workers(4, "worker", Nap()), Tally()
    workers.start()
    async with asyncio.timeout(LIMIT_S):
        for number in range(50):
            workers.submit(tally.job(number))
            await tally.until_finished(number + 1)
    workers.stop()
    # One may still have been on its way back to those that are idle; in turns it would be half.
    assert sum(count for _, count in Counter(tally.computed).most_common(2)) > 35


class LateIdle(list[Any]):
    """The idle threads; a job comes just before one of them is listed, when none seems to be."""

    def __init__(self, workers: Workers, late: list[TalliedJob]) -> None:
        self._workers, self._late = workers, late

    def append(self, inbox: Any) -> None:
        if self._late:
            self._workers.submit(self._late.pop())
        super().append(inbox)


async def test_a_job_that_comes_just_before_a_thread_is_idle_is_found_by_it() -> None:
    workers, tally = Workers(1, "worker", Nap()), Tally()
    workers._idle = LateIdle(workers, [tally.job(2), tally.job(1), tally.job(0)])
    workers.start()
    async with asyncio.timeout(LIMIT_S):
        await tally.until_finished(3)
    workers.stop()
    assert tally.finished == [0, 1, 2]
