import asyncio
import gc
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.errors import InternalError, InvalidArgument, ServingError, Unavailable
from salver.execution import patience
from salver.execution.batch_control import ENOUGH, BatchControl
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_policy import PolicySearch
from salver.execution.batch_proof import Likeness
from salver.execution.batch_queue import BatchQueue
from salver.execution.batch_request import Request
from salver.execution.batch_run import BatchRun
from salver.execution.patience import SpareTime
from salver.execution.policy_trials import BatchPolicy
from salver.execution.prepared import PreparedServable
from tests.batching import AUTOMATIC, FOURS, Echo, EchoServable, Opened, Site
from tests.fakes import LIMIT_S, failure, turn_loop


async def test_requests_gather_while_the_threads_are_busy_and_then_leave_together(
    opened: Opened,
) -> None:
    site = opened(FOURS)
    await site.hold_the_thread()
    for number in range(6):
        site.send([number])
    site.echo.gate.set()
    await site.all_answered()
    assert site.echo.sizes == [1, 4, 2]
    assert [site.rows(number + 1) for number in range(6)] == [[n] for n in range(6)]


async def test_what_arrives_in_one_turn_of_the_loop_shares_a_batch(opened: Opened) -> None:
    site = opened(FOURS)
    for number in range(3):
        site.send([number])
    await site.all_answered()
    assert site.echo.sizes == [3]
    assert site.echo.threads == ["batch_threads-0"]


async def test_a_batch_is_filled_up_to_an_allowed_size(opened: Opened) -> None:
    site = opened(replace(FOURS, allowed_batch_sizes=(2, 4)))
    site.send([1, 2, 3])
    await site.all_answered()
    assert site.echo.sizes == [4]
    assert site.rows(0) == [1, 2, 3]
    assert site.notes.runs[0].run_sizes == [(3, 4)]


async def test_only_the_guilty_request_of_a_batch_gets_its_error(opened: Opened) -> None:
    site = opened(FOURS)
    for row in (1, -2, 3):
        site.send([row])
    await site.all_answered()
    assert site.errors() == [None, "INVALID_ARGUMENT: row -2", None]
    assert site.echo.sizes == [3, 1, 1, 1]
    assert failure(site.notes.runs[0].first_error) == "INVALID_ARGUMENT: row -2"
    assert not site.notes.runs[0].is_mixed


async def test_one_guilty_request_among_many_is_found_in_few_runs(opened: Opened) -> None:
    site = opened(BatchOptions())
    for row in range(64):
        site.send([-1.0 if row == 41 else row])
    await site.all_answered()
    assert [number for number, error in enumerate(site.errors()) if error] == [41]
    assert len(site.echo.sizes) < 20


async def test_who_is_gone_is_not_run_apart(opened: Opened) -> None:
    site = opened(FOURS)
    site.echo.gate.clear()
    runs = [site.send([row]) for row in (1, -2, 3)]
    assert await asyncio.to_thread(site.echo.started.acquire, timeout=LIMIT_S)
    assert runs[2] is not None
    runs[2].abandon()
    site.echo.gate.set()
    await site.until(lambda: len(site.settled) == 3)
    assert site.errors() == [None, "INVALID_ARGUMENT: row -2"]
    assert site.echo.sizes == [3, 1, 1]


