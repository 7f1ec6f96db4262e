"""The access log, the loop's side: one record for each request, and the queue to the writer.

What a record holds is put together while the request goes its way; turning it into a line and
writing that is the writer's business. There is no record, and so no cost, where there is no log.
"""

import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter, time

from salver.core.servable import ServableId

CLIENT_GONE = 499
"""The status, as others log it, of a request whose client did not wait for the answer."""
_CANCELLED = 1
_MAX_WAITING = 50_000
"""Records; some ten megabytes."""


class AccessRecord:
    """One request on its way to its line."""

    __slots__ = (
        "_log",
        "_started",
        "client",
        "finished_s",
        "grpc_status",
        "latency_s",
        "method",
        "model",
        "path",
        "protocol",
        "request_bytes",
        "response_bytes",
        "signature",
        "status",
        "version",
    )

    def __init__(
        self,
        log: "AccessLog",
        client: str,
        protocol: str,
        method: bytes,
        path: bytes,
        request_bytes: int,
    ) -> None:
        self._log = log
        self._started = perf_counter()
        self.client = client
        self.protocol = protocol
        self.method = method
        self.path = path
        self.request_bytes = request_bytes
        self.model: str | None = None
        self.version: int | None = None
        self.signature: str | None = None
        self.status = 0
        """Of HTTP, for gRPC calls too."""
        self.grpc_status: int | None = None
        self.response_bytes = 0
        self.latency_s = 0.0
        """From the whole request to the whole answer, before it is sent."""
        self.finished_s = 0.0
        """In seconds since 1970."""

    def asks(self, model: str, signature: str | None = None) -> None:
        """The request names this model, which there may not be, and this signature."""
        self.model = model or None
        self.signature = signature

    def opened(self, id_: ServableId) -> None:
        """This version will answer."""
        self.model = id_.name
        self.version = id_.version

    def end(self, status: int, response_bytes: int, grpc_status: int | None = None) -> None:
        """The request is answered."""
        self.status = status
        self.grpc_status = grpc_status
        self.response_bytes = response_bytes
        self.latency_s = perf_counter() - self._started
        self.finished_s = time()
        self._log.add(self)

    def abandon(self) -> None:
        """The client is gone, and will read no answer."""
        self.end(CLIENT_GONE, 0, _CANCELLED if self.protocol == "gRPC" else None)


class AccessLog:
    """Where records come from and go to. Loop only, but for `take`."""

    def __init__(self, count_lost: Callable[[int], None]) -> None:
        """`count_lost` is told of records that will have no line."""
        self.count_lost = count_lost
        self.filled = threading.Event()
        """Set when there is something to take."""
        self._waiting: deque[AccessRecord] = deque()

    def begin(
        self, client: str, protocol: str, method: bytes, path: bytes, request_bytes: int
    ) -> AccessRecord:
        """A request has arrived; the record is to be ended exactly once."""
        return AccessRecord(self, client, protocol, method, path, request_bytes)

    def add(self, record: AccessRecord) -> None:
        """Have a record written that has ended."""
        if len(self._waiting) >= _MAX_WAITING:
            self.count_lost(1)
            return
        self._waiting.append(record)
        if not self.filled.is_set():
            self.filled.set()

    def take(self) -> AccessRecord | None:
        """The oldest that waits, None if there is none. Writer only."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None
