"""Threads for work that may hang, and that must not hold up the work of others then.

There are so many threads at most, not counting those whose work takes longer than a
patience: what hangs costs the thread it hangs on, and nobody else's turn. Owners take turns, so
that much work of one is no wall before that of another.

The threads are daemons: a process can end although one of them hangs.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

_logger = logging.getLogger(__name__)

_PAUSE_S = 1.0
"""Until the next try after the system has refused a thread."""


class Timers(Protocol):
    """The part of an asyncio loop that is needed."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> object:
        """Call after so many seconds."""


class ElasticThreads:
    """Runs work on threads. `submit` and `stop` are called on the loop."""

    def __init__(
        self,
        name: str,
        count: int,
        patience_s: float | None,
        timers: Timers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start no thread yet.

        Args:
            name: of the threads.
            count: how many there are at most, not counting those that take long.
            patience_s: how long work may take before its thread is not counted; None for as long
                as it wants.
            timers: the loop.
            clock: seconds.
        """
        self._name = name
        self._count = count
        self._patience_s = patience_s
        self._timers = timers
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = (
            OrderedDict()
        )
        self._queued = 0
        self._began: dict[int, float] = {}
        self._threads = 0
        self._idle = 0
        self._is_stopped = False
        self._is_watching = False

    def lane(self, owner: str) -> "Lane":
        """The threads as one owner sees them."""
        return Lane(self, owner)

    def submit(self, owner: str, work: Callable[[], Any]) -> Future[Any]:
        """Have it run, in turn; its result or error comes with the future.

        Raises:
            RuntimeError: the threads were stopped.
        """
        future: Future[Any] = Future()
        with self._changed:
            if self._is_stopped:
                raise RuntimeError(f"{self._name}: stopped")
            self._waiting.setdefault(owner, deque()).append((future, work))
            self._queued += 1
            self._changed.notify()
            self._staff()
        return future

    def stop(self) -> None:
        """Forget what waits; threads end when their work does, and nobody waits for them."""
        with self._changed:
            self._is_stopped = True
            for queue in self._waiting.values():
                for future, _ in queue:
                    future.cancel()
            self._waiting.clear()
            self._queued = 0
            self._changed.notify_all()

    def _staff(self) -> None:
        """Start the threads that are needed and allowed; look again when more may be allowed."""
        now = self._clock()
        while self._queued > self._idle and self._threads - self._long(now) < self._count:
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError:
                _logger.exception("%s: the system allows no further thread", self._name)
                self._look_again_in(_PAUSE_S)
                return
            self._threads += 1
            # Until it looks for work it counts as idle: it is on its way to it.
            self._idle += 1
        if self._queued > self._idle and self._patience_s is not None:
            due = [b + self._patience_s for b in self._began.values() if not self._is_long(b, now)]
            self._look_again_in(max(min(due, default=now) - now, 0.0) + 0.001)

    def _look_again_in(self, delay_s: float) -> None:
        if not self._is_watching:
            self._is_watching = True
            self._timers.call_later(delay_s, self._watch)

    def _watch(self) -> None:
        with self._changed:
            self._is_watching = False
            if not self._is_stopped:
                self._staff()

    def _long(self, now: float) -> int:
        return sum(self._is_long(began, now) for began in self._began.values())

    def _is_long(self, began: float, now: float) -> bool:
        return self._patience_s is not None and now - began >= self._patience_s

    def _run(self) -> None:
        with self._changed:
            self._idle -= 1
            taken = self._taken()
        while taken is not None:
            future, work = taken
            _do(future, work)
            # What was done may be large, and the wait for more long.
            del future, work, taken
            with self._changed:
                taken = self._taken()

    def _taken(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Wait for work of the owner whose turn it is; None if the thread should end."""
        self._began.pop(threading.get_ident(), None)
        while not self._waiting:
            if self._is_stopped or self._idle:
                self._threads -= 1
                return None
            self._idle += 1
            self._changed.wait()
            self._idle -= 1
        owner, queue = self._waiting.popitem(last=False)
        if len(queue) > 1:
            self._waiting[owner] = queue
        self._queued -= 1
        self._began[threading.get_ident()] = self._clock()
        return queue.popleft()


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever holds the future gets it
        future.set_exception(error)
    else:
        future.set_result(result)


class Lane:
    """What one owner submits to."""

    def __init__(self, threads: ElasticThreads, owner: str) -> None:
        self._threads = threads
        self._owner = owner

    def submit(self, work: Callable[[], Any], /) -> Future[Any]:
        """See `ElasticThreads.submit`."""
        return self._threads.submit(self._owner, work)
