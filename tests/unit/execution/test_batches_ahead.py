"""Full batches that are cut before a thread is idle, which then need not wait for the loop."""

from time import perf_counter

import numpy as np
import pytest

from salver.errors import ServingError
from salver.execution.batch_policy import PolicySearch
from salver.execution.batch_queue import BatchQueue
from salver.execution.batch_request import Request
from salver.execution.policy_trials import BatchPolicy
from salver.execution.prepared import Executable, PreparedServable
from tests.batching import AUTOMATIC, Echo, EchoServable, Opened, Site
from tests.fakes import LIMIT_S, turn_loop

TWOS = BatchPolicy(1, 2)


def queue_of(executable: Executable, policy: BatchPolicy = TWOS) -> BatchQueue:
    """The queue of a program whose batches are formed like this."""
    queue = executable.queue
    assert queue is not None
    assert queue.control is not None
    # Requests that are run again alone, to see whether they may be joined, would be runs too.
    queue.proof = None
    queue.search = PolicySearch(1, 4, queue.control)
    queue.search.policy = policy
    return queue


async def held(opened: Opened, rows: int, threads: int = 1) -> tuple[Site, BatchQueue]:
    """Requests of a row each, behind one that runs until the gate of the echo opens."""
    site = opened(AUTOMATIC, threads=threads)
    queue = queue_of(site.executable)
    await site.hold_the_thread()
    for row in range(rows):
        site.send([row])
    await turn_loop()
    return site, queue


def await_runs(site: Site, count: int) -> None:
    """Wait for so many runs to begin, while the loop does nothing at all."""
    for _ in range(count):
        assert site.echo.started.acquire(timeout=LIMIT_S)


async def test_the_thread_goes_on_with_the_next_batch_while_the_loop_is_busy(
    opened: Opened,
) -> None:
    site, queue = await held(opened, 5)
    site.echo.gate.set()
    await_runs(site, 1)
    assert site.echo.sizes == [1, 2]
    await site.all_answered()
    assert site.echo.sizes == [1, 2, 2, 1]
    assert [site.rows(number) for number in range(6)] == [[100], [0], [1], [2], [3], [4]]
    assert not queue.ahead
    assert queue.running == 0


async def test_a_batch_that_others_may_still_join_is_not_cut(opened: Opened) -> None:
    site, queue = await held(opened, 1)
    assert not queue.ahead
    site.send([1])
    await turn_loop()
    assert [run.batch.rows for run in queue.ahead] == [2]


async def test_as_many_rows_as_get_through_cheapest_are_a_full_batch(opened: Opened) -> None:
    site, queue = await held(opened, 1)
    assert queue.search is not None
    assert queue.control is not None
    queue.search.policy = BatchPolicy(1)
    for _ in range(8):
        queue.control.observe(4, 0.001)
        queue.control.observe(1, 0.001)
    assert queue.control.best == 4
    for rows in (2, 3, 4):
        assert not queue.ahead
        site.send([rows])
        await turn_loop()
    assert [run.batch.rows for run in queue.ahead] == [4]


async def test_only_what_the_threads_that_run_can_go_on_with_is_cut(opened: Opened) -> None:
    site, queue = await held(opened, 8, threads=2)
    assert queue.search is not None
    assert [run.batch.rows for run in queue.ahead] == [2]
    queue.search.policy = BatchPolicy(2, 2)
    site.send([8])
    await turn_loop()
    # The other thread took one, so each has one to go on with.
    await_runs(site, 1)
    assert [run.batch.rows for run in queue.ahead] == [2, 2]
    assert queue.rows == 3


async def test_another_model_that_waits_has_the_next_turn(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = queue_of(site.executable)
    await site.hold_the_thread()
    other = PreparedServable(EchoServable(Echo()), AUTOMATIC)
    executable = other.signatures["serving_default"].executable
    answers: list[ServingError | None] = []
    inputs = [np.zeros(1, np.float32)]
    site.lanes.run(
        executable, inputs, None, lambda outputs, error, s: answers.append(error), lambda: None
    )
    for row in range(4):
        site.send([row])
    await turn_loop()
    assert not queue.ahead
    site.echo.gate.set()
    await site.all_answered()
    await turn_loop()
    assert answers == [None]


async def test_who_is_gone_is_not_run(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = queue_of(site.executable)
    await site.hold_the_thread()
    requests = [site.send([row]) for row in range(4)]
    await turn_loop()
    assert len(queue.ahead) == 1
    for number in (1, 2):
        request = requests[number]
        assert request is not None
        request.abandon()
    site.echo.gate.set()
    await site.until(lambda: len(site.settled) == 5)
    assert sorted(site.echo.sizes) == [1, 1, 1]
    assert sorted(site.answers) == [0, 1, 4]


async def test_the_wait_of_a_batch_lasts_until_it_begins(opened: Opened) -> None:
    site, queue = await held(opened, 2)
    before = perf_counter()
    assert queue.ahead[0].taken_at < before
    site.echo.gate.set()
    await site.all_answered()
    assert site.notes.runs[-1].taken_at > before


@pytest.mark.parametrize("is_stopping", [False, True])
async def test_what_a_thread_came_too_early_for_is_begun_by_the_loop(
    is_stopping: bool, opened: Opened
) -> None:
    site, queue = await held(opened, 0)
    site.echo.gate.set()
    until = perf_counter() + LIMIT_S
    while not site.batcher._turns._workers._idle:
        assert perf_counter() < until
    # It is done, and the loop has not heard of it.
    site.send([1])
    site.send([2])
    site.batcher._turns._turn()
    assert len(queue.ahead) == 1
    if is_stopping:
        site.batcher.stop()
    await site.all_answered()
    assert not queue.ahead
    assert queue.running == 0
    stopped = ["UNAVAILABLE: The server is shutting down"] * 2
    assert site.errors() == [None, *(stopped if is_stopping else [None, None])]


async def test_what_is_cut_hears_of_the_end(opened: Opened) -> None:
    site, queue = await held(opened, 4)
    assert len(queue.ahead) == 1
    site.batcher.stop()
    site.echo.gate.set()
    await site.all_answered()
    assert site.errors() == [None, *["UNAVAILABLE: The server is shutting down"] * 4]
    assert site.echo.sizes == [1]


async def test_what_is_cut_counts_in_the_wait_of_those_behind_it(opened: Opened) -> None:
    site, queue = await held(opened, 3)
    assert [run.batch.rows for run in queue.ahead] == [2]
    assert (queue.rows, queue.rows_before) == (1, 3)
    assert queue.control is not None
    queue.control.drained(1, 0.0, is_backlogged=True)
    queue.control.drained(1, 1.0, is_backlogged=True)
    request = site.send([9])
    assert isinstance(request, Request)
    assert request.expected_wait_s == 3.0
