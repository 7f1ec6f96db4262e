from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.servable import Program
from salver.errors import FailedPrecondition, InvalidArgument, Unavailable
from salver.execution.batch_options import BatchOptions, check_options
from salver.execution.batch_queue import Batch, BatchQueue, rows_of
from salver.execution.prepared import Executable

FOURS = BatchOptions(max_batch_size=4, max_execution_batch_size=4, max_enqueued_batches=2)
SPLIT = BatchOptions(
    max_batch_size=10,
    max_execution_batch_size=4,
    max_enqueued_batches=3,
    enable_large_batch_splitting=True,
)


class Nothing(Program):
    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise AssertionError


class Waiting:
    """An entry of so many rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.size = 8 * rows
        self.inputs: Sequence[np.ndarray] = ()
        self.batch: Batch | None = None
        self.added_at = 0.0
        self.kind = 0


def queue_with(options: BatchOptions, feeds_twice: bool = False) -> BatchQueue:
    return BatchQueue(Executable(Nothing()), options, feeds_twice)


def add(queue: BatchQueue, rows: int, now: float = 0.0) -> list[Waiting]:
    entries = [Waiting(stop - start) for start, stop in queue.cut(rows)]
    for entry in entries:
        queue.add(entry, now)
    return entries


def sizes(queue: BatchQueue) -> list[list[int]]:
    """The entries of all batches, taken one after the other."""
    taken = []
    while queue.rows:
        taken.append([entry.rows for entry in queue.take().entries])
    return taken


def test_requests_join_the_open_batch_as_long_as_they_fit() -> None:
    queue = queue_with(FOURS)
    for rows in (1, 2, 1, 3):
        add(queue, rows)
    assert queue.rows == 7
    assert sizes(queue) == [[1, 2, 1], [3]]


def test_one_that_does_not_fit_closes_the_batch_before_it() -> None:
    queue = queue_with(replace(FOURS, batch_timeout_s=1.0))
    add(queue, 3, now=5.0)
    assert queue.due_at() == 6.0
    add(queue, 2, now=5.5)
    assert queue.due_at() == 5.0
    queue.take()
    assert queue.due_at() == 6.5


def test_a_full_batch_is_due_at_once_and_one_without_a_time_limit_too() -> None:
    queue = queue_with(replace(FOURS, batch_timeout_s=1.0))
    add(queue, 4, now=5.0)
    assert queue.due_at() == 5.0
    queue = queue_with(FOURS)
    assert queue.due_at() is None
    add(queue, 1, now=7.0)
    assert queue.due_at() == 7.0


def test_a_full_queue_refuses_what_would_need_another_batch() -> None:
    queue = queue_with(FOURS)
    add(queue, 3)
    add(queue, 3)
    add(queue, 1)
    with pytest.raises(Unavailable) as refused:
        add(queue, 1)
    assert refused.value.message == (
        "The batch scheduling queue to which this task was submitted is full; currently 2 "
        "batches enqueued and max_enqueued_batches is 2"
    )
    queue.take()
    add(queue, 1)
    assert sizes(queue) == [[3, 1], [1]]


def test_requests_can_be_limited_whatever_their_size() -> None:
    queue = queue_with(replace(FOURS, max_enqueued_batches=9, max_enqueued_requests=3))
    [first], *_ = [add(queue, rows) for rows in (3, 3, 1)]
    with pytest.raises(Unavailable) as refused:
        add(queue, 1)
    assert refused.value.message == "3 requests to the model are waiting already"
    queue.remove(first)
    add(queue, 1)
    queue.take()
    assert queue.entries == 1
    add(queue, 1)
    assert sizes(queue) == [[1, 1]]
    assert queue.entries == 0


def test_no_batches_at_all_stand_for_one() -> None:
    queue = queue_with(replace(FOURS, max_enqueued_batches=0))
    add(queue, 4)
    with pytest.raises(Unavailable, match="max_enqueued_batches is 1"):
        add(queue, 1)


def test_a_large_request_is_cut_so_that_it_fills_the_open_batch_first() -> None:
    queue = queue_with(SPLIT)
    add(queue, 1)
    assert [entry.rows for entry in add(queue, 9)] == [3, 4, 2]
    assert sizes(queue) == [[1, 3], [4], [2]]


def test_the_capacity_for_pieces_is_what_is_left_of_all_batches() -> None:
    queue = queue_with(SPLIT)
    add(queue, 3)
    with pytest.raises(Unavailable) as refused:
        add(queue, 10)
    assert refused.value.message == (
        "The batch scheduling queue to which this task was submitted is full; task size is 10 "
        "but scheduling capacity is only 9 (num_enqueued_batches=1, max_enqueued_batches=3, "
        "open_batch_size=3, max_execution_batch_size=4)"
    )
    add(queue, 9)
    assert sizes(queue) == [[3, 1], [4], [4]]


def test_what_nobody_waits_for_leaves_the_queue_and_its_place() -> None:
    queue = queue_with(FOURS)
    [first], [second], [third] = add(queue, 3), add(queue, 3), add(queue, 1)
    queue.remove(first)
    assert queue.rows == 4
    assert queue.batches == 1
    queue.remove(second)
    queue.remove(second)
    assert sizes(queue) == [[1]]
    assert third.batch is None


def test_a_pause_after_all_have_left_is_not_taken_for_a_slow_model() -> None:
    queue = queue_with(PADDED)
    assert queue.control is not None
    entries = [*add(queue, 1), *add(queue, 1)]
    queue.control.drained(8, 10.0, is_backlogged=True)
    for entry in entries:
        queue.remove(entry)
    queue.control.drained(8, 60.0, is_backlogged=False)
    assert queue.control.wait_s(64) == 0.0


def test_the_last_of_an_open_batch_may_leave_it_empty() -> None:
    queue = queue_with(FOURS)
    [only] = add(queue, 2)
    queue.remove(only)
    assert queue.due_at() is None
    assert queue.rows == 0
    add(queue, 4)
    assert sizes(queue) == [[4]]


def test_a_part_of_a_batch_can_be_taken_but_no_part_of_a_request() -> None:
    queue = queue_with(replace(FOURS, max_batch_size=100, max_execution_batch_size=100))
    for rows in (2, 2, 5, 1):
        add(queue, rows)
    assert [entry.rows for entry in queue.take(4).entries] == [2, 2]
    assert queue.first_size == 8 * 6
    assert [entry.rows for entry in queue.take(4).entries] == [5]
    assert [entry.rows for entry in queue.take(4).entries] == [1]
    assert queue.rows == 0


@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), max_size=40),
    st.integers(1, 5),
    st.booleans(),
)
def test_no_row_is_lost_or_comes_twice_and_order_is_kept(
    steps: list[tuple[int, bool, bool]], limit: int, splits: bool
) -> None:
    at_once = 5 if splits else 12
    queue = queue_with(BatchOptions(12, 0.0, limit, (), False, splits, at_once))
    waiting: list[Waiting] = []
    for rows, leaves, runs in steps:
        try:
            waiting.extend(add(queue, rows))
        except Unavailable:
            assert queue.batches >= min(limit, 2) or splits
        if leaves and waiting:
            queue.remove(waiting.pop(len(waiting) // 2))
        if runs and waiting:
            batch = queue.take()
            assert 0 < batch.rows <= at_once
            assert batch.rows == sum(entry.rows for entry in batch.entries)
            assert batch.entries == waiting[: len(batch.entries)]
            del waiting[: len(batch.entries)]
        assert queue.rows == sum(entry.rows for entry in waiting)
        assert queue.entries == len(waiting)
        first = [entry for entry in waiting if entry.batch is waiting[0].batch]
        assert queue.first_size == sum(entry.size for entry in first)
        assert queue.batches <= max(limit, 1)
    taken = []
    while queue.rows:
        taken.extend(queue.take().entries)
    assert taken == waiting


X = np.zeros((3, 2), np.float32)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ([], "Batching Run() must have at least one input tensor"),
        ([X, X[0, 0]], "Batching Run() input tensors must have at least one dimension"),
        ([X, X[:2]], "Batching Run() input tensors must have equal 0th-dimension size"),
        ([np.zeros(5)], "Task size 5 is larger than maximum input batch size 4"),
    ],
)
def test_what_cannot_be_in_a_batch_is_refused(inputs: list[np.ndarray], error: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        rows_of([np.asarray(array) for array in inputs], queue_with(FOURS))
    assert refused.value.message == error


def test_two_inputs_that_are_one_tensor_have_too_many_rows() -> None:
    with pytest.raises(FailedPrecondition, match="0th dimension does not equal"):
        rows_of([X, X], queue_with(FOURS, feeds_twice=True))
    assert rows_of([X, X], queue_with(FOURS)) == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (replace(FOURS, max_batch_size=0), "input_batch_size_limit must be positive; was 0"),
        (
            replace(FOURS, batch_timeout_s=-1e-6),
            "batch_timeout_micros must be non-negative; was -1",
        ),
        (replace(FOURS, max_execution_batch_size=0), "max_execution_batch_size must be positive"),
        (replace(SPLIT, max_execution_batch_size=11), "must be greater than or equal to max"),
        (
            replace(FOURS, allowed_batch_sizes=(2, 3)),
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; "
            "expected 4",
        ),
    ],
)
def test_parameters_that_make_no_queue_are_refused(options: BatchOptions, error: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_options(options)
    assert error in refused.value.message


def test_the_size_that_is_run_is_the_first_allowed_one_that_is_large_enough() -> None:
    options = replace(FOURS, allowed_batch_sizes=(2, 4))
    assert [options.padded_size(rows) for rows in (1, 2, 3, 4)] == [2, 2, 4, 4]
    assert FOURS.padded_size(3) == 3


def test_batches_are_made_of_what_is_alike_once_it_has_varied() -> None:
    queue = queue_with(replace(FOURS, max_batch_size=100, max_execution_batch_size=100))
    short, long = [np.zeros((1, 4))], [np.zeros((1, 8))]
    queue.varies = True
    for inputs in (short, long, short, short, long, short):
        entry = Waiting(1)
        entry.inputs = inputs
        queue.add(entry, 0.0)
    taken = []
    while queue.rows:
        taken.append([entry.inputs[0].shape[1] for entry in queue.take(3).entries])
    # The oldest that is left always comes first: nobody waits for ever.
    assert taken == [[4, 4, 4], [8, 8], [4]]
    assert queue.entries == 0
    assert queue.due_at() is None


PADDED = BatchOptions(
    max_batch_size=100,
    max_execution_batch_size=100,
    pad_variable_length_inputs=True,
    is_automatic=True,
)


def lengths_taken(queue: BatchQueue, *shapes: tuple[int, ...]) -> list[list[int]]:
    """The second dimensions of requests of these shapes, by batches of three rows."""
    for shape in shapes:
        entry = Waiting(shape[0])
        entry.inputs = [np.zeros(shape, np.float32)]
        entry.size = entry.inputs[0].nbytes
        queue.add(entry, 0.0)
    taken = []
    while queue.rows:
        taken.append([entry.inputs[0].shape[1] for entry in queue.take(3).entries])
    return taken


def test_where_they_are_padded_the_oldest_takes_those_along_that_are_about_as_long() -> None:
    queue = queue_with(PADDED)
    taken = lengths_taken(queue, *((1, length) for length in (30, 4, 64, 5, 29, 60, 33, 3)))
    assert taken == [[30, 29, 33], [4, 5, 3], [64, 60]]
    # Also beside others that cannot be padded to fit; and never more rows than asked for.
    queue.varies = True
    taken = lengths_taken(queue, (2, 8), (1, 8, 1), (1, 9), (2, 7), (1, 64))
    assert taken == [[8, 9], [8], [7], [64]]
    assert queue.entries == queue.size == 0


def test_what_is_filled_up_is_never_more_than_what_is_there() -> None:
    queue = queue_with(PADDED)
    # One that is very long, whoever is the oldest; and what is long the other way.
    assert lengths_taken(queue, (1, 8), (1, 10_000), (1, 9)) == [[8, 9], [10_000]]
    assert lengths_taken(queue, (1, 10_000), (1, 8), (1, 9)) == [[10_000, 9], [8]]
    assert lengths_taken(queue, (1, 1, 50), (1, 50, 1)) == [[1], [50]]
    # Requests of one length are not kept from each other by any of it.
    assert lengths_taken(queue, *[(1, 8)] * 7) == [[8] * 3, [8] * 3, [8]]
