"""Has the queues of batches take turns with idle threads.

The loop owns the queues; threads compute. Queues whose first batch is due take turns, one
batch each. What costs next to nothing runs on the loop, where a thread would only cost more.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Protocol

from salver.execution.batch_learning import BatchLearning
from salver.execution.batch_queue import BatchQueue
from salver.execution.batch_request import Request
from salver.execution.batch_run import BatchRun
from salver.execution.patience import WaitPace
from salver.execution.row_counts import JoinedCounts, RowCounts
from salver.execution.runner import Runner
from salver.execution.workers import Workers

logger = logging.getLogger(__name__)


class BatchObserver(Protocol):
    """Is told what happens, for the metrics."""

    def alone(self, inputs: int, most: int) -> RowCounts:
        """Where requests in no batch are to be counted, with so many inputs, of `most` rows."""

    def came(self, inputs: int, rows: int) -> None:
        """A request with so many inputs of so many rows came, to be put in a queue."""

    def joined(self, inputs: int, most: int) -> JoinedCounts:
        """Where those are to be counted that are run as one on the loop, `most` rows together."""

    def batch_ran(self, run: BatchRun) -> None:
        """A batch was run; see the attributes of `run`."""

    def refused(self) -> None:
        """A queue was full."""


@dataclass(frozen=True, slots=True)
class BatchThreads:
    """Those that all queues share."""

    count: int
    """Batches that run at the same time."""
    name: str = "batch_threads"
    inline_budget_s: float = 100e-6
    """Longest expected run that happens on the loop itself."""


class BatchTurns:
    """Takes batches out of queues and has them run. Loop only."""

    def __init__(self, threads: BatchThreads, runner: Runner, observer: BatchObserver) -> None:
        """`runner` is asked whether its threads compute, too, and does what comes to no batch."""
        self._threads = threads
        self._runner = runner
        self._observer = observer
        self._workers = Workers(threads.count, threads.name, runner.nap)
        self._idle = threads.count
        self._turns: deque[BatchQueue] = deque()
        self._timers: dict[BatchQueue, asyncio.TimerHandle] = {}
        """One for each queue whose first batch is not due yet."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_is_due = False
        self._is_draining = False
        self._learning = BatchLearning(threads.inline_budget_s)

    def start(self) -> None:
        """See `Workers.start`."""
        self._loop = asyncio.get_running_loop()
        self._workers.start()

    def drain(self) -> None:
        """From now on nothing waits for company: all leaves as soon as a thread is idle."""
        self._is_draining = True
        for queue in self._sleepers():
            self.attend(queue)

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

    @property
    def pace(self) -> WaitPace:
        """How much longer than expected waits turn out."""
        return self._learning.pace

    def waiting_bytes(self, queue: BatchQueue) -> int:
        """Bytes of the inputs that wait, in all queues; `queue` may be about to."""
        return sum(each.size for each in {queue, *self._turns, *self._timers})

    def attend(self, queue: BatchQueue) -> None:
        """Something waits in this queue: it gets its turn."""
        if not queue.is_listed:
            queue.is_listed = True
            self._turns.append(queue)
        self._turn_soon()

    def run_here(self, queue: BatchQueue, requests: Sequence[Request]) -> None:
        """Run requests that never waited as one batch, on the loop."""
        now = perf_counter()
        _compute_here(BatchRun(self, queue.batch_of(requests, now), now))

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
        self.attend(queue)

    def _run_next(self, queue: BatchQueue, now: float) -> bool:
        """Run the first batch, on the loop or on an idle thread; False if it has to wait."""
        if queue.search is not None and not queue.search.policy.batches:
            self._pass_on(queue, now)
            return False
        idle = self._idle_for(queue)
        most = self._most_rows(queue, max(idle, 1))
        inline = self._is_cheap(queue, most)
        if not inline and not idle and not self._may_cut_ahead(queue):
            return False
        run = BatchRun(self, queue.take(most), now)
        if inline:
            _compute_here(run)
            return True
        run.is_threaded = True
        if idle:
            self._begin(run)
        else:
            queue.ahead.append(run)
        return True

    def _begin(self, run: BatchRun) -> None:
        self._idle -= 1
        run.batch.queue.running += 1
        self._workers.submit(run)

    def _may_cut_ahead(self, queue: BatchQueue) -> bool:
        """Whether the next batch is to be cut though no thread is idle.

        A thread that is done with another one goes on with it at once; the loop, which has what it
        has done to answer first, would leave it idle. Only a batch that is full, which nobody could
        join, and only where no other queue has a turn before it.
        """
        search, control = queue.search, queue.control
        if search is None or control is None or len(self._turns) > 1:
            return False
        if not 0 < queue.running <= search.policy.width or len(queue.ahead) >= queue.running:
            return False
        rows = queue.rows_alike() if queue.varies else queue.rows
        return rows >= (search.policy.rows or control.best)

    def _pass_on(self, queue: BatchQueue, now: float) -> None:
        """There are no more batches: what waits for one goes where all that comes goes."""
        while queue.rows:
            run = BatchRun(self, queue.take(1), now)
            run.is_threaded = run.is_passed_on = True
            run.expected_s = queue.executable.expected_s[run.batch.size.bit_length()]
            queue.running += 1
            self._runner.submit(run, run.expected_s)

    def _most_rows(self, queue: BatchQueue, idle: int) -> int | None:
        """What the next batch may take, with so many idle threads; None: all of the first."""
        if queue.control is None:
            return None
        rows = queue.search.policy.rows if queue.search is not None else 0
        if rows and not queue.control.is_choosy:
            return rows
        alike = queue.rows_alike() if queue.varies else None
        if not rows:
            rows = queue.control.size(queue.rows if alike is None else alike, idle)
        return queue.control.prepared(min(rows, queue.first_rows if alike is None else alike))

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
        return queue.executable.cost_s[size.bit_length()] <= self._threads.inline_budget_s

    def ended(self, run: BatchRun) -> None:
        """See `BatchOwner`."""
        queue = run.batch.queue
        if run.is_passed_on:
            self._runner.settle(run.expected_s)
        if run.is_followed:
            self._workers.went_on()
        elif run.is_threaded:
            self._idle += not run.is_passed_on
            queue.running -= 1
        if queue.ahead:
            self._begin_ahead(queue)
        if run.run_sizes:
            is_alone = self._idle == self._threads.count and not self._runner.in_flight
            self._learning.learn(run, is_undisturbed=is_alone)
            self._observer.batch_ran(run)
        if self._turns:
            self._turn_soon()

    def _begin_ahead(self, queue: BatchQueue) -> None:
        """Begin what was cut for a thread that was done before it could see it."""
        while self._idle_for(queue):
            try:
                run = queue.ahead.popleft()
            except IndexError:
                return  # another thread was first
            if self.is_stopping:
                # The threads have ended. It finds that the end has come, and answers so.
                run.is_threaded = False
                _compute_here(run)
                continue
            run.taken_at = perf_counter()
            self._begin(run)


def _compute_here(run: BatchRun) -> None:
    """Compute a batch on the loop, and answer."""
    run.compute()
    try:
        run.finish()
    except Exception:  # the batches behind it must not suffer
        logger.exception("A finished request could not be answered")
