"""Runs programs: inline on the loop where that is cheapest, else on worker threads.

A run that is known to take less than the inline budget costs less than handing
it to a thread and back, so it happens on the spot. Everything else waits in one
queue for the workers, each of which runs whole requests: on CPUs, threads across
requests beat threads within one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Protocol

import numpy as np

from salver.errors import DeadlineExceeded, InternalError, ServingError, Unavailable
from salver.execution.deadlines import Deadlines
from salver.execution.loop_watch import LoopWatch
from salver.execution.nap import Nap
from salver.execution.patience import Patience, WaitPace, gave_up_soon, time_left_s
from salver.execution.prepared import SURPRISE, Executable
from salver.execution.workers import Job, Workers

logger = logging.getLogger(__name__)

OnDone = Callable[[list[np.ndarray] | None, ServingError | None, float], None]
"""Outputs or error, and the seconds that the program itself took."""


class Pending(Protocol):
    """A request that goes on after the call that began it has returned."""

    def abandon(self) -> None:
        """The caller is gone: it will hear no more, and what is not run yet will not be."""


class RunsPrograms(Protocol):
    """How a request gets to its program: see `Runner`."""

    def run(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None: ...

    def refusal(self, executable: Executable, deadline: float | None = None) -> ServingError | None:
        """Why a run of the program would be refused now, whatever its inputs.

        For those who can find out before they have made the inputs; None if it might be taken.
        """

    def refused(self, executable: Executable) -> None:
        """A request heard what `refusal` said."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How much runs where."""

    workers: int
    """Threads that run programs side by side."""
    inline_budget_s: float = 100e-6
    """Longest expected run that happens on the loop itself."""
    max_queued: int = 10_000
    """Requests that may wait for a worker before more are refused."""
    max_wait_s: float = 0.0
    """Longest expected wait for a worker before more are refused, less where clients have shown
    that they do not wait so long; 0: no limit."""
    max_queued_bytes: int = 0
    """Inputs that may wait for a worker before more are refused: a short request can stand for a
    large array. 0: no limit."""


