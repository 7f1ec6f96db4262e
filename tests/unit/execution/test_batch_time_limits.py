import asyncio
from dataclasses import replace
from typing import Any

import uvloop

from salver.execution.batch_turns import BatchTurns
from tests.batching import FOURS, Opened, Site, started
from tests.fakes import turn_loop


async def test_a_batch_waits_for_its_time_limit_but_a_full_one_does_not(opened: Opened) -> None:
    site = opened(replace(FOURS, batch_timeout_s=1000.0))
    site.send([1])
    await turn_loop()
    assert not site.echo.sizes
    site.send([2, 3, 4])
    await site.all_answered()
    assert site.echo.sizes == [4]
    site = opened(replace(FOURS, batch_timeout_s=0.002))
    site.send([1])
    await site.all_answered()
    assert site.echo.sizes == [1]


async def test_stopping_refuses_what_waits_for_its_time_limit_too(opened: Opened) -> None:
    site = opened(replace(FOURS, batch_timeout_s=1000.0))
    site.send([1])
    await turn_loop()
    site.batcher.stop()
    await site.all_answered()
    assert site.errors() == ["UNAVAILABLE: The server is shutting down"]


async def test_draining_lets_nothing_wait_for_company(opened: Opened) -> None:
    site = opened(replace(FOURS, batch_timeout_s=1000.0))
    site.send([1])
    await turn_loop()
    site.batcher.drain()
    await site.all_answered()
    site.send([2])
    await site.all_answered()
    assert [site.rows(0), site.rows(1)] == [[1], [2]]


class WatchedLoop(asyncio.SelectorEventLoop):
    """Remembers the callbacks that are to come later."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Any] = []

    def call_at(self, *arguments: Any, **context: Any) -> Any:  # type: ignore[override]
        self.later.append(arguments[1])
        return super().call_at(*arguments, **context)


def test_a_queue_has_one_timer_however_many_batches_open() -> None:
    async def play() -> None:
        with started(Site(replace(FOURS, batch_timeout_s=1000.0))) as site:
            for number in range(10):
                site.send([number])
                await turn_loop()
                site.send([1, 2, 3])
                await site.all_answered()
            assert site.echo.sizes == [4] * 10

    loop = WatchedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
    assert sum(is_of_a_batcher(callback) for callback in loop.later) == 1


class CountingLoop(uvloop.Loop):
    """Counts the turns that a batcher asks for."""

    turns = 0

    def call_soon(self, *arguments: Any, **context: Any) -> Any:  # type: ignore[override]
        self.turns += is_of_a_batcher(arguments[0])
        return super().call_soon(*arguments, **context)


def test_a_short_time_limit_does_not_keep_the_loop_turning() -> None:
    async def play() -> None:
        with started(Site(replace(FOURS, batch_timeout_s=400e-6))) as site:
            for row in range(50):
                site.send([row])
                await site.all_answered()

    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
    # When it comes, when the timer comes, at worst once more, and when the run has ended.
    assert loop.turns <= 4 * 50


def is_of_a_batcher(callback: Any) -> bool:
    return isinstance(getattr(callback, "__self__", None), BatchTurns)
