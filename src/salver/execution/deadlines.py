"""Time limits of many requests, with one timer of the loop for all of them.

Nearly all requests are answered in time. A timer for each, made and cancelled, is a sizeable part
of what a small one costs; here a limit is an entry of a dictionary, and the timer is set to the
first of them.
"""

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

_FINE_S, _COARSE_S = 2.0, 60.0
_COARSE_MS, _COARSEST_MS = 64, 1024


class Expires(Protocol):
    """Whoever has a time limit."""

    def expire(self) -> None:
        """It is over. On the loop."""


class Deadlines:
    """Those that are still to come. Loop only.

    Limits that are far off are kept to coarsely: within a thirtieth of the time that was left.
    """

    __slots__ = ("_due", "_loop", "_next", "_timer")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: dict[int, dict[Expires, None]] = {}
        """By the millisecond of the loop's clock at which they expire."""
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0
        """The millisecond that the timer is set to."""

    def add(self, deadline: float, request: Expires) -> int:
        """Let `request` expire at `deadline`, loop time; what it is removed with."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        left_s = deadline - loop.time()
        # Never before its time.
        due = int(deadline * 1e3) + 1
        if left_s > _FINE_S:
            step = _COARSE_MS if left_s < _COARSE_S else _COARSEST_MS
            due += -due % step
        requests = self._due.get(due)
        if requests is None:
            requests = self._due[due] = {}
            if self._timer is None or due < self._next:
                self._set(loop, due)
        requests[request] = None
        return due

    def remove(self, due: int, request: Expires) -> None:
        """It needs no limit any more; nothing if it has expired. `due` is what `add` returned."""
        requests = self._due.get(due)
        if requests is not None:
            requests.pop(request, None)
            if not requests:
                del self._due[due]

    def _set(self, loop: asyncio.AbstractEventLoop, due: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = due
        self._timer = loop.call_at(due / 1e3, self._expire)

    def _expire(self) -> None:
        assert self._loop is not None
        self._timer = None
        # Rounded: the loop may call a little before the time that it was asked for.
        now = round(self._loop.time() * 1e3)
        for due in sorted(due for due in self._due if due <= now):
            for request in self._due.pop(due, ()):
                try:
                    request.expire()
                except Exception:  # the others are late, too
                    logger.exception("A request whose time was over could not be answered")
        if self._due and self._timer is None:
            self._set(self._loop, min(self._due))
