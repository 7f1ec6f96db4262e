"""One batch on a worker: joined, run, parted; and run apart where that went wrong."""

from collections.abc import Sequence
from time import perf_counter, thread_time
from typing import Protocol

import numpy as np

from salver.errors import FailedPrecondition, ServingError, Unavailable
from salver.execution.batch_arrays import groups_of, joined, parted
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_proof import Likeness, are_alike
from salver.execution.batch_queue import Batch
from salver.execution.batch_request import Outputs, Piece, Request
from salver.execution.loop_watch import LoopWatch
from salver.execution.prepared import Executable
from salver.execution.runner import outcome_of, unexpected

_HALVED = 5
"""Of so many requests that failed together, halves are tried first."""


class BatchOwner(Protocol):
    """Who is told of the end."""

    @property
    def is_stopping(self) -> bool: ...

    def ended(self, run: "BatchRun") -> None:
        """On the loop; the requests are answered afterwards."""


class Outcome:
    """What became of one entry."""

    __slots__ = ("entry", "error", "outputs")

    def __init__(self, entry: Request | Piece) -> None:
        self.entry = entry
        self.outputs: Outputs | None = None
        self.error: ServingError | None = None


_Merged = tuple[list[Outcome], list[Sequence[np.ndarray]], Sequence[np.ndarray]]


