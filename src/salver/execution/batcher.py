"""Which way a request goes whose program is batched: into its queue, past it, or back.

In the queue it waits for company while threads are busy; `batch_turns.py` has batches run. Past it
goes what is cheaper alone or cannot be joined; back goes what would wait too long.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np

from salver.core.deep_array import DeepArray
from salver.errors import ServingError, Unavailable
from salver.execution.batch_arrays import check_outputs
from salver.execution.batch_control import BatchControl
from salver.execution.batch_policy import PolicySearch
from salver.execution.batch_queue import BatchQueue, fits, rows_of
from salver.execution.batch_request import Request, expired
from salver.execution.batch_turns import BatchObserver, BatchThreads, BatchTurns
from salver.execution.deadlines import Deadlines
from salver.execution.loop_batch import LoopBatches, count_alone
from salver.execution.patience import SPARE_OF_BATCHES, Patience, SpareTime, time_left_s
from salver.execution.policy_trials import BatchPolicy
from salver.execution.prepared import Executable, Order
from salver.execution.runner import OnDone, Pending, Runner, overload, size_of

_LONE_BATCHES = 16
"""After so many batches of one request, the next is expected alone too."""
_STANDS_FOR = 61
"""Of so many answers without a batch, of cheap programs, one is looked at and measured: to measure
each would cost a tenth of it. A prime, so that callers who take turns are all looked at."""
_STAYS_ALONE = 1.5
"""Who runs at once does so until it takes so many times what it may take to begin with: what it
takes varies, and to go back and forth would be neither way."""
_TRIED = 2
"""Who takes up to so many times what may run on the loop alone is run there with others, if that
takes next to nothing: what it takes alone varies, and is rarely seen where many come."""
_NO_WAIT_S = 5e-3
"""Who is expected to wait for less shows nothing of how long clients wait."""
_AT_ONCE_S = 1e-3
"""Errors that come sooner are those of requests that were never taken."""
_FEW_BYTES = 1 << 20
"""So many may wait in each queue, whatever waits elsewhere."""


@dataclass(frozen=True, slots=True)
class BatcherOptions:
    """The parts that all queues share."""

    threads: BatchThreads
    width: int = 0
    """Of them, those of one automatic queue, until it is found how many suit it; 0: all."""
    max_wait_s: float = 0.0
    """As of `RunnerOptions`; for automatic queues, because the others have bounds of their own."""
    max_queued_bytes: int = 0
    """As of `RunnerOptions`, for automatic queues."""
    alone_budget_s: float = 15e-6
    """To wait in a queue costs more than to run a request that takes less, alone or as one of
    several on the loop: it runs there."""


class Batcher:
    """Batches requests to programs with a queue; `runner` runs what goes past it. Loop only."""

    def __init__(self, options: BatcherOptions, runner: Runner, observer: BatchObserver) -> None:
        self._options = options
        self._runner = runner
        self._observer = observer
        self._inline_budget_s = options.threads.inline_budget_s
        self._alone_budget_s = min(options.alone_budget_s, self._inline_budget_s)
        self._stays_alone_s = min(_STAYS_ALONE * self._alone_budget_s, self._inline_budget_s)
        self._turns = BatchTurns(options.threads, runner, observer)
        self._pace = self._turns.pace
        self._together = LoopBatches(runner, self._turns, observer, self._alone_budget_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.patience = Patience(options.max_wait_s)
        self.spare = SpareTime()
        """Of all queues whose requests are of many kinds."""
        self._deadlines = Deadlines()

    def start(self) -> None:
        """See `Workers.start`."""
        self._loop = asyncio.get_running_loop()
        self._turns.start()
        self._together.start()

    def end_turn(self) -> None:
        """See `LoopBatches.end_turn`."""
        self._together.end_turn()

    def drain(self) -> None:
        """See `BatchTurns.drain`."""
        self._turns.drain()

    def stop(self) -> None:
        """See `BatchTurns.stop`."""
        self._turns.stop()

    def run(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """As `Runner.run`, of an executable that has a queue."""
        queue = executable.queue
        assert queue is not None
        if executable.unwatched and not queue.rows:
            size_class = size_of(inputs).bit_length()
            if executable.cost_s[size_class] <= queue.unwatched_up_to_s:
                executable.unwatched -= 1
                return self._run_at_once(queue, inputs, size_class, deadline, on_done, on_settled)
        if queue.control is None:
            # So many dimensions as a `DeepArray` has cannot be joined.
            if DeepArray in map(type, inputs):
                return self._runner.run(executable, inputs, deadline, on_done, on_settled)
            return self._join(executable, queue, inputs, deadline, on_done, on_settled)
        search = queue.search
        is_unbatched = search is not None and not search.policy.batches
        if executable.order is None:
            size_class = size_of(inputs).bit_length()
            budget_s = self._budget_s(queue)
            if is_unbatched:
                budget_s = max(budget_s, self._inline_budget_s)
            # What waits yet is no reason to join it where no batching was found best, or is being
            # tried: callers who come again would keep the queue from ever being empty.
            may_pass = is_unbatched or not queue.rows or self._together.is_good_for(queue)
            if may_pass and executable.cost_s[size_class] <= budget_s:
                queue.ran_at_once = True
                stands_for = _next_may_pass(queue, budget_s)
                if search is not None:
                    # Others like it may have been put into batches: their policy is not to be
                    # blamed for answers that it left to this way.
                    queue.untold += stands_for
                    on_done = _told(queue, search, inputs, True, on_done)
                return self._run_at_once(queue, inputs, size_class, deadline, on_done, on_settled)
            queue.ran_at_once = False
            self._together.went_elsewhere(queue)
            executable.was_dear(size_class)
            if not is_unbatched:
                queue.unwatched_up_to_s = 0.0
        return self._run_automatic(executable, queue, inputs, deadline, on_done, on_settled)

    def _budget_s(self, queue: BatchQueue) -> float:
        """What a request may take alone that is run on the loop, with others if there are any."""
        if self._together.is_good_for(queue):
            return _TRIED * self._inline_budget_s
        return self._stays_alone_s if queue.ran_at_once else self._alone_budget_s

    def _run_at_once(
        self,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        size_class: int,
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """What costs next to nothing with all that comes in the same turn, else alone."""
        if queue.executable.cost_s[size_class] <= self._budget_s(queue):
            return self._together.run(queue, inputs, size_class, on_done, on_settled)
        self._together.went_elsewhere(queue)
        return self._run_past(queue, inputs, deadline, on_done, on_settled)

    def _run_automatic(
        self,
        executable: Executable,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """What is not run at once: in a batch if it can be, and if batches are worth forming."""
        search = queue.search
        if not fits(inputs, queue):
            return self._runner.run(executable, inputs, deadline, on_done, on_settled)
        if executable.order is None:
            if queue.lone_batches >= _LONE_BATCHES and _is_lone(queue):
                # Who has been alone for a while pays nothing for batching.
                queue.runs_past = True
                settled = partial(_ran_past, queue, on_settled)
                return self._run_past(queue, inputs, deadline, on_done, settled)
            if search is not None and not search.policy.batches:
                queue.untold += 1
                done = _told(queue, search, inputs, False, on_done)
                return self._run_past(queue, inputs, deadline, done, on_settled)
        return self._join(executable, queue, inputs, deadline, on_done, on_settled)

    def _join(
        self,
        executable: Executable,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """Have it wait for its batch, unless that is due at once and of this request alone."""
        if executable.order is not None:
            inputs = executable.order.inputs(inputs)
            on_done = partial(_reordered, executable.order, on_done)
        try:
            # Of an automatic queue they are known to fit.
            rows = inputs[0].shape[0] if queue.control is not None else rows_of(inputs, queue)
            if self._turns.is_stopping:
                raise Unavailable("The server is shutting down")
            if not self._can_run_at_once(queue, inputs, rows):
                return self._enqueue(queue, inputs, rows, deadline, on_done, on_settled)
        except ServingError as error:
            try:
                on_done(None, error, 0.0)
            finally:
                on_settled()
            return None
        done = on_done if queue.control is not None else partial(_checked, rows, on_done)
        return self._run_past(queue, inputs, deadline, done, on_settled)

    def _run_past(
        self,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """Run as if there were no batching."""
        count_alone(queue, inputs, self._observer)
        return self._runner.run(queue.executable, inputs, deadline, on_done, on_settled)

    def _can_run_at_once(self, queue: BatchQueue, inputs: Sequence[np.ndarray], rows: int) -> bool:
        if queue.rows or queue.options.batch_timeout_s:
            # An empty batch has no rows to share.
            return not rows
        if rows > queue.options.max_execution_batch_size:
            return False
        size_class = size_of(inputs).bit_length()
        return not rows or (
            queue.executable.cost_s[size_class] <= self._alone_budget_s
            and queue.options.padded_size(rows) == rows
        )

    def _enqueue(
        self,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        rows: int,
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending:
        assert self._loop is not None
        now = perf_counter()
        self._observer.came(len(inputs), rows)
        if deadline is not None and deadline <= self._loop.time():
            # Its timer would come after the next turn, and it would be run for nobody.
            raise expired(queue, waits=True)
        request = Request(queue, inputs, rows, on_done, on_settled)
        if queue.control is not None and queue.search is None:
            threads, width = self._options.threads.count, self._options.width
            queue.search = PolicySearch(width or threads, threads, queue.control)
        try:
            expected_wait_s = self._expected_wait_s(queue, deadline)
            if queue.control is not None:
                self._require_memory(queue, request.size)
            request.enqueue(now)
        except Unavailable:
            self.refused(queue)
            raise
        request.expected_wait_s = expected_wait_s
        if expected_wait_s > _NO_WAIT_S:
            request.try_patience(self.patience)
        if deadline is not None:
            request.expire_at(deadline, self._deadlines)
            left_s = deadline - self._loop.time()
            wait_s = expected_wait_s * self._pace.times
            if queue.varies and self.spare.is_told_by(wait_s, left_s):
                request.try_spare(self.spare, left_s)
        self._turns.attend(queue)
        return request

    def _require_memory(self, queue: BatchQueue, size: int) -> None:
        """Of automatic queues, which have no other bound of bytes.

        Raises:
            Unavailable: the inputs that wait take too much.
        """
        most = self._options.max_queued_bytes
        if not most or queue.size + size <= _FEW_BYTES:
            return
        waiting = self._turns.waiting_bytes(queue)
        if waiting + size > most:
            raise Unavailable(f"{waiting} bytes of inputs wait already")

    def _expected_wait_s(self, queue: BatchQueue, deadline: float | None) -> float:
        """How long one more would wait, where measured cost tells it; 0 where that is not known.

        Raises:
            Unavailable: too long.
        """
        if queue.control is None:
            return 0.0
        # Of idle threads, too: many may come in one turn of the loop, in which none takes them.
        wait_s = queue.control.wait_s(queue.rows_before)
        refusal = self._overload(queue, queue.control, wait_s, deadline)
        if refusal is not None:
            try:
                raise refusal
            finally:
                # Else it and the frame that its traceback refers to would keep each other.
                del refusal
        return wait_s

    def _overload(
        self, queue: BatchQueue, control: BatchControl, wait_s: float, deadline: float | None
    ) -> ServingError | None:
        assert self._loop is not None
        left_s = None
        if deadline is not None:
            spare = self.spare.times if queue.varies else SPARE_OF_BATCHES
            left_s = time_left_s(deadline, self._loop.time(), control.batch_s, spare)
        return overload(wait_s * self._pace.times, self.patience.limit_s, left_s)

    def refusal(self, queue: BatchQueue, deadline: float | None) -> ServingError | None:
        """See `RunsPrograms`: of programs with this queue."""
        if queue.control is None:
            return None
        if queue.search is not None and not queue.search.policy.batches:
            return self._runner.refusal(queue.executable, deadline)
        if queue.rows:
            # What does not fit the queue would go past it, to threads for the same cores.
            control = queue.control
            return self._overload(queue, control, control.wait_s(queue.rows_before), deadline)
        return None

    def refused(self, queue: BatchQueue) -> None:
        """A request to a program with this queue was refused."""
        queue.totals.refused += 1
        if queue.search is not None:
            queue.search.refused()
        self._observer.refused()


def _is_lone(queue: BatchQueue) -> bool:
    """Whether the next request is expected alone, as all were for a while."""
    if queue.runs_past or queue.rows or queue.running:
        queue.lone_batches = 0
        return False
    return True


def _next_may_pass(queue: BatchQueue, budget_s: float) -> int:
    """Look at none of the next ones that cost so little; for how many this one then stands."""
    queue.unwatched_up_to_s = budget_s
    queue.executable.unwatched = _STANDS_FOR - 1
    return _STANDS_FOR


def _told(
    queue: BatchQueue,
    search: PolicySearch,
    inputs: Sequence[np.ndarray],
    at_once: bool,
    on_done: OnDone,
) -> OnDone:
    """What is done with an answer without a batch; and the search is told of all of late."""
    count, queue.untold = queue.untold, 0
    shape = inputs[0].shape if inputs else ()
    rows = count * shape[0] if shape else count
    came_at = perf_counter()
    policy = search.policy
    return partial(_answered_unbatched, search, policy, count, rows, at_once, came_at, on_done)


def _answered_unbatched(
    search: PolicySearch,
    policy: BatchPolicy,
    count: int,
    rows: int,
    at_once: bool,
    came_at: float,
    on_done: OnDone,
    outputs: list[np.ndarray] | None,
    error: ServingError | None,
    elapsed_s: float,
) -> None:
    now = perf_counter()
    try:
        on_done(outputs, error, elapsed_s)
    finally:
        # Those that are answered when another policy has its turn say nothing of it, and those
        # that were refused at once nothing at all.
        if search.policy is policy and (outputs is not None or now - came_at > _AT_ONCE_S):
            search.ended(count, rows, count * (now - came_at), now, at_once=at_once)


def _ran_past(queue: BatchQueue, on_settled: Callable[[], None]) -> None:
    queue.runs_past = False
    on_settled()


def _checked(
    rows: int,
    on_done: OnDone,
    outputs: list[np.ndarray] | None,
    error: ServingError | None,
    elapsed_s: float,
) -> None:
    """Answer, unless the outputs have not as many rows as the inputs had."""
    if outputs is not None:
        try:
            check_outputs(outputs, rows)
        except ServingError as failure:
            outputs, error = None, failure
    on_done(outputs, error, elapsed_s)


def _reordered(
    order: Order,
    on_done: OnDone,
    outputs: list[np.ndarray] | None,
    error: ServingError | None,
    elapsed_s: float,
) -> None:
    on_done(None if outputs is None else order.outputs(outputs), error, elapsed_s)
