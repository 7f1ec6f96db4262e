import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salver.core.servable import Program
from salver.execution.batch_policy import PolicySearch
from salver.execution.batch_queue import BatchQueue
from salver.execution.policy_trials import BatchPolicy
from tests.batching import AUTOMATIC, Opened, Site

CHEAP_S = 25e-6


@pytest.fixture
async def site(opened: Opened) -> Site:
    """Whose program is known to cost next to nothing."""
    site = opened(AUTOMATIC, inline_s=100e-6)
    costs(site, CHEAP_S)
    return site


def costs(site: Site, cost_s: float) -> None:
    site.executable.cost_s = [cost_s] * len(site.executable.cost_s)


def queue_of(site: Site) -> BatchQueue:
    queue = site.executable.queue
    assert queue is not None
    return queue


async def answered(site: Site, *requests: Any) -> list[list[float] | str | None]:
    """What these hear that come in one turn of the loop."""
    first = site.sent
    for rows in requests:
        site.send(rows)
    assert not set(range(first, site.sent)) & set(site.answers), "nobody waited for the turn's end"
    await site.all_answered()
    return [
        site.errors()[number] or site.rows(number) for number in range(first, first + len(requests))
    ]


async def prove(site: Site) -> None:
    """Have as many batches checked as it takes."""
    for turn in range(4):
        await answered(site, *([10.0 * turn + row] for row in range(4)))
        costs(site, CHEAP_S)
    site.echo.sizes.clear()
    site.notes.runs.clear()


async def test_what_comes_in_one_turn_is_run_as_one_on_the_loop(site: Site) -> None:
    await prove(site)
    before = queue_of(site).totals.requests

    assert await answered(site, [1], [2, 3], [4], [5]) == [[1], [2, 3], [4], [5]]

    assert site.echo.sizes == [5]
    assert set(site.echo.threads) == {"MainThread"}
    assert not site.notes.runs
    assert not site.notes.counts
    assert site.notes.joined_counts.batches[5] == 1
    assert site.notes.joined_counts.requests[2] == 1
    assert queue_of(site).totals.requests == before + 4


async def test_who_sends_answers_at_the_end_of_a_turn_can_have_them_then(site: Site) -> None:
    await prove(site)
    first = site.sent
    for row in range(4):
        site.send([row])
    site.lanes.end_turn()
    assert [site.rows(number) for number in range(first, first + 4)] == [[0], [1], [2], [3]]
    await asyncio.sleep(0)
    assert site.echo.sizes == [4]


async def test_the_first_batches_are_checked(site: Site) -> None:
    await answered(site, [1], [2], [3], [4])
    assert site.echo.sizes == [4, 1, 1]
    [run] = site.notes.runs
    assert run.proved is not None


@pytest.mark.parametrize(("cost_s", "sizes"), [(4e-6, [1, 1, 1]), (40e-6, [3])])
async def test_a_few_are_joined_only_if_that_saves_more_than_it_takes(
    site: Site, cost_s: float, sizes: list[int]
) -> None:
    await prove(site)
    costs(site, cost_s)
    assert await answered(site, [1], [2], [3]) == [[1], [2], [3]]
    assert site.echo.sizes == sizes
    assert site.notes.counts.get(1, 0) == sizes.count(1)


async def test_others_are_run_apart(site: Site) -> None:
    await prove(site)
    plain: list[list[float]] = [[1], [2], [3], [4]]
    wide: list[list[list[float]]] = [[[1, 1]], [[2, 2]], [[3, 3]], [[4, 4]]]
    mixed = [each for pair in zip(plain, wide, strict=True) for each in pair]
    assert await answered(site, *mixed) == mixed
    assert site.echo.sizes == [4, 4]


async def test_others_of_another_type_are_run_apart(site: Site) -> None:
    await prove(site)
    types = [np.float32, np.float64] * 4
    arrays = [np.array([index], dtype) for index, dtype in enumerate(types)]
    first = site.sent
    for array in arrays:
        site.send(array, dtype=array.dtype)
    await site.all_answered()
    assert site.echo.sizes == [4, 4]
    for number, array in enumerate(arrays, first):
        outputs, _ = site.answers[number]
        assert outputs is not None
        assert outputs[0].dtype == array.dtype
        assert outputs[0].tolist() == array.tolist()


