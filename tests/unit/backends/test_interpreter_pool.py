import asyncio
import itertools
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from salver.backends.interpreter_pool import InterpreterPool
from salver.errors import Cancelled, InternalError

LIMIT_S = 60


def numbered(bound: int) -> tuple[InterpreterPool[int], list[int]]:
    """A pool of numbers that cannot be told from other numbers, and what it has made."""
    made: list[int] = []
    numbers = itertools.count(1000)

    def make() -> int:
        made.append(next(numbers))
        return made[-1]

    return InterpreterPool(make, bound), made


def test_what_was_given_back_last_is_taken_first() -> None:
    pool, made = numbered(3)
    taken = [pool.take() for _ in range(3)]
    for one in taken:
        pool.give(one)

    assert pool.take() == taken[-1]
    assert made == taken


def test_nothing_is_made_before_runs_overlap() -> None:
    pool, made = numbered(3)
    for _ in range(5):
        pool.give(pool.take())

    assert len(made) == 1


def until_somebody_waits(pool: InterpreterPool[int], taking: Future[int]) -> None:
    """Let the other thread go on until it has looked for one and found none."""
    while not pool._waiting:
        assert not taking.done()


@pytest.mark.parametrize(("asked", "expected"), [(0, 0), (2, 2), (9, 3)])
def test_some_are_made_ahead_but_no_more_than_there_may_be(asked: int, expected: int) -> None:
    pool, made = numbered(3)

    pool.prepare(asked)

    assert len(made) == expected
    assert pool.take() in made or not asked


def test_who_finds_none_waits_for_one() -> None:
    pool, made = numbered(1)
    one = pool.take()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.take)
        until_somebody_waits(pool, waiting)
        pool.give(one)

        assert waiting.result(LIMIT_S) == one
    assert made == [one]


def test_many_threads_never_share_one_and_all_get_their_turn() -> None:
    pool, made = numbered(2)
    lock = threading.Lock()
    used: set[int] = set()

    def turn(_: int) -> bool:
        one = pool.take()
        with lock:
            alone = one not in used
            used.add(one)
        with lock:
            used.discard(one)
        pool.give(one)
        return alone

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(turn, range(5000), timeout=LIMIT_S))
    assert len(made) <= 2


def test_one_that_could_not_be_made_does_not_count() -> None:
    failures = iter([InternalError("no memory")])

    def make() -> str:
        for failure in failures:
            raise failure
        return "made"

    pool = InterpreterPool(make, 1)
    with pytest.raises(InternalError):
        pool.take()

    assert pool.take() == "made"


async def test_the_loop_never_waits_and_keeps_its_own_one() -> None:
    pool, made = numbered(1)
    with ThreadPoolExecutor(1) as threads:
        theirs = await asyncio.wrap_future(threads.submit(pool.take))

        own = pool.take()
        pool.give(own)
        again = pool.take()
        pool.give(again)

        assert own == again != theirs
        # A worker does not get it, or more than one would run.
        waiting = threads.submit(pool.take)
        until_somebody_waits(pool, waiting)
        pool.give(theirs)
        assert await asyncio.wrap_future(waiting) == theirs
    assert made == [theirs, own]


async def test_the_loop_takes_a_free_one_like_everybody() -> None:
    pool, made = numbered(1)
    pool.give(pool.take())

    pool.give(pool.take())

    assert len(made) == 1


def test_a_closed_pool_gives_nothing_and_keeps_nothing() -> None:
    pool = InterpreterPool(object, 2)
    first, second = pool.take(), pool.take()
    pool.give(first)

    pool.close()
    pool.close()
    pool.give(second)

    assert not pool._free
    with pytest.raises(Cancelled):
        pool.take()


def test_who_waits_when_the_pool_is_closed_gets_an_error() -> None:
    pool, _ = numbered(1)
    pool.take()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.take)
        until_somebody_waits(pool, waiting)
        pool.close()

        with pytest.raises(Cancelled):
            waiting.result(LIMIT_S)
