"""A bounded set of interpreters, each of which runs one request at a time.

Taking and giving back cost nothing but a list's own work, as long as nobody has
to wait. Worker threads wait; the event loop never does.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from salver.errors import Cancelled

T = TypeVar("T")


class InterpreterPool(Generic[T]):
    """At most `bound` interpreters for worker threads, and one for the loop if it must have it.

    They are made when runs overlap for the first time; `make` runs in the thread that
    needs one. From any thread, but of event loops only one.
    """

    def __init__(self, make: Callable[[], T], bound: int) -> None:
        self._make: Callable[[], T] | None = make
        self._bound = bound
        self._free: list[T] = []
        self._count = 0
        self._spare: T | None = None
        self._waiting = 0
        self._changed = threading.Condition()

    def prepare(self, count: int) -> None:
        """Make up to `count` interpreters now, so that no request has to.

        Raises:
            ServingError: from `make`.
        """
        for one in [self.take() for _ in range(min(count, self._bound))]:
            self.give(one)

    def take(self) -> T:
        """An interpreter for one run, to be given back. The one used last comes first.

        Raises:
            Cancelled: the pool is closed.
            ServingError: from `make`.
        """
        try:
            return self._free.pop()
        except IndexError:
            return self._make_or_wait()

    def give(self, one: T) -> None:
        """Let others have it."""
        if one is self._spare:
            return
        self._free.append(one)
        if self._make is None:
            self._free.clear()
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def close(self) -> None:
        """Let all interpreters go, those in use when they come back. Again does no harm."""
        with self._changed:
            self._make = self._spare = None
            self._free.clear()
            self._changed.notify_all()

    def _make_or_wait(self) -> T:
        is_on_loop = _is_on_a_loop()
        with self._changed:
            # Counted before the look at what is free: who gives one back now, wakes us.
            self._waiting += 1
            try:
                while True:
                    if (make := self._make) is None:
                        raise Cancelled("Session has been closed.")
                    with suppress(IndexError):
                        return self._free.pop()
                    if is_allowed := self._count < self._bound:
                        self._count += 1
                    if is_allowed or is_on_loop:
                        break
                    self._changed.wait()
            finally:
                self._waiting -= 1
        return self._made(make) if is_allowed else self._made_for_the_loop(make)

    def _made(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise

    def _made_for_the_loop(self, make: Callable[[], T]) -> T:
        # It runs one thing at a time, so its own one is never taken when it asks.
        if self._spare is None:
            self._spare = make()
        return self._spare


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
