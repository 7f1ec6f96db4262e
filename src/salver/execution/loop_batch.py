"""Requests that cost next to nothing, and came in one turn of the loop: run together, at its end.

A queue would cost each of them more than its part of the run. Here they are joined, run and parted
in a few steps for all, and nobody waits longer than for what has arrived to be read. What is out of
the ordinary, an error or a batch that is to be checked, becomes a `BatchRun`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import numpy as np

from salver.errors import ServingError
from salver.execution.batch_arrays import Inputs, kind_of, parted
from salver.execution.batch_queue import BatchQueue, fits
from salver.execution.batch_request import Request
from salver.execution.batch_turns import BatchObserver, BatchTurns
from salver.execution.runner import OnDone, Runner, outcome_of, unexpected

logger = logging.getLogger(__name__)

_CHEAP_S = 20e-6
_FEWEST, _FEWEST_CHEAP = 2, 6
"""Fewer are run alone, and of those that take no more than `_CHEAP_S`: to join and to part them
would take as much as it saves."""
_DEAR_RUNS = 4
"""So many in a row: the first with a new number of rows prepare something, others are held up."""
_TRIED_AGAIN = 4096
"""After so many requests that went elsewhere, some are run together again, to see."""


class LoopRequest:
    """A `Pending`, until the end of the turn."""

    __slots__ = ("inputs", "on_done", "on_settled", "size_class")

    def __init__(
        self, inputs: Inputs, size_class: int, on_done: OnDone, on_settled: Callable[[], None]
    ) -> None:
        self.inputs = inputs
        self.size_class = size_class
        """Bit length of the bytes of the inputs."""
        self.on_done: OnDone | None = on_done
        """None: it is answered, or nobody waits any more."""
        self.on_settled = on_settled

    def abandon(self) -> None:
        """See `Pending`."""
        if self.on_done is not None:
            self.on_done = None
            self.on_settled()

    def answer(
        self, outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        """Answer, unless that was done or nobody waits."""
        on_done, self.on_done = self.on_done, None
        if on_done is None:
            return
        try:
            on_done(outputs, error, elapsed_s)
        except Exception:  # the others must not suffer
            logger.exception("A finished request could not be answered")
        finally:
            self.on_settled()


class LoopBatches:
    """Gathers requests for queues with automatic batching. Loop only."""

    def __init__(
        self, runner: Runner, turns: BatchTurns, observer: BatchObserver, dear_s: float
    ) -> None:
        """`runner` runs who is alone, `turns` does what is out of the ordinary.

        A request that takes more than `dear_s` of a run of several is better off elsewhere.
        """
        self._dear_s = dear_s
        self._runner = runner
        self._turns = turns
        self._observer = observer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathering: list[tuple[BatchQueue, float]] = []
        """Queues for which some came in this turn, and when the first of them came."""

    def start(self) -> None:
        """Gather in turns of the loop that runs."""
        self._loop = asyncio.get_running_loop()

    def run(
        self,
        queue: BatchQueue,
        inputs: Inputs,
        size_class: int,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> LoopRequest:
        """As `Runner.run`, of the queue's own program, at the end of this turn of the loop."""
        request = LoopRequest(inputs, size_class, on_done, on_settled)
        if not queue.joins.gathered:
            if not self._gathering:
                assert self._loop is not None
                self._loop.call_soon(self.end_turn)
            self._gathering.append((queue, perf_counter()))
        queue.joins.gathered.append(request)
        return request

    def is_good_for(self, queue: BatchQueue) -> bool:
        """Whether requests take next to nothing when several are run as one, as far as is known."""
        return queue.joins.dear_runs < _DEAR_RUNS

    def went_elsewhere(self, queue: BatchQueue) -> None:
        """A request did."""
        joins = queue.joins
        joins.elsewhere += 1
        if joins.elsewhere >= _TRIED_AGAIN:
            joins.elsewhere = 0
            joins.dear_runs = min(joins.dear_runs, _DEAR_RUNS - 1)

    def end_turn(self) -> None:
        """Run what has been gathered."""
        gathering, self._gathering = self._gathering, []
        for queue, began_at in gathering:
            gathered, queue.joins.gathered = queue.joins.gathered, []
            try:
                self._run_gathered(queue, gathered, began_at)
            except Exception as failure:  # noqa: BLE001 - they must not wait for ever
                error = unexpected(failure)
                for request in gathered:
                    request.answer(None, error, 0.0)

    def _run_gathered(
        self, queue: BatchQueue, gathered: list[LoopRequest], began_at: float
    ) -> None:
        alone_s = queue.executable.cost_s[gathered[0].size_class]
        fewest = _FEWEST_CHEAP if alone_s <= _CHEAP_S else _FEWEST
        if len(gathered) < fewest:
            self._run_alone(queue, gathered)
            return
        wanted = [request for request in gathered if request.on_done is not None]
        for group, sizes in _groups(queue, wanted):
            if len(group) < fewest:
                self._run_alone(queue, group)
            else:
                self._run_joined(queue, group, sizes, began_at)

    def _run_alone(self, queue: BatchQueue, group: list[LoopRequest]) -> None:
        run_here = self._runner.run_here
        for request in group:
            inputs, size_class, settled = request.inputs, request.size_class, request.on_settled
            on_done, request.on_done = request.on_done, None
            if on_done is None:
                continue
            count_alone(queue, inputs, self._observer)
            try:
                run_here(queue.executable, inputs, size_class, on_done, settled)
            except Exception:  # the others must not suffer
                logger.exception("A finished request could not be answered")

    def _run_joined(
        self, queue: BatchQueue, group: list[LoopRequest], sizes: list[int], began_at: float
    ) -> None:
        if self._runner.nap.under_way:
            self._runner.nap.hold_off()
        started = perf_counter()
        try:
            parts = _answers(queue, group, sizes)
        except (ServingError, MemoryError):
            parts = None
        elapsed_s = perf_counter() - started
        if parts is None:
            self._run_with_care(queue, group, sizes)
            return
        assert queue.proof is not None
        queue.proof.ran(None)
        if elapsed_s <= len(group) * self._dear_s:
            queue.joins.dear_runs = 0
        else:
            queue.joins.dear_runs += 1
        self._count(queue, len(group[0].inputs), sizes, started - began_at)
        for request, outputs in zip(group, parts, strict=True):
            request.answer(list(outputs), None, elapsed_s)

    def _count(self, queue: BatchQueue, inputs: int, sizes: Sequence[int], waited_s: float) -> None:
        if queue.joins.counts is None:
            most = queue.options.max_execution_batch_size
            queue.joins.counts = self._observer.joined(inputs, most)
        joined, totals, rows = queue.joins.counts, queue.totals, sum(sizes)
        joined.batches[rows] += 1
        joined.wait_s += len(sizes) * waited_s
        for size in sizes:
            joined.requests[size] += 1
        totals.batches += 1
        totals.requests += len(sizes)
        totals.rows += rows
        totals.wait_s += waited_s

    def _run_with_care(
        self, queue: BatchQueue, group: list[LoopRequest], sizes: Sequence[int]
    ) -> None:
        """Once more, if it was run; then apart, if it must be."""
        requests = []
        for each, rows in zip(group, sizes, strict=True):
            on_done, each.on_done = each.on_done, None
            if on_done is not None:
                self._observer.came(len(each.inputs), rows)
                requests.append(Request(queue, each.inputs, rows, on_done, each.on_settled))
        if requests:
            self._turns.run_here(queue, requests)


