import asyncio
import random
import threading
from collections import Counter
from typing import Any

import pytest

from salver.errors import ResourceExhausted
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
    workers = Workers(5, "batch_threads")
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
    """A job that notes where it was computed."""

    def __init__(self, computed: list[str], finished: list[int], number: int) -> None:
        self.computed, self.finished, self.number = computed, finished, number

    def compute(self) -> None:
        self.computed.append(threading.current_thread().name)

    def finish(self) -> None:
        self.finished.append(self.number)


async def test_no_job_is_lost_or_done_twice_however_they_come() -> None:
    workers = Workers(4)
    workers.start()
    computed: list[str] = []
    finished: list[int] = []
    chance = random.Random(3)
    sent = 0
    async with asyncio.timeout(LIMIT_S):
        while sent < 20_000:
            for _ in range(chance.choice((1, 1, 2, 5, 40))):
                workers.submit(Tally(computed, finished, sent))
                sent += 1
            await asyncio.sleep(0)
        while len(finished) < sent:
            await asyncio.sleep(0)
        workers.stop()
    assert sorted(finished) == list(range(sent))
    assert len(computed) == sent


async def test_the_thread_that_ran_last_goes_on() -> None:
    workers = Workers(4)
    workers.start()
    computed: list[str] = []
    finished: list[int] = []
    async with asyncio.timeout(LIMIT_S):
        for number in range(50):
            workers.submit(Tally(computed, finished, number))
            while len(finished) <= number:
                await asyncio.sleep(0)
        workers.stop()
    # One may still have been on its way back to those that are idle; in turns it would be half.
    assert sum(count for _, count in Counter(computed).most_common(2)) > 35
