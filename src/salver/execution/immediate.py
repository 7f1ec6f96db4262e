"""Runs for a version that is still loading: at once, in the calling thread."""

from collections.abc import Callable, Sequence
from time import perf_counter, thread_time

import numpy as np

from salver.errors import ServingError
from salver.execution.batch_arrays import Inputs, has_rows, joined, parted, rejoined
from salver.execution.batch_control import ENOUGH
from salver.execution.batch_proof import Likeness, are_alike
from salver.execution.batch_queue import BatchQueue, fits, rows_of
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

    def refusal(self, executable: Executable, deadline: float | None = None) -> None:
        """See `RunsPrograms`: everything is run."""

    def refused(self, executable: Executable) -> None:
        """See `RunsPrograms`."""


def _outcome(
    executable: Executable, inputs: Sequence[np.ndarray]
) -> tuple[list[np.ndarray] | None, ServingError | None]:
    queue = executable.queue
    if queue is None or queue.control is not None:
        # Where batching was not asked for, nothing fails for its shape.
        return outcome_of(executable, inputs)
    try:
        return _batched(executable, queue, inputs), None
    except ServingError as error:
        return None, error


def _batched(
    executable: Executable, queue: BatchQueue, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Run as the queue would: with rows added, and in pieces where it is too large."""
    rows = rows_of(inputs, queue)
    at_once = queue.options.max_execution_batch_size
    if rows <= at_once:
        return _batch_of_one(executable, queue, inputs, rows)
    return rejoined(
        [
            _batch_of_one(
                executable,
                queue,
                [array[start : start + at_once] for array in inputs],
                min(at_once, rows - start),
            )
            for start in range(0, rows, at_once)
        ]
    )


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
    """Run the request again and again in ever larger batches: what they cost is then known.

    Once for each queue. Where outputs have no rows, or other ones than those of the request
    alone, it learns that nothing is to be batched.
    """
    control, proof = queue.control, queue.proof
    if control is None or proof is None or queue.is_taught or not fits(inputs, queue):
        return
    queue.is_taught = True
    rows = inputs[0].shape[0]
    until = perf_counter() + _LONGEST_LESSON_S
    copies = 1
    alone: Inputs = ()
    while rows * copies <= _MOST_ROWS:
        merged = joined([inputs] * copies, rows * copies)
        for _ in range(ENOUGH):
            started, cpu_started = perf_counter(), thread_time()
            outputs, _ = outcome_of(executable, merged)
            if outputs is None:
                return
            cpu_s = thread_time() - cpu_started
            control.observe(rows * copies, perf_counter() - started, cpu_s)
            alone = alone or outputs
            if not _is_several_times(outputs, alone, rows, copies):
                queue.is_unfit = True
                return
            if perf_counter() > until:
                return
        proof.ran(Likeness.SAME)
        copies *= 2


def _is_several_times(outputs: Inputs, alone: Inputs, rows: int, copies: int) -> bool:
    """Whether the outputs of a batch of copies begin and end like those of one."""
    if not has_rows(outputs, rows * copies):
        return False
    return are_alike([output[:rows] for output in outputs], alone) and are_alike(
        [output[-rows:] for output in outputs], alone
    )