async def test_no_more_rows_are_joined_than_may_be(opened: Opened) -> None:
    site = opened(replace(AUTOMATIC, max_execution_batch_size=6), inline_s=100e-6)
    costs(site, CHEAP_S)
    await prove(site)
    requests = [[float(row)] for row in range(8)]
    assert await answered(site, *requests) == requests
    assert site.echo.sizes[0] == 6
    site.echo.sizes.clear()
    requests = [[float(row)] * (1 + row % 2) for row in range(8)]
    assert await answered(site, *requests) == requests
    assert max(site.echo.sizes) <= 6


async def test_a_bad_row_costs_its_own_request_alone(site: Site) -> None:
    await prove(site)
    assert await answered(site, [1], [2], [-3], [4]) == [
        [1],
        [2],
        "INVALID_ARGUMENT: row -3",
        [4],
    ]
    assert queue_of(site).totals.apart == 1


async def test_who_has_gone_by_the_end_of_the_turn_is_not_run(site: Site) -> None:
    await prove(site)
    runs = [site.send([row]) for row in range(5)]
    gone = runs[2]
    assert gone is not None
    gone.abandon()
    gone.abandon()
    assert site.settled.count(site.sent - 3) == 1
    await site.until(lambda: len(site.settled) == site.sent)
    assert site.echo.sizes == [4]
    assert site.sent - 3 not in site.answers
    for run in runs:
        assert run is not None
        run.abandon()
    assert len(site.settled) == site.sent


@pytest.mark.parametrize("count", [1, 4])
async def test_a_caller_who_fails_does_not_keep_the_others_from_their_answers(
    site: Site, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    await prove(site)
    site.send_to_one_who_fails([1])
    for row in range(count):
        site.send([row])
    await site.all_answered()
    assert [site.rows(number) for number in range(site.sent - count, site.sent)] == [
        [row] for row in range(count)
    ]
    assert "A finished request could not be answered" in caplog.text


class Summing:
    """Mixes the rows."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [inputs[0].sum(keepdims=True)]


class Shifting:
    """Gives as many rows, but not each its own."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [inputs[0] - inputs[0].mean()]


@pytest.mark.parametrize("program", [Summing(), Shifting()])
async def test_a_model_that_mixes_rows_is_found_out(site: Site, program: Program) -> None:
    site.executable.program = program
    alone = [program.run([np.array([row], np.float32)])[0].tolist() for row in range(4)]
    for _ in range(2):
        assert await answered(site, [0], [1], [2], [3]) == alone
        costs(site, CHEAP_S)
    assert queue_of(site).is_unfit


async def test_what_is_dear_in_company_too_goes_to_the_queue_and_is_tried_again(site: Site) -> None:
    await prove(site)
    joins = queue_of(site).joins
    joins.dear_runs = 0
    site.batcher._together._dear_s = 0.0
    for turn in range(4):
        assert joins.dear_runs == turn
        costs(site, 40e-6)
        assert await answered(site, [1], [2], [3], [4]) == [[1], [2], [3], [4]]
    for before, after, dear_runs in ((0, 1, 4), (4095, 0, 3)):
        site.executable.unwatched = 0
        joins.elsewhere = before
        costs(site, 40e-6)
        site.send([1])
        assert queue_of(site).rows == 1
        assert (joins.elsewhere, joins.dear_runs) == (after, dear_runs)
        await site.all_answered()
    # One good run is enough, and one that is not ends it again.
    costs(site, 40e-6)
    await answered(site, [1], [2], [3], [4])
    assert joins.dear_runs == 4
    joins.dear_runs = 3
    site.batcher._together._dear_s = 1000.0
    costs(site, 40e-6)
    await answered(site, [1], [2], [3], [4])
    assert joins.dear_runs == 0


async def test_it_is_tried_again_also_where_requests_run_alone(site: Site) -> None:
    await prove(site)
    queue = queue_of(site)
    assert queue.control is not None
    queue.search = PolicySearch(1, 1, queue.control)
    queue.search.policy = BatchPolicy(1, 1)
    queue.joins.dear_runs, queue.joins.elsewhere = 4, 4094
    for _ in range(2):
        costs(site, 40e-6)
        site.send([1])
        await site.all_answered()
    assert (queue.joins.elsewhere, queue.joins.dear_runs) == (0, 3)
