"""Signals that end a push: at once while nothing has been written, else where it is safe."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks for an end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        """Of the signal."""


class Interruption:
    """Listens to signals for a `with` block; the first one counts, further ones change nothing."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._arrived = threading.Event()
        self._held = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            return
        self._number = number
        self._arrived.set()
        if not self._held:
            raise Interrupted(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, a signal takes effect at `check` and `wait` only."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def check(self) -> None:
        """A place where a push can be broken off.

        Raises:
            Interrupted: a signal has arrived.
        """
        if self._number is not None:
            raise Interrupted(self._number)

    def wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Interrupted: a signal arrived meanwhile.
        """
        self._arrived.wait(seconds)
        self.check()
