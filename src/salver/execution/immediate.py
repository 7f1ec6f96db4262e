"""Runs for a version that is still loading: at once, in the calling thread."""

from collections.abc import Callable, Sequence
from time import perf_counter, thread_time

import numpy as np

from salver.errors import ServingError
from salver.execution.batch_arrays import joined, parted
from salver.execution.batch_queue import BatchQueue, rows_of
from salver.execution.prepared import Executable
from salver.execution.runner import OnDone, outcome_of, size_of

_MOST_ROWS = 64
_LONGEST_LESSON_S = 1.0


class ImmediateRunner:
    """`RunsPrograms` without a loop, threads or company. From any thread."""

    def run(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> None:
        """As `Runner.run`; there is nothing left to abandon, and no deadline."""
        started, cpu_started = perf_counter(), thread_time()
        try:
            outputs, error = _outcome(executable, inputs)
            elapsed_s = perf_counter() - started
            cpu_s = thread_time() - cpu_started
            on_done(outputs, error, elapsed_s)
            failed = error is not None
            executable.record_threaded(size_of(inputs).bit_length(), cpu_s, elapsed_s, failed)
            if executable.queue is not None and not failed:
                _learn(executable, executable.queue, inputs)
        finally:
            on_settled()


def _outcome(
    executable: Executable, inputs: Sequence[np.ndarray]
) -> tuple[list[np.ndarray] | None, ServingError | None]:
    queue = executable.queue
    if queue is None:
        return outcome_of(executable, inputs)
    try:
        rows = rows_of(inputs, queue)
        return _batch_of_one(executable, queue, inputs, rows), None
    except ServingError as error:
        return None, error


def _batch_of_one(
    executable: Executable, queue: BatchQueue, inputs: Sequence[np.ndarray], rows: int
) -> list[np.ndarray]:
    size = queue.options.padded_size(rows) if rows else 0
    outputs, error = outcome_of(executable, joined([inputs], size))
    if outputs is None:
        assert error is not None
        raise error
    return list(parted(outputs, [rows], size)[0])


def _learn(executable: Executable, queue: BatchQueue, inputs: Sequence[np.ndarray]) -> None:
    """Run the request again and again in ever larger batches: what they cost is then known."""
    control = queue.control
    rows = inputs[0].shape[0] if inputs else 0
    if control is None or not rows or control.has_learned:
        return
    until = perf_counter() + _LONGEST_LESSON_S
    copies = 1
    while rows * copies <= _MOST_ROWS and perf_counter() < until:
        merged = joined([inputs] * copies, rows * copies)
        for _ in range(3):
            started = perf_counter()
            _, error = outcome_of(executable, merged)
            if error is not None:
                return
            control.observe(rows * copies, perf_counter() - started, is_backlogged=True)
        copies *= 2
