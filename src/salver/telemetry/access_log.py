"""The access log, the loop's side: the queue of records to the thread that writes them."""

import threading
from collections import deque
from collections.abc import Callable

from salver.telemetry.request_record import RequestRecord

_MAX_WAITING = 50_000
"""Records; some ten megabytes."""


class AccessLog:
    """A `RecordSink` that keeps records until they are written. Loop only, but for `take`."""

    def __init__(self, count_lost: Callable[[int], None]) -> None:
        """`count_lost` is told of records that will have no line."""
        self._count_lost = count_lost
        self.filled = threading.Event()
        """Set when there is something to take."""
        self._waiting: deque[RequestRecord] = deque()

    def add(self, record: RequestRecord) -> None:
        """Have a record written."""
        if len(self._waiting) >= _MAX_WAITING:
            self._count_lost(1)
            return
        self._waiting.append(record)
        if not self.filled.is_set():
            self.filled.set()

    def take(self) -> RequestRecord | None:
        """The oldest that waits, None if there is none. Writer only."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None
