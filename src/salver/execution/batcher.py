"""Runs requests in batches: they gather while threads are busy, and leave when one is idle.

The loop owns the queues; threads compute. Queues whose first batch is due take turns, one
batch each. What costs next to nothing runs on the loop, where a batch would only cost more.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from time import perf_counter
from typing import Protocol

import numpy as np

from salver.core.deep_array import DeepArray
from salver.errors import ServingError, Unavailable
from salver.execution.batch_arrays import check_outputs
from salver.execution.batch_learning import BatchLearning
from salver.execution.batch_policy import PolicySearch
from salver.execution.batch_queue import BatchQueue, fits, rows_of
from salver.execution.batch_request import Request, expired
from salver.execution.batch_run import BatchRun
from salver.execution.patience import Patience, time_left_s
from salver.execution.prepared import Executable, Order
from salver.execution.runner import OnDone, Pending, Runner, overload, size_of
from salver.execution.workers import Workers

logger = logging.getLogger(__name__)

_LONE_BATCHES = 16
"""After so many batches of one request, the next is expected alone too."""
_NO_WAIT_S = 5e-3
"""Who is expected to wait for less shows nothing of how long clients wait."""
_AT_ONCE_S = 1e-3
_FEW_BYTES = 1 << 20
"""So many may wait in each queue, whatever waits elsewhere."""


class BatchObserver(Protocol):
    """Is told what happens, for the metrics."""

    def came(self, inputs: int, rows: int) -> None:
        """A request with so many inputs of so many rows came, to be put in a queue."""

    def batch_ran(self, run: BatchRun) -> None:
        """A batch was run; see the attributes of `run`."""

    def ran_alone(self, inputs: int, rows: int) -> None:
        """A request with so many inputs of so many rows ran at once, as a batch of its own."""

    def refused(self) -> None:
        """A queue was full."""


@dataclass(frozen=True, slots=True)
class BatcherOptions:
    """The parts that all queues share."""

    threads: int
    """Batches that run at the same time."""
    width: int = 0
    """Of them, those of one automatic queue, until it is found how many suit it; 0: all."""
    thread_pool_name: str = "batch_threads"
    inline_budget_s: float = 100e-6
    """Longest expected run that happens on the loop itself."""
    max_wait_s: float = 0.0
    """As of `RunnerOptions`; for automatic queues, because the others have bounds of their own."""
    max_queued_bytes: int = 0
    """As of `RunnerOptions`, for automatic queues."""
    alone_budget_s: float = 15e-6
    """Below this, to join and part costs more than to run: a request runs at once, alone."""


class Batcher:
    """Batches requests to programs with a queue; `runner` runs what goes past it. Loop only."""

    def __init__(self, options: BatcherOptions, runner: Runner, observer: BatchObserver) -> None:
        self._options = options
        self._runner = runner
        self._observer = observer
        self._workers = Workers(options.threads, options.thread_pool_name)
        self._alone_budget_s = min(options.alone_budget_s, options.inline_budget_s)
        self._idle = options.threads
        self._turns: deque[BatchQueue] = deque()
        self._timers: dict[BatchQueue, asyncio.TimerHandle] = {}
        """One for each queue whose first batch is not due yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_is_due = False
        self._is_draining = False
        self.patience = Patience(options.max_wait_s)
        self._learning = BatchLearning(options.inline_budget_s)

    def start(self) -> None:
        """See `Workers.start`."""
        self._loop = asyncio.get_running_loop()
        self._workers.start()

    def drain(self) -> None:
        """From now on nothing waits for company: all leaves as soon as a thread is idle."""
        self._is_draining = True
        for queue in self._sleepers():
            self._attend(queue)

    def stop(self) -> None:
        """Refuse what waits and what comes; end after what is running now."""
        self._workers.stop()
        for queue in [*self._turns, *self._sleepers()]:
            self._hand_over_all(queue)

    def _sleepers(self) -> list[BatchQueue]:
        """The queues that would wait for a timer, which no longer comes."""
        timers, self._timers = self._timers, {}
        for timer in timers.values():
            timer.cancel()
        return list(timers)

    @property
    def is_stopping(self) -> bool:
        return self._workers.is_stopping

    def _hand_over_all(self, queue: BatchQueue) -> None:
        # Each run finds that the end has come, and answers so.
        now = perf_counter()
        while queue.rows:
            _compute_here(BatchRun(self, queue.take(), now))

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
        if queue.control is not None:
            if executable.order is None:
                if not queue.rows:
                    size_class = size_of(inputs).bit_length()
                    if executable.cost_s[size_class] <= self._alone_budget_s:
                        self._note_alone(queue, inputs)
                        self._runner.run_here(executable, inputs, size_class, on_done, on_settled)
                        return None
                if queue.lone_batches >= _LONE_BATCHES and _is_lone(queue):
                    return self._run_past(queue, inputs, deadline, on_done, on_settled)
            fit = fits(inputs, queue)
        else:
            # So many dimensions as a `DeepArray` has cannot be joined.
            fit = DeepArray not in map(type, inputs)
        if not fit:
            return self._runner.run(executable, inputs, deadline, on_done, on_settled)
        if _is_better_off(queue) and executable.order is None:
            return self._run_alone(queue, inputs, deadline, on_done, on_settled)
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
            if self.is_stopping:
                raise Unavailable("The server is shutting down")
            if not self._can_run_at_once(queue, inputs, rows):
                return self._enqueue(queue, inputs, rows, deadline, on_done, on_settled)
        except ServingError as error:
            try:
                on_done(None, error, 0.0)
            finally:
                on_settled()
            return None
        self._note_alone(queue, inputs)
        done = on_done if queue.control is not None else partial(_checked, rows, on_done)
        return self._runner.run(queue.executable, inputs, deadline, done, on_settled)

    def _run_past(
        self,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """Run as if there were no batching: who has been alone for a while pays nothing for it."""
        self._note_alone(queue, inputs)
        queue.runs_past = True
        settled = partial(_ran_past, queue, on_settled)
        return self._runner.run(queue.executable, inputs, deadline, on_done, settled)

    def _run_alone(
        self,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """Run as if there were no batching, because that was found best; see how it goes."""
        assert queue.search is not None
        self._note_alone(queue, inputs)
        rows = inputs[0].shape[0]
        done = partial(_answered_alone, queue.search, rows, perf_counter(), on_done)
        return self._runner.run(queue.executable, inputs, deadline, done, on_settled)

    def _note_alone(self, queue: BatchQueue, inputs: Sequence[np.ndarray]) -> None:
        # Beyond what a batch may have, clients could make up numbers for the metrics.
        shape = inputs[0].shape if inputs else ()
        if shape and shape[0] <= queue.options.max_batch_size:
            queue.totals.alone += 1
            self._observer.ran_alone(len(inputs), shape[0])

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
            threads, width = self._options.threads, self._options.width
            queue.search = PolicySearch(width or threads, threads, queue.control)
        try:
            expected_wait_s = self._expected_wait_s(queue, deadline)
            if queue.control is not None:
                self._require_memory(queue, request.size)
            request.enqueue(now)
        except Unavailable:
            queue.totals.refused += 1
            self._observer.refused()
            raise
        request.expected_wait_s = expected_wait_s
        if expected_wait_s > _NO_WAIT_S:
            request.try_patience(self.patience)
        if deadline is not None:
            request.expire_at(deadline, self._loop)
        self._attend(queue)
        return request

    def _require_memory(self, queue: BatchQueue, size: int) -> None:
        """Of automatic queues, which have no other bound of bytes.

        Raises:
            Unavailable: the inputs that wait take too much.
        """
        most = self._options.max_queued_bytes
        if not most or queue.size + size <= _FEW_BYTES:
            return
        waiting = sum(each.size for each in {queue, *self._turns, *self._timers})
        if waiting + size > most:
            raise Unavailable(f"{waiting} bytes of inputs wait already")

    def _expected_wait_s(self, queue: BatchQueue, deadline: float | None) -> float:
        """How long one more would wait, where measured cost tells it; 0 where that is not known.

        Raises:
            Unavailable: too long.
        """
        if queue.control is None or self._idle_for(queue):
            return 0.0
        assert self._loop is not None
        wait_s = queue.control.wait_s(queue.rows)
        left_s = None
        if deadline is not None:
            left_s = time_left_s(deadline, self._loop.time(), queue.control.batch_s)
        refusal = overload(wait_s * self._learning.pace.times, self.patience.limit_s, left_s)
        if refusal is not None:
            raise refusal
        return wait_s

    # --- turns ---------------------------------------------------------------------

    def _attend(self, queue: BatchQueue) -> None:
        """Something waits in this queue: it gets its turn."""
        if not queue.is_listed:
            queue.is_listed = True
            self._turns.append(queue)
        self._turn_soon()

    def _turn_soon(self) -> None:
        # At the end of a turn of the loop: all that has arrived by then can share a batch.
        if not self._turn_is_due:
            assert self._loop is not None
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Let the queues have their batches run, one each in turn, as far as threads are idle."""
        self._turn_is_due = False
        now = perf_counter()
        waiting = len(self._turns)
        while self._turns and waiting:
            queue = self._turns.popleft()
            due_at = queue.due_at()
            if due_at is None:
                queue.is_listed = False
                waiting -= 1
                continue
            if due_at > now and not self._is_draining:
                queue.is_listed = False
                self._sleep(queue, due_at - now)
                waiting -= 1
                continue
            self._turns.append(queue)
            if self._run_next(queue, now):
                waiting = len(self._turns)
            else:
                waiting -= 1

    def _sleep(self, queue: BatchQueue, seconds: float) -> None:
        # One timer for a queue: its batches become due in order, so the first suffices. It has
        # whole milliseconds; rounded down, it would come too early again and again.
        if queue not in self._timers:
            assert self._loop is not None
            delay_s = ceil(seconds * 1e3) / 1e3
            self._timers[queue] = self._loop.call_later(delay_s, self._wake, queue)

    def _wake(self, queue: BatchQueue) -> None:
        del self._timers[queue]
        self._attend(queue)

    def _run_next(self, queue: BatchQueue, now: float) -> bool:
        """Run the first batch, on the loop or on an idle thread; False if it has to wait."""
        idle = self._idle_for(queue)
        most = self._most_rows(queue, max(idle, 1))
        inline = self._is_cheap(queue, most)
        if not inline and not idle:
            return False
        run = BatchRun(self, queue.take(most), now)
        if inline:
            _compute_here(run)
        else:
            self._idle -= 1
            queue.running += 1
            run.is_threaded = True
            self._workers.submit(run)
        return True

    def _most_rows(self, queue: BatchQueue, idle: int) -> int | None:
        """What the next batch may take, with so many idle threads; None: all of the first."""
        if queue.control is None:
            return None
        if queue.search is not None and queue.search.policy.rows:
            return queue.search.policy.rows
        waiting = queue.rows_alike() if queue.varies else queue.rows
        return queue.control.size(waiting, idle)

    def _idle_for(self, queue: BatchQueue) -> int:
        """Threads that may take a batch of this queue."""
        if queue.search is None:
            return self._idle
        return min(self._idle, max(queue.search.policy.width - queue.running, 0))

    def _is_cheap(self, queue: BatchQueue, most: int | None) -> bool:
        """Whether the next batch, of `most` rows, costs next to nothing."""
        size, rows = queue.first_size, queue.first_rows
        if most is not None and most < rows:
            size = size * most // rows
        return queue.executable.cost_s[size.bit_length()] <= self._options.inline_budget_s

    def ended(self, run: BatchRun) -> None:
        """See `BatchOwner`."""
        queue = run.batch.queue
        if run.is_threaded:
            self._idle += 1
            queue.running -= 1
        if run.run_sizes:
            is_alone = self._idle == self._options.threads and not self._runner.in_flight
            self._learning.learn(run, is_undisturbed=is_alone)
            self._observer.batch_ran(run)
        if self._turns:
            self._turn_soon()


def _is_lone(queue: BatchQueue) -> bool:
    """Whether the next request is expected alone, as all were for a while."""
    if queue.runs_past or queue.rows or queue.running:
        queue.lone_batches = 0
        return False
    return True


def _is_better_off(queue: BatchQueue) -> bool:
    """Whether no batching was found best, or is being tried, and nothing waits from before."""
    return queue.search is not None and queue.search.policy.rows == 1 and not queue.rows


def _answered_alone(
    search: PolicySearch,
    rows: int,
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
        if search.policy.rows == 1 and (outputs is not None or now - came_at > _AT_ONCE_S):
            search.ended(1, rows, now - came_at, now)


def _ran_past(queue: BatchQueue, on_settled: Callable[[], None]) -> None:
    queue.runs_past = False
    on_settled()


def _compute_here(run: BatchRun) -> None:
    """Compute a batch on the loop, and answer."""
    run.compute()
    try:
        run.finish()
    except Exception:  # the batches behind it must not suffer
        logger.exception("A finished request could not be answered")


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