class Run:
    """One request on its way through a worker thread."""

    __slots__ = (
        "_due", "_runner", "cpu_s", "elapsed_s", "error", "executable", "expected_s",
        "expected_wait_s", "inputs", "on_done", "on_settled", "outputs", "queued_at", "size",
        "size_class", "started_at", "unwanted",
    )  # fmt: skip

    def __init__(
        self,
        runner: "Runner",
        executable: Executable,
        inputs: Sequence[np.ndarray],
        size: int,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> None:
        self._runner = runner
        self.executable = executable
        self.inputs = inputs
        self.size = size
        self.size_class = size.bit_length()
        self.expected_s = executable.expected_s[self.size_class]
        self.expected_wait_s = 0.0
        self.queued_at = 0.0
        self.started_at = 0.0
        self.on_done: OnDone | None = on_done
        self.on_settled = on_settled
        self.outputs: list[np.ndarray] | None = None
        self.error: ServingError | None = None
        self.elapsed_s = 0.0
        self.cpu_s = 0.0
        self._due = 0
        self.unwanted = False
        """Set by the loop when nobody waits any more; a worker then skips the run."""

    def abandon(self) -> None:
        """See `Pending`."""
        if self.expected_wait_s and not self.unwanted and not self.started_at:
            now = perf_counter()
            self._runner.patience.gone(self.expected_wait_s, now - self.queued_at, now)
        self._leave()

    def _leave(self) -> None:
        # Nobody waits: it must not keep others out.
        self._give_up_place()
        self.on_done = None
        # In this order: a worker takes the inputs first and looks whether it may then.
        self.inputs = ()
        if self._due:
            self._runner.deadlines.remove(self._due, self)

    def _give_up_place(self) -> None:
        if not self.unwanted:
            self.unwanted = True
            self._runner.in_flight -= 1
            self._runner.expected_s -= self.expected_s
            self._runner.queued_bytes -= self.size

    def expire_at(self, deadline: float) -> None:
        """Wait no longer than until `deadline`, loop time."""
        self._due = self._runner.deadlines.add(deadline, self)

    def expire(self) -> None:
        """See `Expires`: answer so, and go on as if the caller were gone."""
        on_done = self.on_done
        self._leave()
        if on_done is not None:
            on_done(None, DeadlineExceeded("Timed out waiting for notification"), 0.0)

    def compute(self) -> None:
        """See `Job`."""
        inputs = self.inputs
        self.started_at = perf_counter()
        if self.unwanted:
            return
        if self._runner.is_stopping:
            self.error = _stopping()
            return
        waited_s = self.started_at - self.queued_at
        if self.expected_wait_s and self._runner.patience.is_hopeless(waited_s):
            self.error = gave_up_soon(waited_s)
            return
        cpu_started = thread_time()
        self.outputs, self.error = outcome_of(self.executable, inputs)
        self.elapsed_s = perf_counter() - self.started_at
        self.cpu_s = thread_time() - cpu_started

    @property
    def waited_s(self) -> float:
        """See `Job`."""
        return self.started_at - self.queued_at if self.expected_wait_s else 0.0

    def following(self) -> Job | None:
        """See `Job`: whatever has waited longest."""
        return None

    def finish(self) -> None:
        """See `Job`."""
        # It is over: from here on there is nothing to abandon.
        self._give_up_place()
        if self.expected_wait_s:
            self._runner.pace.learn(self.started_at - self.queued_at, self.expected_wait_s)
            if self.elapsed_s:
                now = perf_counter()
                self._runner.patience.stayed(now - self.queued_at, now)
        if self._due:
            self._runner.deadlines.remove(self._due, self)
        if self.elapsed_s:
            failed = self.error is not None
            self.executable.record_threaded(self.size_class, self.cpu_s, self.elapsed_s, failed)
        try:
            if (on_done := self.on_done) is not None:
                # Let go first: a run and its caller refer to each other.
                self.on_done = None
                on_done(self.outputs, self.error, self.elapsed_s)
        finally:
            self.on_settled()


class Runner:
    """Owned by the loop: every method but the workers' own is called there only."""

    def __init__(self, options: RunnerOptions, nap: Nap | None = None) -> None:
        self._options = options
        self.nap = nap or Nap()
        """The loop's, which threads end that have nothing more to do."""
        self._workers = Workers(options.workers, "worker", self.nap)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.in_flight = 0
        """Runs handed to workers, not yet back and still wanted."""
        self.expected_s = 0.0
        """Seconds that they are expected to keep workers busy, all together."""
        self.queued_bytes = 0
        """Bytes of their inputs."""
        self.patience = Patience(options.max_wait_s)
        self.pace = WaitPace()
        self.deadlines = Deadlines()

    def start(self) -> None:
        """See `Workers.start`."""
        self._loop = asyncio.get_running_loop()
        self._workers.start()

    def stop(self) -> None:
        """Let the workers end after what they are running now; what is queued is refused."""
        self._workers.stop()

    @property
    def is_stopping(self) -> bool:
        """Whether what waits is to be refused."""
        return self._workers.is_stopping

    def run(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Run | None:
        """Run now or soon.

        `on_done` is called once, on the loop, perhaps before this returns: with the
        result, or at `deadline` (loop time) with DeadlineExceeded. `on_settled` is
        called once when the program no longer runs, which may be later than that.
        Returns the run if it is still under way, to be abandoned.
        """
        size = size_of(inputs)
        size_class = size.bit_length()
        if executable.cost_s[size_class] <= self._options.inline_budget_s:
            self.run_here(executable, inputs, size_class, on_done, on_settled)
            return None
        executable.was_dear(size_class)
        return self._enqueue(executable, inputs, size, deadline, on_done, on_settled)

    def run_here(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        size_class: int,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> None:
        """Run on the loop what is known to cost next to nothing; else as `run`."""
        budget_s = self._options.inline_budget_s
        limit_s = SURPRISE * budget_s
        if self.nap.under_way:
            self.nap.hold_off()
        try:
            if executable.suspicion:
                watch = LoopWatch()
                outputs, error = outcome_of(executable, inputs)
                elapsed_s = watch.read(limit_s)
            else:
                started = perf_counter()
                outputs, error = outcome_of(executable, inputs)
                elapsed_s = perf_counter() - started
            on_done(outputs, error, elapsed_s)
            if self.in_flight:
                # It may have waited for the interpreter lock, which workers hold at times:
                # no proof that the program itself is slow.
                elapsed_s = min(elapsed_s, 2 * budget_s)
            executable.record_inline(size_class, elapsed_s, limit_s, error is not None)
        finally:
            on_settled()

    def _enqueue(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        size: int,
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Run | None:
        assert self._loop is not None
        expected_wait_s = self._expected_wait_s()
        run = Run(self, executable, inputs, size, on_done, on_settled)
        refusal = self._refusal(run, expected_wait_s * self.pace.times, deadline)
        if refusal is not None:
            try:
                on_done(None, refusal, 0.0)
            finally:
                on_settled()
            return None
        if deadline is not None:
            run.expire_at(deadline)
        if expected_wait_s:
            run.expected_wait_s = expected_wait_s
            run.queued_at = perf_counter()
        self.in_flight += 1
        self.expected_s += run.expected_s
        self.queued_bytes += run.size
        self._workers.submit(run)
        return run

    def submit(self, job: Job, expected_s: float) -> None:
        """Have a worker do in its turn what is no run, and keeps it busy for so long.

        Whoever calls this calls `settle` when it is done.
        """
        self.in_flight += 1
        self.expected_s += expected_s
        self._workers.submit(job)

    def settle(self, expected_s: float) -> None:
        """See `submit`."""
        self.in_flight -= 1
        self.expected_s -= expected_s

    def refusal(self, executable: Executable, deadline: float | None = None) -> ServingError | None:
        """See `RunsPrograms`."""
        workers = self._workers
        if self.in_flight < workers.count and not workers.is_stopping:
            return None
        if min(executable.cost_s) <= self._options.inline_budget_s:
            return None
        wait_s = self._expected_wait_s() * self.pace.times
        return self._crowded(wait_s) or self._too_late(wait_s, deadline, 0.0)

    def refused(self, executable: Executable) -> None:
        """See `RunsPrograms`."""

    def _expected_wait_s(self) -> float:
        """How long one more would wait, if all went as expected."""
        workers = self._workers.count
        if self.in_flight < workers:
            return 0.0
        return self.expected_s / workers

    def _crowded(self, wait_s: float) -> ServingError | None:
        """Why nothing more can be taken at all."""
        if self._workers.is_stopping:
            return _stopping()
        if self.in_flight < self._workers.count:
            return None
        options = self._options
        if self.in_flight >= options.max_queued:
            return Unavailable(f"{options.max_queued} requests are under way already")
        return overload(wait_s, self.patience.limit_s, None)

    def _refusal(self, run: Run, wait_s: float, deadline: float | None) -> ServingError | None:
        """Why one more cannot be taken, at once rather than after a wait that helps nobody."""
        crowded = self._crowded(wait_s)
        if crowded is not None:
            return crowded
        if self.in_flight < self._workers.count:
            # What is left of sums of floats goes when nothing is under way.
            self.expected_s = self.expected_s if self.in_flight else 0.0
            return None
        options = self._options
        if options.max_queued_bytes and self.queued_bytes + run.size > options.max_queued_bytes:
            return Unavailable(f"{self.queued_bytes} bytes of inputs wait already")
        return self._too_late(wait_s, deadline, run.expected_s)

    def _too_late(self, wait_s: float, deadline: float | None, run_s: float) -> ServingError | None:
        if deadline is None:
            return None
        assert self._loop is not None
        return overload(wait_s, 0.0, time_left_s(deadline, self._loop.time(), run_s))


def overload(wait_s: float, limit_s: float, left_s: float | None) -> ServingError | None:
    """Why a request that would wait so long is refused; None: it is not.

    `limit_s`: the longest wait, 0 for any; `left_s`: until it is too late to begin, if there is a
    deadline. What is too late already is not refused: it expires.
    """
    if limit_s and wait_s > limit_s:
        reason = f"{limit_s:.3g} s is the limit"
    elif left_s is not None and wait_s > left_s > 0:
        reason = "the deadline comes first"
    else:
        return None
    return Unavailable(f"The server is overloaded: the wait would be {wait_s:.1f} s, and {reason}")


def size_of(inputs: Sequence[np.ndarray]) -> int:
    """Bytes of the inputs, of strings those that they point to."""
    size = 0
    for array in inputs:
        size += array.nbytes
        if array.dtype.hasobject:
            size += sum(map(len, array.flat))
    return size


def _stopping() -> ServingError:
    return Unavailable("The server is shutting down")


def outcome_of(
    executable: Executable, inputs: Sequence[np.ndarray]
) -> tuple[list[np.ndarray] | None, ServingError | None]:
    """Run it here: outputs or error; what no backend should raise becomes INTERNAL."""
    try:
        return executable.program.run(inputs), None
    except ServingError as failure:
        return None, failure
    except Exception as failure:  # noqa: BLE001 - the boundary to a foreign program
        return None, unexpected(failure)


def unexpected(failure: Exception) -> ServingError:
    logger.error("A model raised what no backend should", exc_info=failure)
    error = InternalError(f"The model failed: {type(failure).__name__}: {failure}")
    error.__cause__ = failure
    return error