def count_alone(queue: BatchQueue, inputs: Sequence[np.ndarray], observer: BatchObserver) -> None:
    """A request is run in no batch."""
    queue.totals.alone += 1
    executable = queue.executable
    if executable.alone is None:
        executable.alone = observer.alone(len(inputs), queue.options.max_batch_size)
    try:  # noqa: SIM105 - that would cost as much as all of this
        executable.alone[inputs[0].shape[0]] += 1
    except LookupError:
        pass  # It has no rows, or more than are counted.


def _groups(
    queue: BatchQueue, requests: list[LoopRequest]
) -> Iterator[tuple[list[LoopRequest], list[int]]]:
    """Those that can be run as one, and their rows."""
    if not requests:
        return
    if fits(requests[0].inputs, queue) and _are_same([request.inputs for request in requests]):
        rows = requests[0].inputs[0].shape[0]
        most = max(queue.options.max_execution_batch_size // rows, 1)
        for start in range(0, len(requests), most):
            part = requests[start : start + most]
            yield part, [rows] * len(part)
        return
    kinds: dict[object, list[LoopRequest]] = {}
    for request in requests:
        inputs = request.inputs
        # What fits to nothing is of a kind of its own.
        kind = kind_of(inputs) if fits(inputs, queue) else request
        kinds.setdefault(kind, []).append(request)
    for kind, group in kinds.items():
        if kind is group[0]:
            yield group, [0]
        else:
            yield from _parts(queue, group)


def _are_same(requests: list[Inputs]) -> bool:
    """Whether they have the same types and shapes, as most have: that is seen in no time."""
    for arrays in zip(*requests, strict=True):
        count, first = len(arrays), arrays[0]
        if [array.dtype for array in arrays].count(first.dtype) != count:
            return False
        if [array.shape for array in arrays].count(first.shape) != count:
            return False
    return True


def _parts(
    queue: BatchQueue, group: list[LoopRequest]
) -> Iterator[tuple[list[LoopRequest], list[int]]]:
    most_rows = queue.options.max_execution_batch_size
    part: list[LoopRequest] = []
    sizes: list[int] = []
    for request in group:
        rows = request.inputs[0].shape[0]
        if part and sum(sizes) + rows > most_rows:
            yield part, sizes
            part, sizes = [], []
        part.append(request)
        sizes.append(rows)
    yield part, sizes


def _answers(
    queue: BatchQueue, group: Sequence[LoopRequest], sizes: Sequence[int]
) -> Sequence[Inputs] | None:
    """The outputs of each; None if the batch is to be checked first, or failed.

    Raises:
        FailedPrecondition: the outputs have not as many rows as the inputs.
        MemoryError: there is too little.
    """
    merged = [
        np.concatenate(arrays)
        for arrays in zip(*[request.inputs for request in group], strict=True)
    ]
    proof = queue.proof
    assert proof is not None
    if proof.is_open and proof.open_question(sizes, merged) is not None:
        return None
    outputs, _ = outcome_of(queue.executable, merged)
    return None if outputs is None else parted(outputs, sizes, sum(sizes))
