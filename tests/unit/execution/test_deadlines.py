"""Time limits of many requests."""

import asyncio
import logging

import pytest

from salver.execution.deadlines import Deadlines
from tests.fakes import LIMIT_S, turn_loop


class Waiting:
    """Notes when it expires."""

    def __init__(self, fails: bool = False) -> None:
        self.expired_at: list[float] = []
        self.expired = asyncio.Event()
        self._fails = fails

    def expire(self) -> None:
        self.expired_at.append(asyncio.get_running_loop().time())
        self.expired.set()
        if self._fails:
            raise RuntimeError("hung up")


async def test_each_expires_once_not_before_its_time() -> None:
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    limits = [0.03, 0.01, 0.02, 0.01, -1.0]
    requests = [Waiting() for _ in limits]
    for limit, request in zip(limits, requests, strict=True):
        deadlines.add(now + limit, request)
    async with asyncio.timeout(LIMIT_S):
        for request in requests:
            await request.expired.wait()
    await turn_loop()
    for limit, request in zip(limits, requests, strict=True):
        [expired_at] = request.expired_at
        assert expired_at >= now + limit - 0.001


async def test_who_is_removed_does_not_expire() -> None:
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    first, second, last = Waiting(), Waiting(), Waiting()
    due = deadlines.add(now + 0.01, first)
    assert due == deadlines.add(now + 0.01, second)
    deadlines.add(now + 0.02, last)
    deadlines.remove(due, first)
    async with asyncio.timeout(LIMIT_S):
        await last.expired.wait()
    assert not first.expired_at
    assert second.expired_at
    # Nothing of them is left.
    deadlines.remove(due, second)
    deadlines.remove(due, first)


async def test_the_next_is_waited_for_when_the_first_was_removed() -> None:
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    first, second = Waiting(), Waiting()
    deadlines.remove(deadlines.add(now + 0.01, first), first)
    deadlines.add(now + 0.03, second)
    async with asyncio.timeout(LIMIT_S):
        await second.expired.wait()
    assert not first.expired_at


async def test_one_that_fails_leaves_the_others_their_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    others = [Waiting(fails=number == 0) for number in range(3)]
    for other in others:
        deadlines.add(now + 0.01, other)
    later = Waiting()
    deadlines.add(now + 0.02, later)
    async with asyncio.timeout(LIMIT_S):
        await later.expired.wait()
    assert all(other.expired_at for other in others)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "could not be answered" in record.message


async def test_limits_that_are_far_off_share_their_entries() -> None:
    deadlines, now = Deadlines(), asyncio.get_running_loop().time()
    fine = {deadlines.add(now + 1 + number / 1000, Waiting()) for number in range(100)}
    coarse = {deadlines.add(now + 30 + number / 1000, Waiting()) for number in range(1000)}
    coarsest = {deadlines.add(now + 1e9 + number, Waiting()) for number in range(10)}
    assert len(fine) >= 99
    assert len(coarse) < 20
    assert len(coarsest) <= 11
    assert min(coarse) > (now + 30) * 1000
    assert max(coarse) < (now + 31.1) * 1000
