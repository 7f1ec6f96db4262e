from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from salver.core.servable import Program
from salver.errors import InternalError, InvalidArgument, ServingError
from salver.execution.batch_control import ENOUGH
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_queue import BatchQueue
from salver.execution.immediate import ImmediateRunner
from salver.execution.prepared import Executable, PreparedServable
from tests.batching import AUTOMATIC, Echo, EchoServable
from tests.fakes import failure


class Kitchen:
    """A version that is loading, and what its warm-up hears."""

    def __init__(self, options: BatchOptions | None, program: Program | None = None) -> None:
        self.echo = Echo()
        servable = PreparedServable(EchoServable(program or self.echo), options)
        self.executable: Executable = servable.signatures["serving_default"].executable
        self.outputs: list[np.ndarray] | None = None
        self.error: ServingError | None = None
        self.settled = 0

    @property
    def queue(self) -> BatchQueue:
        assert self.executable.queue is not None
        return self.executable.queue

    def play(self, rows: Any) -> None:
        def on_done(
            outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
        ) -> None:
            self.outputs, self.error = outputs, error

        def on_settled() -> None:
            self.settled += 1

        array = np.array(rows, np.float32)
        ImmediateRunner().run(self.executable, [array], None, on_done, on_settled)

    def rows(self) -> Any:
        assert self.error is None
        assert self.outputs is not None
        return self.outputs[0].tolist()


class Made:
    """A program of one function."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self._function = function
        self.sizes: list[int] = []

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(inputs[0].shape[0] if inputs[0].ndim else -1)
        return [self._function(inputs[0])]


def test_without_batching_a_request_runs_as_it_is() -> None:
    kitchen = Kitchen(None)
    kitchen.play([1, 2, 3])
    assert kitchen.rows() == [1, 2, 3]
    assert kitchen.echo.sizes == [3]
    assert kitchen.settled == 1


def test_the_cost_is_known_after_the_warm_up() -> None:
    kitchen = Kitchen(None)
    kitchen.play([1])
    assert kitchen.executable.cost_s[3] < float("inf")


def test_a_request_is_warmed_up_in_the_size_that_will_be_run() -> None:
    kitchen = Kitchen(BatchOptions(allowed_batch_sizes=(4, 1000)))
    kitchen.play([1, 2, 3])
    assert kitchen.rows() == [1, 2, 3]
    assert kitchen.echo.sizes == [4]


def test_a_large_request_is_warmed_up_in_pieces() -> None:
    kitchen = Kitchen(
        BatchOptions(
            10,
            allowed_batch_sizes=(2, 4, 10),
            max_execution_batch_size=4,
            enable_large_batch_splitting=True,
        )
    )
    kitchen.play(range(9))
    assert kitchen.rows() == list(range(9))
    assert kitchen.echo.sizes == [4, 4, 2]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (1.0, "INVALID_ARGUMENT: Batching Run() input tensors must have at least one dimension"),
        ([0] * 11, "INVALID_ARGUMENT: Task size 11 is larger than maximum input batch size 10"),
        ([-1], "INVALID_ARGUMENT: row -1"),
    ],
)
def test_what_could_not_be_batched_fails_the_warm_up(rows: Any, error: str) -> None:
    kitchen = Kitchen(BatchOptions(10, max_execution_batch_size=10))
    kitchen.play(rows)
    assert failure(kitchen.error) == error
    assert kitchen.settled == 1


def test_outputs_without_rows_fail_the_warm_up_where_batching_was_asked_for() -> None:
    kitchen = Kitchen(BatchOptions(), Made(np.sum))
    kitchen.play([1, 2])
    assert failure(kitchen.error) == "FAILED_PRECONDITION: Batched output tensor has 0 dimensions"


@pytest.mark.parametrize("rows", [1.0, [1.0] * 2000, [], [1.0, 2.0]])
def test_nothing_fails_where_batching_was_not_asked_for(rows: Any) -> None:
    kitchen = Kitchen(AUTOMATIC, Made(np.sum))
    kitchen.play(rows)
    assert kitchen.rows() == np.sum(rows)


def test_automatic_batching_learns_at_the_warm_up_that_outputs_have_no_rows() -> None:
    kitchen = Kitchen(AUTOMATIC, Made(np.sum))
    kitchen.play([1.0, 2.0])
    assert kitchen.queue.is_unfit


def test_automatic_batching_learns_at_the_warm_up_that_rows_are_mixed() -> None:
    kitchen = Kitchen(AUTOMATIC, Made(lambda rows: rows / rows.sum()))
    kitchen.play([1.0, 3.0])
    assert kitchen.rows() == [0.25, 0.75]
    assert kitchen.queue.is_unfit


def test_automatic_batching_learns_what_batches_cost_from_the_first_request_alone() -> None:
    program = Made(np.negative)
    kitchen = Kitchen(AUTOMATIC, program)
    kitchen.play([1.0, 2.0])
    control = kitchen.queue.control
    assert control is not None
    learned = [2] + [size for size in (2, 4, 8, 16, 32, 64) for _ in range(ENOUGH)]
    assert program.sizes == learned
    assert all(control.cost_s(size) is not None for size in (2, 4, 8, 16, 32, 64))
    assert not kitchen.queue.is_unfit
    kitchen.play([1.0, 2.0])
    assert program.sizes == [*learned, 2]


def test_a_lesson_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    program = Made(np.negative)
    kitchen = Kitchen(AUTOMATIC, program)
    monkeypatch.setattr("salver.execution.immediate.perf_counter", lambda: next(clock))
    kitchen.play([1.0])
    kitchen.play([1.0])
    assert program.sizes == [1, 1, 1]


def test_a_lesson_that_fails_fails_nothing() -> None:
    def picky(rows: np.ndarray) -> np.ndarray:
        if len(rows) > 2:
            raise InvalidArgument("too many")
        return rows

    kitchen = Kitchen(AUTOMATIC, Made(picky))
    kitchen.play([1.0])
    assert kitchen.rows() == [1.0]


def test_what_no_backend_should_raise_becomes_an_internal_error() -> None:
    def broken(rows: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("oops")

    for options in (None, BatchOptions(), AUTOMATIC):
        kitchen = Kitchen(options, Made(broken))
        kitchen.play([1.0])
        assert isinstance(kitchen.error, InternalError)
        assert kitchen.settled == 1
