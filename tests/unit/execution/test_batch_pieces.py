import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from salver.execution.batch_options import BatchOptions
from salver.execution.batch_request import Request
from tests.batching import Opened
from tests.fakes import turn_loop


async def test_a_large_request_is_run_in_pieces_and_comes_back_whole(opened: Opened) -> None:
    options = BatchOptions(10, 0.0, 100, (), False, True, 4)
    site = opened(options, threads=2)
    site.send([7])
    site.send(range(9))
    await site.all_answered()
    assert sorted(site.echo.sizes) == [2, 4, 4]
    assert site.rows(0) == [7]
    assert site.rows(1) == list(range(9))


async def test_a_piece_that_fails_fails_its_request_once_and_no_other(opened: Opened) -> None:
    site = opened(BatchOptions(10, 0.0, 100, (), False, True, 4))
    site.send([7])
    site.send([0, 1, 2, 3, -4, 5, 6, -7, 8])
    await site.all_answered()
    assert site.errors() == [None, "INVALID_ARGUMENT: row -4"]


class RowNumbers:
    """Its output is as wide as the largest number among its rows."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        [rows] = inputs
        return [np.zeros((len(rows), int(rows.max())), np.float32)]


async def test_pieces_whose_outputs_do_not_fit_together_fail_their_request(
    opened: Opened,
) -> None:
    site = opened(BatchOptions(10, 0.0, 100, (), False, True, 2))
    site.executable.program = RowNumbers()
    site.send([1, 1, 5])
    await site.all_answered()
    assert site.errors() == [
        "FAILED_PRECONDITION: The outputs of a request that ran in pieces have different shapes: "
        "send fewer rows, or raise max_execution_batch_size"
    ]


async def test_pieces_are_not_padded_for_they_have_to_fit_together(opened: Opened) -> None:
    site = opened(BatchOptions(10, 0.0, 100, (), True, True, 4))
    site.send([[1.0, 2.0, 3.0]])
    site.send([[float(row)] for row in range(5)])
    site.send([[7.0, 8.0]])
    await site.all_answered()
    assert site.rows(1) == [[0], [1], [2], [3], [4]]
    assert site.rows(0) == [[1, 2, 3]]
    assert site.rows(2) == [[7, 8]]
    assert site.echo.sizes == [1, 3, 2, 1]


async def test_pieces_behind_one_that_failed_leave_the_queue(opened: Opened) -> None:
    site = opened(BatchOptions(10, 0.0, 5, (), False, True, 2))
    await site.hold_the_thread()
    site.send([-1, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    queue = site.executable.queue
    assert queue is not None
    assert queue.rows == 10
    site.echo.gate.set()
    await site.until(lambda: 1 in site.answers)
    assert queue.rows == 0
    await site.all_answered()
    assert site.errors() == [None, "INVALID_ARGUMENT: row -1"]
    assert site.echo.sizes == [1, 2]


@pytest.mark.parametrize("at_once", [2, 10], ids=["in pieces", "whole"])
async def test_a_request_that_was_answered_is_freed_at_once(opened: Opened, at_once: int) -> None:
    site = opened(BatchOptions(10, 0.0, 100, (), False, True, at_once))
    gc.disable()
    try:
        run = site.send([1, 2, 3, 4, 5], deadline_s=1000.0)
        assert isinstance(run, Request)
        rows = weakref.ref(run.inputs[0])
        del run
        await site.all_answered()
        site.notes.runs.clear()
        site.answers.clear()
        await turn_loop()
        assert rows() is None
    finally:
        gc.enable()
