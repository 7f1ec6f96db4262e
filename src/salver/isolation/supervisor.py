"""Keeps one worker of a version up, on a thread of its own."""

import logging
import threading
from concurrent.futures import Future
from time import monotonic

from salver.errors import InternalError, ResourceExhausted, ServingError
from salver.isolation.backoff import Backoff
from salver.isolation.crew import Crew
from salver.isolation.process import Description, WorkerProcess

logger = logging.getLogger(__name__)

_SHORTEST_LOAD_LIMIT_S = 60.0
_TIMES_THE_FIRST_LOAD = 10


class Supervisor:
    """Starts a worker, waits until it ends, and starts the next, until `close`.

    The kernel ends a worker when the thread ends that has started it: this one.
    """

    def __init__(self, number: int, crew: Crew, description: bytes, backoff: Backoff) -> None:
        """Start nothing yet; `description` as in `salver.isolation.message.Start`."""
        self.loaded: Future[Description] = Future()
        """What the first worker says, or why it could not load."""
        self._name = f"{crew.name}, worker {number}"
        self._crew = crew
        self._description = description
        self._backoff = backoff
        self._closing = threading.Event()
        self._worker: WorkerProcess | None = None
        self._is_up = False
        self._load_limit_s: float | None = None
        self._thread = threading.Thread(target=self._supervise, name=self._name, daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            ResourceExhausted: the system allows no further thread.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ResourceExhausted(f"No thread for {self._name}: {error}") from error

    def close(self) -> None:
        """Let the worker end by itself, if it answers; one that still loads is ended."""
        self._closing.set()
        worker = self._worker
        if worker is not None:
            self._end(worker)

    def join(self, limit_s: float) -> None:
        """Wait until the worker has ended; after so many seconds end it. After `close`."""
        if not self._thread.is_alive():
            return
        self._thread.join(limit_s)
        worker = self._worker
        if self._thread.is_alive() and worker is not None:
            logger.warning("%s (pid %d) does not end by itself", self._name, worker.pid)
            worker.kill("it did not end by itself")
            self._thread.join()

    def _end(self, worker: WorkerProcess) -> None:
        if self._is_up:
            worker.hang_up()
        else:
            worker.kill("it was not wanted any more")

    def _supervise(self) -> None:
        pause_s = 0.0
        while not self._closing.wait(pause_s):
            why, answered_s = self._life()
            who = self._name if self._worker is None else f"{self._name} (pid {self._worker.pid})"
            if self._closing.is_set():
                return
            pause_s = self._backoff.pause_s(answered_s)
            self._crew.will_restart(why, pause_s)
            logger.error("%s has ended: %s; it is started again in %g s", who, why, pause_s)

    def _life(self) -> tuple[str, float]:
        """Of one worker, from its start to its end: why it ended, and how long it answered."""
        is_first = not self.loaded.done()
        began = monotonic()
        try:
            worker = self._worker = WorkerProcess(self._name, self._description)
        except OSError as error:
            return self._not_started(ResourceExhausted(f"No worker process: {error}")), 0.0
        if self._closing.is_set():
            self._end(worker)
        try:
            description = worker.load(self._load_limit_s)
            if not is_first:
                description.require_like(self.loaded.result())
            self._crew.join(worker, again=not is_first)
        except Exception as error:  # noqa: BLE001 - whoever waits for it must hear of it
            worker.kill("it could not load")
            worker.wait()
            worker.close()
            if not isinstance(error, ServingError):
                error = InternalError(f"The worker process failed: {error}")
            return self._not_started(error), 0.0
        self._is_up = True
        if self._closing.is_set():
            self._end(worker)
        if is_first:
            first_s = monotonic() - began
            self._load_limit_s = max(_SHORTEST_LOAD_LIMIT_S, _TIMES_THE_FIRST_LOAD * first_s)
            self.loaded.set_result(description)
        else:
            logger.info("%s answers again (pid %d)", self._name, worker.pid)
        began = monotonic()
        worker.wait()
        self._is_up = False
        self._crew.leave(worker)
        return worker.reason, monotonic() - began

    def _not_started(self, error: ServingError) -> str:
        if not self.loaded.done():
            self._closing.set()
            self.loaded.set_exception(error)
        return f"it could not load: {error.message}"
