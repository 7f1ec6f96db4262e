"""The workers of one version that are up: who is free, and why nobody is."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import numpy as np

from salver.core.servable import ServableId
from salver.errors import ServingError, Unavailable
from salver.isolation.process import Gone, WorkerProcess

logger = logging.getLogger(__name__)

_KEPT_WARM_UP_BYTES = 16 * 1024 * 1024
_KEPT_WARM_UP_RUNS = 100


@dataclass(frozen=True, slots=True)
class Call:
    """A program to be run."""

    number: int
    names: bytes
    """Of its tensors, as the worker reads them."""
    inputs: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class CrewReport:
    """What has changed about the workers of a version."""

    id: ServableId
    answering: int
    """How many there are now."""
    restarted: bool = False
    """Whether one of them has come back."""
    is_over: bool = False
    """Whether the version is unloaded: there will be no more."""


Report = Callable[[CrewReport], object]


class Crew:
    """Hands out workers. From any thread."""

    def __init__(self, id_: ServableId, run_limit_s: float | None, report: Report) -> None:
        """No worker yet.

        Args:
            id_: of the version.
            run_limit_s: the longest run; the worker that takes longer is ended.
            report: is told how many workers answer, on any thread.
        """
        self.name = f"model {id_.name}, version {id_.version}"
        self._id = id_
        self._run_limit_s = run_limit_s
        self._report = report
        self._changed = threading.Condition()
        self._up: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._taken: set[WorkerProcess] = set()
        self._why_down = "no worker process has been started yet"
        self._restart_at = 0.0
        self._is_closing = False
        self._is_warming_up = False
        self._warm_up: list[Call] = []
        self._warm_up_bytes = 0

    # --- for those who watch over workers -----------------------------------------

    def join(self, worker: WorkerProcess, *, again: bool) -> None:
        """From now on it answers.

        Raises:
            Gone: it ended while what the version's warm-up was made of was repeated.
        """
        worker.limit_runs(self._run_limit_s)
        for call in self._warm_up:
            try:
                worker.begin(call.number, call.names, call.inputs)
                worker.finish(self._run_limit_s)
            except EOFError as error:
                raise Gone(worker.reason) from error
            except ServingError as error:
                logger.warning("Warming up a worker of %s: %s", self.name, error.status)
        with self._changed:
            self._up.add(worker)
            self._idle.append(worker)
            self._changed.notify_all()
            report = CrewReport(self._id, len(self._up), again)
        self._report(report)

    def leave(self, worker: WorkerProcess) -> None:
        """Its process has ended."""
        with self._changed:
            self._up.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            if worker not in self._taken:
                worker.close()
            self._changed.notify_all()
            report = CrewReport(self._id, len(self._up))
        self._report(report)

    def will_restart(self, why: str, pause_s: float) -> None:
        """One is down, and is started again after a pause."""
        with self._changed:
            self._why_down = why
            self._restart_at = monotonic() + pause_s

    def close(self) -> None:
        """Nobody gets a worker any more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def end(self) -> None:
        """The last worker has ended."""
        self._report(CrewReport(self._id, 0, is_over=True))

    # --- for those who have something to run --------------------------------------

    def run(self, call: Call) -> list[np.ndarray]:
        """Have a worker run it, as soon as one is free.

        Raises:
            Unavailable: the worker ended meanwhile, or none is up.
            ServingError: that of the run.
        """
        if self._is_warming_up:
            return self._run_on_all(call)
        while True:
            worker = self._take()
            try:
                worker.begin(call.number, call.names, call.inputs)
                return worker.finish(self._run_limit_s)
            except EOFError:
                # It ended before it heard of the request: another can have it.
                worker.is_gone = True
            except Gone as gone:
                raise self._ended_meanwhile(gone) from None
            finally:
                self._give(worker)

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Within, every worker runs what is run; those that are started later do it first."""
        self._is_warming_up = True
        try:
            yield
        finally:
            self._is_warming_up = False

    def _run_on_all(self, call: Call) -> list[np.ndarray]:
        self._keep(call)
        workers = [self._take()]
        with self._changed:
            others, self._idle = self._idle, []
            self._taken.update(others)
        workers += others
        outputs: list[list[np.ndarray]] = []
        failures: list[ServingError] = []
        begun = []
        for worker in workers:
            try:
                worker.begin(call.number, call.names, call.inputs)
                begun.append(worker)
            except EOFError:
                worker.is_gone = True
            except ServingError as error:
                failures.append(error)
        for worker in begun:
            try:
                outputs.append(worker.finish(self._run_limit_s))
            except Gone as gone:
                failures.append(self._ended_meanwhile(gone))
            except ServingError as error:
                failures.append(error)
        for worker in workers:
            self._give(worker)
        if failures:
            raise failures[0]
        return outputs[0]

    def _keep(self, call: Call) -> None:
        size = sum(array.nbytes for array in call.inputs)
        fits = self._warm_up_bytes + size <= _KEPT_WARM_UP_BYTES
        if fits and len(self._warm_up) < _KEPT_WARM_UP_RUNS:
            self._warm_up.append(call)
            self._warm_up_bytes += size

    def _take(self) -> WorkerProcess:
        with self._changed:
            while not self._idle:
                if self._is_closing:
                    raise Unavailable(f"The worker processes of {self.name} are being ended")
                if not self._up:
                    raise Unavailable(self._no_worker())
                self._changed.wait()
            # The one that ran last has the warmest caches.
            worker = self._idle.pop()
            self._taken.add(worker)
            return worker

    def _give(self, worker: WorkerProcess) -> None:
        with self._changed:
            self._taken.discard(worker)
            if worker not in self._up:
                worker.close()
            elif not worker.is_gone:
                self._idle.append(worker)
                self._changed.notify()

    def _no_worker(self) -> str:
        left_s = self._restart_at - monotonic()
        when = f"in {left_s:.1f} s" if left_s > 0 else "now"
        return (
            f"No worker process of {self.name} is up: {self._why_down}; one is started again {when}"
        )

    def _ended_meanwhile(self, gone: Gone) -> Unavailable:
        return Unavailable(f"The worker process of {self.name} ended during the request: {gone}")