async def test_requests_that_cannot_be_joined_run_apart(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def concatenate(arrays: Sequence[np.ndarray]) -> np.ndarray:
        raise MemoryError

    site = opened(FOURS)
    monkeypatch.setattr(np, "concatenate", concatenate)
    site.send([1])
    site.send([2])
    await site.all_answered()
    assert [site.rows(0), site.rows(1)] == [[1], [2]]


async def test_requests_that_do_not_fit_together_run_apart(opened: Opened) -> None:
    site = opened(FOURS)
    site.send([1.0])
    site.send([[1.0, 2.0]])
    await site.all_answered()
    assert site.errors() == [None, None]
    assert site.echo.sizes == [1, 1]
    assert site.notes.runs[0].first_error is None
    assert site.notes.runs[0].is_mixed


async def test_an_empty_batch_is_answered_at_once(opened: Opened) -> None:
    site = opened(replace(FOURS, batch_timeout_s=1000.0))
    site.send([])
    await site.all_answered()
    assert site.rows(0) == []


async def test_a_full_queue_refuses_and_says_how_full_it_is(opened: Opened) -> None:
    site = opened(replace(FOURS, max_enqueued_batches=1))
    await site.hold_the_thread()
    site.send([1, 2, 3])
    site.send([4, 5])
    assert site.errors() == [
        "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full; "
        "currently 1 batches enqueued and max_enqueued_batches is 1"
    ]
    assert site.notes.refusals == 1
    site.echo.gate.set()
    await site.all_answered()
    assert site.rows(1) == [1, 2, 3]


def pace(queue: BatchQueue | None, seconds: float) -> None:
    """Let a row of its backlog be known to take so long."""
    assert queue is not None
    assert queue.control is not None
    queue.control.drained(1, 0.0, is_backlogged=True)
    queue.control.drained(1, seconds, is_backlogged=False)


async def test_what_is_refused_leaves_nothing_for_the_garbage_collector(opened: Opened) -> None:
    # In a crowd its pauses would be a tenth of the time.
    site = opened(AUTOMATIC, max_wait_s=2.5)
    pace(site.executable.queue, 1.0)
    gc.collect()
    gc.disable()
    try:
        for row in range(5):
            site.send([row])
        errors = [weakref.ref(error) for _, error in site.answers.values() if error is not None]
        assert len(errors) == 2
        site.answers.clear()
        assert [error() for error in errors] == [None] * 2
    finally:
        gc.enable()


async def test_an_automatic_queue_refuses_at_once_where_the_wait_would_be_too_long(
    opened: Opened,
) -> None:
    site = opened(AUTOMATIC, max_wait_s=2.5)
    pace(site.executable.queue, 1.0)
    await site.hold_the_thread()
    for row in range(4):
        site.send([row])
    assert site.errors() == [
        "UNAVAILABLE: The server is overloaded: the wait would be 3.0 s, and 2.5 s is the limit"
    ]
    site.send([5], deadline_s=1.0)
    assert site.errors()[1] == (
        "UNAVAILABLE: The server is overloaded: the wait would be 3.0 s, and 2.5 s is the limit"
    )
    assert site.notes.refusals == 2
    site.echo.gate.set()
    await site.all_answered()
    site.send([6], deadline_s=1000.0)
    await site.all_answered()
    assert site.rows(6) == [6]


async def test_who_asks_before_hears_what_a_request_would_hear(opened: Opened) -> None:
    site = opened(AUTOMATIC, max_wait_s=2.5)
    queue, now = site.executable.queue, asyncio.get_running_loop().time()
    assert queue is not None
    pace(queue, 1.0)
    await site.hold_the_thread()
    assert site.batcher.refusal(queue, now + 0.5) is None
    site.send([1])
    assert site.batcher.refusal(queue, None) is None
    # It may wait twice as long as expected.
    assert site.batcher.refusal(queue, now + 2.5) is None
    assert site.batcher.refusal(queue, now + 1.5) is not None
    assert failure(site.batcher.refusal(queue, now + 0.5)) == (
        "UNAVAILABLE: The server is overloaded: the wait would be 1.0 s, and the deadline comes "
        "first"
    )
    site.send([2])
    site.send([3])
    assert failure(site.batcher.refusal(queue, None)) == (
        "UNAVAILABLE: The server is overloaded: the wait would be 3.0 s, and 2.5 s is the limit"
    )
    assert site.notes.refusals == 0
    site.batcher.refused(queue)
    assert (site.notes.refusals, queue.totals.refused) == (1, 1)
    site.echo.gate.set()
    await site.all_answered()


async def test_who_asked_for_batching_is_not_refused_by_what_is_expected(opened: Opened) -> None:
    site = opened(FOURS, max_wait_s=1e-9)
    await site.hold_the_thread()
    for row in range(8):
        site.send([row])
    assert site.executable.queue is not None
    assert site.batcher.refusal(site.executable.queue, 0.0) is None
    site.echo.gate.set()
    await site.all_answered()
    assert not any(site.errors())


async def test_where_nothing_is_batched_the_runner_says_whether_there_is_room(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    full = Unavailable("full")
    monkeypatch.setattr(site.runner, "refusal", lambda executable, deadline: full)
    assert site.batcher.refusal(queue, None) is None
    queue.search = PolicySearch(1, 1, queue.control)
    assert site.batcher.refusal(queue, None) is None
    queue.search.policy = BatchPolicy(1, 1)
    assert site.batcher.refusal(queue, None) is full


async def test_a_crowd_that_comes_in_one_turn_finds_no_idle_thread(opened: Opened) -> None:
    site = opened(AUTOMATIC, max_wait_s=2.5)
    pace(site.executable.queue, 1.0)
    for row in range(5):
        site.send([row])
    # The thread is idle until the end of the turn, and can take no more than it can do in time.
    assert (
        site.errors()
        == [
            "UNAVAILABLE: The server is overloaded: the wait would be 3.0 s, and 2.5 s is the limit"
        ]
        * 2
    )
    await site.all_answered()


async def test_an_automatic_queue_refuses_at_once_where_the_deadline_would_come_first(
    opened: Opened,
) -> None:
    site = opened(AUTOMATIC)
    pace(site.executable.queue, 1.0)
    await site.hold_the_thread()
    site.send([1])
    site.send([2], deadline_s=0.5)
    assert site.errors() == [
        "UNAVAILABLE: The server is overloaded: the wait would be 1.0 s, and the deadline comes "
        "first"
    ]
    site.echo.gate.set()
    await site.all_answered()


async def test_requests_of_many_kinds_may_wait_longer_as_long_as_they_come_in_time(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(
        SpareTime,
        "learn",
        lambda spare, left_s, took_s, now, is_answered: told.append((left_s, is_answered)),
    )
    site = opened(AUTOMATIC)
    queue, now = site.executable.queue, asyncio.get_running_loop().time()
    assert queue is not None
    pace(queue, 1.0)
    await site.hold_the_thread()
    site.send([1], deadline_s=1000.0)
    site.batcher.spare.times = 1.2
    assert site.batcher.refusal(queue, now + 1.5) is not None
    queue.varies = True
    assert site.batcher.refusal(queue, now + 1.5) is None
    # Who waits for next to nothing, measured by its deadline, tells nothing.
    for deadline_s in (1000.0, 3.6):
        site.send([2], deadline_s)
    run = site.send([3], deadline_s=5.0)
    assert run is not None
    run.abandon()
    site.echo.gate.set()
    await site.until(lambda: len(site.settled) == 5)
    assert told == [(pytest.approx(5.0, abs=1e-3), False), (pytest.approx(3.6, abs=1e-3), True)]


async def test_clients_that_go_away_from_an_automatic_queue_make_the_longest_wait_shorter(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They go on going away, though all of it takes no time here.
    monkeypatch.setattr(patience, "_WINDOW_S", 0.0)
    site = opened(AUTOMATIC, max_wait_s=1000.0)
    pace(site.executable.queue, 1.0)
    await site.hold_the_thread()
    runs = [site.send([row]) for row in range(100)]
    for run in runs[1:]:
        assert isinstance(run, Request)
        run.added_at -= 80.0
        run.abandon()
    assert site.batcher.patience.limit_s == pytest.approx(0.7 * 80.0, rel=0.01)
    site.echo.gate.set()
    await site.until(lambda: len(site.settled) == 101)


async def test_what_has_waited_as_long_as_clients_bear_is_left_out_of_its_batch(
    opened: Opened,
) -> None:
    site = opened(AUTOMATIC, max_wait_s=1000.0)
    pace(site.executable.queue, 1.0)
    await site.hold_the_thread()
    runs = [site.send([row]) for row in range(4)]
    for number in range(100):
        site.batcher.patience.gone(1000.0, 10.0, number)
    late = runs[2]
    assert isinstance(late, Request)
    late.added_at -= 20.0
    site.echo.gate.set()
    await site.all_answered()
    assert site.errors()[3] == (
        "UNAVAILABLE: The server is overloaded: the wait was 20.0 s already, and clients have "
        "shown that they do not wait much longer"
    )
    assert [site.rows(number) for number in (1, 2, 4)] == [[0], [1], [3]]


async def test_who_has_been_alone_for_a_while_is_run_as_without_batching(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    for row in range(40):
        site.send([row])
        await site.all_answered()
    assert {name.rsplit("-", 1)[0] for name in site.echo.threads[-10:]} == {"worker"}
    assert [site.rows(row) for row in range(40)] == [[row] for row in range(40)]
    # As soon as others come too, there are batches again.
    site.echo.gate.clear()
    for row in range(40, 45):
        site.send([row])
    site.echo.gate.set()
    await site.all_answered()
    assert max(site.echo.sizes[40:]) > 1
    assert [site.rows(row) for row in range(40, 45)] == [[row] for row in range(40, 45)]


async def test_a_batch_that_gathers_leaves_when_it_is_whole(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = opened(AUTOMATIC)
    site.send([0])
    await site.all_answered()
    queue = site.executable.queue
    assert queue is not None
    assert queue.search is not None
    queue.search.policy = BatchPolicy(1, 3, gathers=True)
    # One whose company does not come leaves alone, after a moment.
    site.send([1])
    await site.all_answered()
    assert site.rows(1) == [1]
    # On a busy machine the others may come later than that moment.
    monkeypatch.setattr(BatchControl, "gathering_s", 1000.0)
    before = len(site.echo.sizes)
    site.send([2])
    site.send([3])
    await turn_loop()
    assert len(site.echo.sizes) == before
    site.send([4])
    await site.all_answered()
    assert site.echo.sizes[before] == 3


class CountingSearch(PolicySearch):
    """Is told of batches, as every search."""

    told = requests = rows = at_once = 0

    def ended(
        self, requests: int, rows: int, stay_s: float, now: float, *, at_once: bool = False
    ) -> None:
        self.told += 1
        self.requests += requests
        self.rows += rows
        self.at_once += requests * at_once
        super().ended(requests, rows, stay_s, now, at_once=at_once)


async def test_batches_on_the_loop_take_part_in_the_search_too(opened: Opened) -> None:
    # Else a policy with which all are cheap enough for the loop would stay for ever.
    site = opened(AUTOMATIC, inline_s=1.0)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    queue.search = search = CountingSearch(1, 1, queue.control)
    site.executable.cost_s = [1e-3] * len(site.executable.cost_s)
    queue.joins.dear_runs = 4
    for row in range(3):
        site.send([row])
    await site.all_answered()
    assert not any(run.is_threaded for run in site.notes.runs)
    assert search.told == len(site.notes.runs) > 0


async def test_requests_run_alone_where_that_is_found_best_and_are_watched(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    queue.search = search = CountingSearch(1, 1, queue.control)
    search.policy = BatchPolicy(1, 1)
    for row in range(4):
        site.send([row, row])
    await site.all_answered()
    assert site.echo.sizes == [2] * 4
    assert not site.notes.runs
    assert search.told == 4
    assert search.at_once == 0
    # What is refused says nothing of how long answers take.
    site.batcher.stop()
    site.runner.stop()
    site.send([5])
    await site.all_answered()
    assert search.told == 4


@pytest.mark.parametrize(
    ("policy", "cost_s"),
    [
        pytest.param(BatchPolicy(1, 1), 50e-6, id="without batches"),
        pytest.param(BatchPolicy(1), 1e-6, id="too cheap for one"),
    ],
)
async def test_of_cheap_runs_one_of_a_few_is_measured_and_stands_for_all(
    opened: Opened, policy: BatchPolicy, cost_s: float
) -> None:
    site = opened(AUTOMATIC, inline_s=100e-6)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    queue.search = search = CountingSearch(1, 1, queue.control)
    search.policy = policy
    queue.joins.dear_runs = 4
    for _ in range(122):
        site.executable.cost_s = [cost_s] * len(site.executable.cost_s)
        site.send([1, 2])
        await site.all_answered()
    assert set(site.echo.threads) == {"MainThread"}
    assert not site.notes.runs
    assert (search.told, search.requests, search.rows) == (2, 122, 244)
    assert search.at_once == 122


async def test_who_is_not_looked_at_is_counted_all_the_same(opened: Opened) -> None:
    site = opened(AUTOMATIC, inline_s=100e-6)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    queue.search = CountingSearch(1, 1, queue.control)
    queue.search.policy = BatchPolicy(1, 1)
    site.executable.cost_s = [1e-6] * len(site.executable.cost_s)
    queue.joins.dear_runs = 4
    for rows in ([1, 2], [3], [4, 5], 6, [7] * (AUTOMATIC.max_batch_size + 1)):
        site.send(rows)
    await site.all_answered()
    # What has no rows, or more than a batch, is in no metric about them.
    assert site.notes.counts == {2: 2, 1: 1}
    assert queue.totals.alone == 5
    # As soon as there are batches again, those that were let past are over.
    queue.search.policy = BatchPolicy(1)
    site.executable.cost_s = [1e-3] * len(site.executable.cost_s)
    for row in range(100):
        site.send([row])
    await site.all_answered()
    assert queue.totals.alone + queue.totals.requests == 105
    assert queue.totals.requests > 40


async def test_dear_requests_are_looked_at_though_cheap_ones_may_pass(opened: Opened) -> None:
    site = opened(AUTOMATIC, inline_s=100e-6)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    queue.search = search = CountingSearch(1, 1, queue.control)
    search.policy = BatchPolicy(1, 1)
    costs = [1e-6] * len(site.executable.cost_s)
    costs[(4 * 100).bit_length()] = 1e-3
    for _ in range(5):
        site.executable.cost_s = list(costs)
        site.send([1])
        site.send([1] * 100)
        await site.all_answered()
    assert search.told == 1 + 5
    assert site.notes.counts == {1: 5, 100: 5}
    assert queue.totals.alone == 10


async def test_what_is_filled_up_is_checked_though_others_were_enough(opened: Opened) -> None:
    site = opened(replace(AUTOMATIC, pad_variable_length_inputs=True))
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    queue.search = CountingSearch(1, 1, queue.control)
    queue.search.policy = BatchPolicy(1, 64)

    async def together(*rows: list[float]) -> list[list[list[float]]]:
        await site.hold_the_thread()
        first = site.sent
        for row in rows:
            site.send([row])
        site.echo.gate.set()
        await site.all_answered()
        return [site.rows(first + place) for place in range(len(rows))]

    for number in range(4):
        assert await together([1, number], [2, number]) == [[[1, number]], [[2, number]]]
    assert not queue.is_unfit
    assert queue.totals.batches < queue.totals.requests
    # The model answers as many numbers as it is asked, so it must not be asked for more.
    assert await together([1, 2, 3], [4, 5, 6], [7, 8], [4, 5, 6]) == [
        [[1, 2, 3]],
        [[4, 5, 6]],
        [[7, 8]],
        [[4, 5, 6]],
    ]
    assert queue.is_unfit


async def test_who_runs_at_once_goes_on_so_though_it_takes_a_little_longer(opened: Opened) -> None:
    site = opened(AUTOMATIC, inline_s=100e-6)
    assert site.executable.queue is not None
    site.executable.queue.joins.dear_runs = 4
    at_once = []
    for cost_s in (18e-6, 12e-6, 18e-6, 30e-6, 18e-6):
        site.executable.cost_s = [cost_s] * len(site.executable.cost_s)
        before = site.notes.counts.get(1, 0)
        site.send([1])
        await site.all_answered()
        at_once.append(site.notes.counts.get(1, 0) > before)
    assert at_once == [False, True, True, False, False]


async def test_what_waits_goes_where_all_goes_once_there_are_no_batches(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    await site.hold_the_thread()
    for row in range(3):
        site.send([row])
    assert queue.search is not None
    queue.search.policy = BatchPolicy(1, 1)
    # Though others wait, it is not put behind them in a queue that is to become empty.
    site.send([3])
    assert queue.entries == 3
    site.executable.expected_s = [2.0] * len(site.executable.expected_s)
    site.batcher._turns.attend(queue)
    await asyncio.sleep(0)
    # What comes next has to know that it waits behind them.
    assert site.runner.in_flight == 4
    assert site.runner.expected_s == 6.0
    site.echo.gate.set()
    await site.all_answered()
    assert site.echo.sizes == [1] * 5
    assert [site.rows(number + 1) for number in range(4)] == [[n] for n in range(4)]
    assert {name.partition("-")[0] for name in site.echo.threads[1:]} == {"worker"}
    assert queue.running == site.runner.in_flight == 0
    assert site.runner.expected_s == 0.0
    # Batches come back as they were.
    queue.search.policy = BatchPolicy(1)
    for row in range(3):
        site.send([row])
    await site.all_answered()
    assert site.echo.sizes[5] > 1


async def test_inputs_that_wait_have_a_bound_of_bytes_in_automatic_queues(opened: Opened) -> None:
    site = opened(AUTOMATIC, max_queued_bytes=3 << 20)
    await site.hold_the_thread()
    for _ in range(4):
        site.send(np.zeros((1, 250_000)))
    assert site.errors() == ["UNAVAILABLE: 3000000 bytes of inputs wait already"]
    site.echo.gate.set()
    await site.all_answered()
    assert site.errors().count(None) == 4


async def test_what_expires_in_the_queue_is_never_run(opened: Opened) -> None:
    site = opened(FOURS)
    await site.hold_the_thread()
    site.send([1], deadline_s=0.005)
    site.send([2])
    await site.until(lambda: 1 in site.answers)
    assert site.errors() == [
        "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue"
    ]
    assert site.settled == [1]
    site.echo.gate.set()
    await site.all_answered()
    assert site.echo.sizes == [1, 1]


async def test_what_comes_too_late_is_not_run_even_if_a_thread_is_idle(opened: Opened) -> None:
    site = opened(FOURS)
    assert site.send([1], deadline_s=-0.001) is None
    assert site.errors() == [
        "RESOURCE_EXHAUSTED: Run() timeout exceeded while waiting in batching queue"
    ]
    await site.all_answered()
    await turn_loop()
    assert not site.echo.sizes


async def test_who_did_not_ask_for_batching_hears_nothing_of_a_queue(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    await site.hold_the_thread()
    site.send([1], deadline_s=-0.001)
    site.send([1], deadline_s=0.001)
    await site.until(lambda: len(site.answers) == 2)
    assert site.errors() == ["DEADLINE_EXCEEDED: Timed out waiting for notification"] * 2
    site.echo.gate.set()
    await site.all_answered()


async def test_what_expires_while_it_runs_is_answered_then_and_settled_at_its_end(
    opened: Opened,
) -> None:
    site = opened(FOURS)
    site.echo.gate.clear()
    site.send([1], deadline_s=0.01)
    await site.until(lambda: 0 in site.answers)
    assert site.errors() == ["DEADLINE_EXCEEDED: Timed out waiting for notification"]
    assert not site.settled
    site.echo.gate.set()
    await site.all_answered()


async def test_what_is_abandoned_in_the_queue_is_not_run_and_makes_room(opened: Opened) -> None:
    site = opened(replace(FOURS, max_enqueued_batches=1))
    await site.hold_the_thread()
    run = site.send([1, 2, 3, 4])
    assert run is not None
    run.abandon()
    run.abandon()
    site.send([5, 6, 7, 8])
    site.echo.gate.set()
    await site.until(lambda: len(site.settled) == 3)
    assert site.echo.sizes == [1, 4]
    assert 1 not in site.answers


async def test_a_turn_costs_the_same_however_many_wait(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measuring(inputs: Sequence[np.ndarray]) -> int:
        measured.append(len(inputs))
        return 8

    for module in ("batcher", "batch_request"):
        monkeypatch.setattr(f"salver.execution.{module}.size_of", measuring)
    site = opened(BatchOptions())
    await site.hold_the_thread()
    for row in range(50):
        site.send([row])
        await turn_loop(1)
    assert len(measured) <= 2 * 51
    site.echo.gate.set()
    await site.all_answered()


async def test_an_answer_that_goes_wrong_on_the_loop_takes_no_turn_from_others(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    site = opened(FOURS, inline_s=1.0)
    others = [PreparedServable(EchoServable(site.echo), FOURS) for _ in range(2)]
    for servable in others:
        site.executable = servable.signatures["serving_default"].executable
        for size_class in range(8):
            site.executable.record_threaded(size_class, 50e-6, 50e-6)
        if servable is others[0]:
            site.send_to_one_who_fails([1])
    site.send([2])
    await site.all_answered()
    assert site.rows(1) == [2]
    assert "A finished request could not be answered" in caplog.text


async def test_an_observer_that_fails_keeps_no_answer_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = opened(FOURS)

    def batch_ran(run: BatchRun) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(site.notes, "batch_ran", batch_ran)
    site.send([1])
    site.send([2])
    await site.all_answered()
    assert [site.rows(0), site.rows(1)] == [[1], [2]]


async def test_stopping_refuses_what_waits_and_what_comes(opened: Opened) -> None:
    site = opened(FOURS)
    await site.hold_the_thread()
    site.send([1])
    site.batcher.stop()
    site.send([2])
    assert site.errors() == ["UNAVAILABLE: The server is shutting down"] * 2
    site.echo.gate.set()
    await site.all_answered()
    assert site.echo.sizes == [1]


async def test_a_cheap_program_runs_on_the_loop_alone_if_nobody_waits(opened: Opened) -> None:
    site = opened(FOURS, inline_s=1.0)
    site.executable.record_threaded(3, 1e-6, 1e-6)
    assert site.send([1]) is None
    assert site.rows(0) == [1]
    assert site.notes.counts == {1: 1}
    assert site.echo.threads == ["MainThread"]


async def test_a_program_that_is_not_dear_runs_on_the_loop_in_batches(opened: Opened) -> None:
    site = opened(FOURS, inline_s=1.0)
    for size_class in range(8):
        site.executable.record_threaded(size_class, 50e-6, 50e-6)
    for row in range(3):
        site.send([row])
    await site.all_answered()
    assert site.echo.sizes == [3]
    assert site.echo.threads == ["MainThread"]


async def test_a_wait_for_the_interpreter_lock_is_no_proof_of_a_slow_batch(
    opened: Opened,
) -> None:
    site = opened(FOURS, inline_s=0.002)
    await site.hold_the_thread()
    site.executable.program = Napping(0.05)
    for size_class in range(8):
        site.executable.record_threaded(size_class, 1e-3, 1e-3)
    site.executable.suspicion = 100
    site.send([1])
    await site.until(lambda: 1 in site.answers)
    assert site.executable.cost_s[3] < 0.002
    site.echo.gate.set()
    await site.all_answered()
    site.send([1])
    await site.all_answered()
    assert site.executable.cost_s[3] == float("inf")


class Napping:
    """Keeps its thread for so long, without computing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        threading.Event().wait(self._seconds)
        return [inputs[0], inputs[0]]


async def test_queues_take_turns(opened: Opened) -> None:
    site = opened(FOURS)
    other = PreparedServable(EchoServable(site.echo), FOURS)
    await site.hold_the_thread()
    for row in range(8):
        site.send([row])
    site.executable = other.signatures["serving_default"].executable
    site.send([9, 9])
    site.echo.gate.set()
    await site.all_answered()
    assert site.echo.sizes == [1, 4, 2, 4]


async def test_automatic_batches_grow_while_larger_ones_pay(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    for size in (1, 2, 4, 8):
        for _ in range(ENOUGH):
            queue.control.observe(size, 1e-3)
    prove(queue)
    await site.hold_the_thread()
    for row in range(20):
        site.send([row])
    site.echo.gate.set()
    await site.all_answered()
    assert site.echo.sizes == [1, 16, 4]


def prove(queue: BatchQueue) -> None:
    """Let the queue have seen enough of its program to trust it."""
    assert queue.proof is not None
    for _ in range(3):
        queue.proof.ran(Likeness.DIFFERENT)


@pytest.mark.parametrize(
    "rows", [1.0, [1.0] * 1025, []], ids=["no rows", "more than a batch holds", "none"]
)
async def test_automatic_batching_lets_run_alone_what_cannot_be_batched(
    opened: Opened, rows: list[float]
) -> None:
    site = opened(AUTOMATIC)
    site.executable.program = Scalar()
    site.send(rows)
    await site.all_answered()
    assert site.errors() == [None]
    assert not site.notes.runs


def prefer_eight_rows(control: BatchControl) -> None:
    for _ in range(ENOUGH):
        control.observe(1, 1e-3)
        control.observe(8, 1e-3)


class Scalar:
    """Makes one number of all rows: nothing that could be batched."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(inputs[0].sum())]


async def test_automatic_batching_stops_where_outputs_have_no_rows(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    prefer_eight_rows(queue.control)
    site.executable.program = Scalar()
    for row in (1.0, 2.0):
        site.send([row, row])
    await site.all_answered()
    assert [site.rows(0), site.rows(1)] == [2.0, 4.0]
    assert queue.is_unfit
    site.send([5.0])
    await site.all_answered()
    assert site.rows(2) == 5.0
    assert len(site.notes.runs) == 1


class LessTheMean:
    """Mixes its rows: their mean becomes zero."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        [rows] = inputs
        return [rows - rows.mean(axis=0)]


async def test_automatic_batching_changes_no_answer_of_a_program_that_mixes_rows(
    opened: Opened,
) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    prefer_eight_rows(queue.control)
    site.executable.program = LessTheMean()
    for _ in range(3):
        for rows in ([1.0, 3.0], [5.0, 9.0], [0.0, 0.0]):
            site.send(rows)
        await site.all_answered()
    assert [site.rows(number) for number in range(9)] == [[-1, 1], [-2, 2], [0, 0]] * 3
    assert queue.is_unfit
    assert len(site.notes.runs) == 1


class ReportsCrowds:
    """Fails where it runs a row alone, and has another answer for more."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        [rows] = inputs
        if len(rows) == 1:
            raise InvalidArgument("alone")
        return [rows + len(rows)]


async def test_an_error_that_a_request_would_hear_alone_is_what_it_hears(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    prefer_eight_rows(queue.control)
    site.executable.program = ReportsCrowds()
    site.send([1])
    site.send([2])
    await site.all_answered()
    assert site.errors() == ["INVALID_ARGUMENT: alone"] * 2
    assert [outputs for outputs, _ in site.answers.values()] == [None, None]


async def test_automatic_batches_are_checked_until_that_is_enough(opened: Opened) -> None:
    site = opened(AUTOMATIC)
    queue = site.executable.queue
    assert queue is not None
    assert queue.control is not None
    prefer_eight_rows(queue.control)
    for number in range(5):
        for row in range(8):
            site.send([row + number])
        await site.all_answered()
    assert site.echo.sizes == [8, 1, 1] * 3 + [8, 8]


@pytest.mark.parametrize(
    ("shape", "is_batched"), [((-1,), True), (None, True), ((3,), False), ((), False)]
)
def test_only_what_declares_rows_is_batched_unasked(
    shape: tuple[int, ...] | None, is_batched: bool
) -> None:
    servable = PreparedServable(EchoServable(Echo(), shape), AUTOMATIC)
    assert bool(servable.queues) is is_batched
    assert PreparedServable(EchoServable(Echo(), shape), FOURS).queues


async def test_programs_over_the_same_tensors_share_a_queue_whatever_their_order(
    opened: Opened,
) -> None:
    class Pair:
        """Knows its tensors in one order only: a and b to x and y."""

        def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            a, b = inputs
            return [a * 10, b * 100]

    site = opened(FOURS)
    servable = PreparedServable(EchoServable(Pair()), FOURS)
    one = servable.executable(("a", "b"), ("x", "y"))
    other = servable.executable(("b", "a"), ("y", "x"))
    assert one.queue is other.queue
    assert servable.executable(("a", "b"), ("x",)).queue is not one.queue
    heard: list[list[float]] = []

    def on_done(
        outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        assert outputs is not None
        heard.append([float(output[0]) for output in outputs])
        site._changed.set()

    a, b = np.array([1.0]), np.array([2.0])
    site.batcher.run(one, [a, b], None, on_done, lambda: None)
    site.batcher.run(other, [b, a], None, on_done, lambda: None)
    await site.until(lambda: len(heard) == 2)
    assert heard == [[10.0, 200.0], [200.0, 10.0]]
    assert len(site.notes.runs) == 1


@dataclass(frozen=True)
class Step:
    """One request of a scenario, and what happens around it."""

    rows: int
    fails: bool
    deadline_s: float | None
    is_abandoned: bool
    turns: int
    """Turns of the loop before the next."""


STEPS = st.builds(
    Step,
    rows=st.integers(0, 7),
    fails=st.sampled_from([False, False, False, True]),
    deadline_s=st.sampled_from([None, None, -1.0, 0.0, 0.001, 1000.0]),
    is_abandoned=st.sampled_from([False, False, False, True]),
    turns=st.integers(0, 2),
)
OPTIONS = st.builds(
    BatchOptions,
    max_batch_size=st.just(6),
    batch_timeout_s=st.sampled_from([0.0, 0.001]),
    max_enqueued_batches=st.integers(1, 4),
    allowed_batch_sizes=st.sampled_from([(), (2, 6), (1, 3, 6)]),
    enable_large_batch_splitting=st.just(True),
    max_execution_batch_size=st.sampled_from([3, 6]),
    is_automatic=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STEPS, max_size=20),
    OPTIONS,
    st.integers(1, 3),
    st.sampled_from([-1.0, 1.0]),
    st.sampled_from([float("inf"), 1e-6, 30e-6]),
)
def test_no_request_is_mixed_lost_or_answered_twice(
    steps: list[Step],
    options: BatchOptions,
    threads: int,
    inline_s: float,
    known_s: float,
) -> None:
    if options.is_automatic:
        options = replace(options, allowed_batch_sizes=())

    async def play() -> None:
        site = Site(options, threads, inline_s)
        site.runner.start()
        site.batcher.start()
        site.executable.cost_s = [known_s] * len(site.executable.cost_s)
        abandoned: set[int] = set()
        row = 0.0
        expected: list[list[float]] = []
        for number, step in enumerate(steps):
            rows = [row + index for index in range(1, step.rows + 1)]
            row += step.rows
            if step.fails and rows:
                rows[-1] = -rows[-1]
            expected.append(rows)
            run = site.send(rows, step.deadline_s)
            await turn_loop(step.turns)
            if step.is_abandoned and run is not None and number not in site.answers:
                run.abandon()
                abandoned.add(number)
        await site.until(lambda: len(site.settled) == len(steps))
        await turn_loop()
        for number, rows in enumerate(expected):
            assert site.settled.count(number) == 1
            assert (number in site.answers) is (number not in abandoned)
            if number in abandoned:
                continue
            outputs, error = site.answers[number]
            if outputs is not None:
                assert outputs[0].tolist() == rows
            elif isinstance(error, InvalidArgument) and error.message.startswith("row"):
                # Its own row, not that of a neighbour.
                assert float(error.message.split()[1]) in rows
            assert not isinstance(error, InternalError)
        assert site.executable.queue is not None
        assert site.executable.queue.rows == 0
        site.batcher.stop()
        site.runner.stop()

    asyncio.run(play())
