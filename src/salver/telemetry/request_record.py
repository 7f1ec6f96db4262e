"""One record for each request, for whoever wants to know about requests: a log, a trace.

A call that is a stream of messages counts as one request, which is over when the call is.

It is filled while the request goes its way. There is none, and so no cost, where nobody asked.
"""

from time import perf_counter, time_ns
from typing import Protocol

from salver.core.servable import ServableId

CLIENT_GONE = 499
"""The status, as others log it, of a request whose client did not wait for the answer."""
GRPC = "gRPC"
_CANCELLED = 1


class RecordSink(Protocol):
    """Takes the records of requests that are over."""

    def add(self, record: "RequestRecord") -> None:
        """The record is complete and does not change any more. Must not block."""


class RequestRecord:
    """What is known about one request, from its arrival on. Ended exactly once. Loop only."""

    __slots__ = (
        "_sink",
        "_started",
        "client",
        "finished_ns",
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
        sink: RecordSink,
        client: str,
        protocol: str,
        method: bytes,
        path: bytes,
        request_bytes: int,
    ) -> None:
        """The request is whole, or a stream begins; `sink` gets the record when it is over."""
        self._sink = sink
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
        """From the whole request to the whole answer, before it is sent; of a stream, all of it."""
        self.finished_ns = 0
        """Since 1970."""

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
        self.finished_ns = time_ns()
        self._sink.add(self)

    def abandon(self, response_bytes: int = 0) -> None:
        """The client is gone, and will read no answer beyond these bytes."""
        self.end(CLIENT_GONE, response_bytes, _CANCELLED if self.protocol == GRPC else None)


class Both:
    """A sink that passes records on to two others."""

    def __init__(self, first: RecordSink, second: RecordSink) -> None:
        self._sinks = first, second

    def add(self, record: RequestRecord) -> None:
        """See `RecordSink`."""
        for sink in self._sinks:
            sink.add(record)