class BatchRun:
    """A `Job` of the workers."""

    __slots__ = (
        "_owner", "_unchecked", "batch", "cpu_s", "elapsed_s", "executable", "expected_s",
        "first_error", "has_failed", "held_s", "is_followed", "is_mixed", "is_passed_on",
        "is_threaded", "is_unfit", "name", "options", "outcomes", "proved", "run_sizes",
        "size_class", "taken_at",
    )  # fmt: skip

    def __init__(self, owner: BatchOwner, batch: Batch, taken_at: float) -> None:
        self._owner = owner
        self._unchecked: list[_Merged] = []
        self.batch = batch
        self.taken_at = taken_at
        """When it left the queue, by the clock of the queue."""
        self.executable: Executable = batch.queue.executable
        self.name = batch.queue.name
        self.options: BatchOptions = batch.queue.options
        self.outcomes: list[Outcome] = []
        self.run_sizes: list[tuple[int, int]] = []
        """Rows and padded rows of each run that was made; the first is the whole batch's."""
        self.is_threaded = False
        """Whether a thread computed it, and not the loop."""
        self.is_followed = False
        """Whether its thread went on with another batch of the queue."""
        self.is_passed_on = False
        """Whether that is a thread for requests without batches."""
        self.expected_s = 0.0
        """How long it is expected to be busy then."""
        self.first_error: ServingError | None = None
        """Why requests were run apart that had been run together; None: none were."""
        self.has_failed = False
        """Whether a request that was run, or the running itself, ended in an error."""
        self.is_mixed = False
        """Whether requests were run apart because they do not fit together."""
        self.is_unfit = False
        """Whether outputs had not as many rows as inputs, or the rows were mixed."""
        self.proved: Likeness | None = None
        """What was checked besides, and found right."""
        self.elapsed_s = 0.0
        """How long the program itself ran, all runs together."""
        self.cpu_s = 0.0
        """CPU time of this thread for that."""
        self.held_s = 0.0
        """How long the thread was held up: by joining and parting too, by checks of outputs not."""
        self.size_class = 0

    def compute(self) -> None:
        """See `Job`."""
        taken = []
        inputs: list[Sequence[np.ndarray]] = []
        for entry in self.batch.entries:
            assert isinstance(entry, Request | Piece)
            outcome = Outcome(entry)
            self.outcomes.append(outcome)
            arrays = entry.inputs
            outcome.error = entry.refusal(self.taken_at)
            if not entry.is_unwanted and outcome.error is None:
                taken.append(outcome)
                inputs.append(arrays)
        if self._owner.is_stopping:
            for outcome in taken:
                outcome.error = Unavailable("The server is shutting down")
            return
        is_suspect = self.executable.suspicion and not self.is_threaded
        watch = LoopWatch() if is_suspect else None
        started = perf_counter()
        try:
            self.size_class = sum(outcome.entry.size for outcome in taken).bit_length()
            pieces = [place for place, it in enumerate(taken) if isinstance(it.entry, Piece)]
            groups = groups_of(inputs, self.options, pieces)
            self.is_mixed = len(groups) > 1
            for group in groups:
                self._run([taken[place] for place in group], [inputs[place] for place in group])
            self.held_s = perf_counter() - started if watch is None else watch.read(0.0)
            for merged in self._unchecked:
                self._check(*merged)
        except Exception as failure:  # noqa: BLE001 - the others must not wait for ever
            error = unexpected(failure)
            for outcome in taken:
                if outcome.outputs is None:
                    outcome.error = outcome.error or error
        self._unchecked.clear()
        self.has_failed = any(outcome.error is not None for outcome in taken)

    @property
    def waited_s(self) -> float:
        """See `Job`: of the request that came first."""
        return self.taken_at - self.batch.opened_at

    def following(self) -> "BatchRun | None":
        """See `Job`: the next batch of this queue, if one is cut already."""
        if self.is_passed_on:
            return None
        try:
            run = self.batch.queue.ahead.popleft()
        except IndexError:
            return None
        run.taken_at = perf_counter()
        self.is_followed = True
        return run

    def _run(self, outcomes: list[Outcome], requests: list[Sequence[np.ndarray]]) -> None:
        """Run them as one; if that fails and there are several, apart."""
        error = self._failure(outcomes, requests)
        if error is None:
            return
        if len(outcomes) == 1:
            outcomes[0].outputs, outcomes[0].error = None, error
            return
        self.first_error = self.first_error or error
        self._run_apart(outcomes, requests)

    def _run_apart(self, outcomes: list[Outcome], requests: list[Sequence[np.ndarray]]) -> None:
        for part in self._parts(len(outcomes)):
            # It may have been a while: who has gone meanwhile is left out.
            wanted = [place for place in part if not outcomes[place].entry.is_unwanted]
            if wanted:
                self._run([outcomes[place] for place in wanted], [requests[p] for p in wanted])

    def _parts(self, count: int) -> Sequence[Sequence[int]]:
        """What to run apart: halves of many, which find one at fault in few runs."""
        if count < _HALVED or self.is_unfit:
            return [range(place, place + 1) for place in range(count)]
        return [range(count // 2), range(count // 2, count)]

    def _failure(
        self, outcomes: list[Outcome], requests: list[Sequence[np.ndarray]]
    ) -> ServingError | None:
        """Run them as one and note their outputs, or say what went wrong."""
        sizes = [outcome.entry.rows for outcome in outcomes]
        rows = sum(sizes)
        size = self.options.padded_size(rows) if rows else 0
        try:
            merged = joined(requests, size)
        except Exception as failure:  # noqa: BLE001 - memory, where it is short
            return unexpected(failure)
        self.run_sizes.append((rows, size))
        outputs, error = self._outcome_of(merged)
        if outputs is None:
            return error
        if len(outcomes) == 1 and self.options.is_automatic:
            # What nobody asked to be batched must not fail for its shape.
            outcomes[0].outputs = outputs
            return None
        try:
            for outcome, part in zip(outcomes, parted(outputs, sizes, size), strict=True):
                outcome.outputs = part
        except ServingError as failure:
            self.is_unfit = True
            # Its traceback refers to the requests, which are to refer to it.
            return failure.with_traceback(None)
        proof = self.batch.queue.proof
        if proof is not None and proof.is_open and len(outcomes) > 1:
            self._unchecked.append((outcomes, requests, merged))
        return None

    def _check(
        self,
        outcomes: list[Outcome],
        requests: list[Sequence[np.ndarray]],
        merged: Sequence[np.ndarray],
    ) -> None:
        """If it is to be known: do two of them hear alone what they hear together?

        The first and the last; of those that were filled up, the first and the one that was most.
        """
        proof = self.batch.queue.proof
        assert proof is not None
        is_padded = any(_is_filled_up(inputs, merged) for inputs in requests)
        sizes = [outcome.entry.rows for outcome in outcomes]
        question = proof.open_question(sizes, merged, is_padded=is_padded)
        if question is None:
            return
        other = len(outcomes) - 1
        if is_padded:
            other = min(range(len(outcomes)), key=lambda k: outcomes[k].entry.size / sizes[k])
        for place in (0, other):
            outcome, inputs = outcomes[place], requests[place]
            rows = outcome.entry.rows
            self.run_sizes.append((rows, rows))
            alone, _ = outcome_of(self.executable, inputs)
            assert outcome.outputs is not None
            if alone is None or not are_alike(outcome.outputs, alone):
                self.is_unfit = True
                self.first_error = FailedPrecondition(
                    "The outputs differ from those of a request alone"
                )
                self._run_apart(outcomes, requests)
                return
        self.proved = question

    def _outcome_of(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray] | None, ServingError | None]:
        started, cpu_started = perf_counter(), thread_time()
        outcome = outcome_of(self.executable, inputs)
        self.elapsed_s += perf_counter() - started
        self.cpu_s += thread_time() - cpu_started
        return outcome

    def finish(self) -> None:
        """See `Job`."""
        failure: Exception | None = None
        try:
            self._owner.ended(self)
        except Exception as error:  # noqa: BLE001 - the requests must be answered first
            failure = error
        for outcome in self.outcomes:
            try:
                outcome.entry.deliver(outcome.outputs, outcome.error, self.elapsed_s)
            except Exception as error:  # noqa: BLE001 - the others must be answered first
                failure = failure or error
        if failure is not None:
            raise failure


def _is_filled_up(inputs: Sequence[np.ndarray], merged: Sequence[np.ndarray]) -> bool:
    """Whether this request had to be, to be a part of what was merged."""
    return any(own.shape[1:] != all_.shape[1:] for own, all_ in zip(inputs, merged, strict=True))
