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
from salver.execution.prepared import SURPRISE, Executable
from salver.execution.workers import Workers

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
    """Longest expected wait for a worker before more are refused; 0: no limit."""


class Run:
    """One request on its way through a worker thread."""

    __slots__ = (
        "_runner", "cpu_s", "elapsed_s", "error", "executable", "expected_s", "inputs", "on_done",
        "on_settled", "outputs", "size_class", "timer", "unwanted",
    )  # fmt: skip

    def __init__(
        self,
        runner: "Runner",
        executable: Executable,
        inputs: Sequence[np.ndarray],
        size_class: int,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> None:
        self._runner = runner
        self.executable = executable
        self.inputs = inputs
        self.size_class = size_class
        self.expected_s = executable.expected_s[size_class]
        self.on_done: OnDone | None = on_done
        self.on_settled = on_settled
        self.outputs: list[np.ndarray] | None = None
        self.error: ServingError | None = None
        self.elapsed_s = 0.0
        self.cpu_s = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.unwanted = False
        """Set by the loop when nobody waits any more; a worker then skips the run."""

    def abandon(self) -> None:
        """See `Pending`."""
        # Nobody waits: it must not keep others out.
        self._give_up_place()
        self.on_done = None
        # In this order: a worker takes the inputs first and looks whether it may then.
        self.inputs = ()
        if self.timer is not None:
            self.timer.cancel()

    def _give_up_place(self) -> None:
        if not self.unwanted:
            self.unwanted = True
            self._runner.in_flight -= 1
            self._runner.expected_s -= self.expected_s

    def expire(self) -> None:
        """It is too late: answer so, and go on as if the caller were gone."""
        on_done = self.on_done
        self.abandon()
        if on_done is not None:
            on_done(None, DeadlineExceeded("Timed out waiting for notification"), 0.0)

    def compute(self) -> None:
        """See `Job`."""
        inputs = self.inputs
        if self.unwanted:
            return
        if self._runner.is_stopping:
            self.error = _stopping()
            return
        started, cpu_started = perf_counter(), thread_time()
        self.outputs, self.error = outcome_of(self.executable, inputs)
        self.elapsed_s = perf_counter() - started
        self.cpu_s = thread_time() - cpu_started

    def finish(self) -> None:
        """See `Job`."""
        # It is over: from here on there is nothing to abandon.
        self._give_up_place()
        if self.timer is not None:
            self.timer.cancel()
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

    def __init__(self, options: RunnerOptions) -> None:
        self._options = options
        self._workers = Workers(options.workers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.in_flight = 0
        """Runs handed to workers, not yet back and still wanted."""
        self.expected_s = 0.0
        """Seconds that they are expected to keep workers busy, all together."""

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
        size_class = size_of(inputs).bit_length()
        budget_s = self._options.inline_budget_s
        if executable.cost_s[size_class] <= budget_s:
            try:
                elapsed_s, failed = _run_now(executable, inputs, on_done)
                if self.in_flight:
                    # It may have waited for the interpreter lock, which workers hold at times:
                    # no proof that the program itself is slow.
                    elapsed_s = min(elapsed_s, 2 * budget_s)
                executable.record_inline(size_class, elapsed_s, SURPRISE * budget_s, failed)
            finally:
                on_settled()
            return None
        return self._enqueue(executable, inputs, size_class, deadline, on_done, on_settled)

    def _enqueue(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        size_class: int,
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Run | None:
        assert self._loop is not None
        refusal = self._refusal(deadline)
        if refusal is not None:
            try:
                on_done(None, refusal, 0.0)
            finally:
                on_settled()
            return None
        run = Run(self, executable, inputs, size_class, on_done, on_settled)
        if deadline is not None:
            run.timer = self._loop.call_at(deadline, run.expire)
        self.in_flight += 1
        self.expected_s += run.expected_s
        self._workers.submit(run)
        return run

    def _refusal(self, deadline: float | None) -> ServingError | None:
        """Why one more cannot be taken, at once rather than after a wait that helps nobody."""
        if self._workers.is_stopping:
            return _stopping()
        if self.in_flight < self._workers.count:
            # What is left of sums of floats goes when nothing is under way.
            self.expected_s = self.expected_s if self.in_flight else 0.0
            return None
        options = self._options
        if self.in_flight >= options.max_queued:
            return Unavailable(f"{options.max_queued} requests are under way already")
        # Those that run now may be nearly done: only what waits behind them counts.
        waiting = 1 - self._workers.count / self.in_flight
        wait_s = waiting * self.expected_s / self._workers.count
        assert self._loop is not None
        left_s = None if deadline is None else deadline - self._loop.time()
        return overload(wait_s, options.max_wait_s, left_s)


def overload(wait_s: float, limit_s: float, left_s: float | None) -> ServingError | None:
    """Why a request that would wait so long is refused; None: it is not.

    `limit_s`: the longest wait, 0 for any; `left_s`: until its deadline, if it has one. What is
    past its deadline already is not refused: it expires.
    """
    if limit_s and wait_s > limit_s:
        reason = f"{limit_s:g} s is the limit"
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


def _run_now(
    executable: Executable, inputs: Sequence[np.ndarray], on_done: OnDone
) -> tuple[float, bool]:
    """Run and answer; the seconds that it took, and whether it failed."""
    started = perf_counter()
    outputs, error = outcome_of(executable, inputs)
    elapsed_s = perf_counter() - started
    on_done(outputs, error, elapsed_s)
    return elapsed_s, error is not None


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
