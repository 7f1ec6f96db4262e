"""The server in this process, from the bytes of a connection to a model and back: no sockets."""

import asyncio
import logging
from collections.abc import Sequence

from salver.codecs.messages import WireMessage
from salver.config.model_config import from_message, validate, validate_platforms
from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus
from salver.errors import DataLoss, NotFound
from salver.execution.prepared import PreparedServable
from salver.execution.runner import Runner, RunnerOptions
from salver.service.examples import Examples
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.predict import Predict
from salver.service.status import Status
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.grpc_examples import ExampleService
from salver.transport.grpc_services import ModelService, PredictionService
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.rest import RestApi, RestOptions
from tests.fuzz.border import Broken, require
from tests.fuzz.model import Everything

_TURNS = 1000
_OPTIONS = ConnectionOptions(
    max_request_bytes=100_000,
    max_header_bytes=4096,
    max_concurrent_streams=20,
    max_buffered_bytes=10**6,
)
GOOD_REQUEST = (
    b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n"
    b'Connection: close\r\n\r\n{"instances": [1]}'
)


class Pipe(asyncio.Transport):
    """The other end of a connection: what is written is kept; a slow one stops writes at first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self.written = bytearray()
        self._loop = loop
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, chunks: Sequence[bytes | memoryview]) -> None:  # type: ignore[override]
        for chunk in chunks:
            self.written += chunk

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass


class _Log(logging.Handler):
    """Errors that nobody expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.lines.append(self.format(record))


class Site:
    """One server with one model `m`; `inline`: it runs on the loop, else on threads."""

    def __init__(self, *, inline: bool) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._on_exception)
        self._log = _Log()
        logging.getLogger("salver").addHandler(self._log)
        self._exceptions: list[str] = []
        self._handle = Handle(ServableId("m", 1), PreparedServable(Everything()))
        self._runner = Runner(RunnerOptions(2, float("inf") if inline else -1.0))
        self._board = self._loop.run_until_complete(self._started())

    async def _started(self) -> Switchboard:
        self._runner.start()
        return self._switchboard()

    def _switchboard(self) -> Switchboard:
        opening, metrics = Opening(self), ServingMetrics()
        runs = metrics.runs
        predict, examples = Predict(self._runner, runs), Examples(self._runner, runs)
        status, metadata = Status(self), Metadata(opening)
        rest = RestApi(
            RestOptions(
                30.0,
                cors=True,
                compression_min_bytes=100,
                metrics_path="/monitoring/prometheus/metrics",
            ),
            opening,
            predict,
            examples,
            status,
            metadata,
            metrics,
            self._loop.time,
        )
        handlers = {
            **PredictionService(opening, predict, metadata, metrics).handlers(),
            **ExampleService(opening, examples, metrics).handlers(),
            **ModelService(status, self._reload, metrics).handlers(),
        }
        return Switchboard(_OPTIONS, rest, handlers, (Http1, Http2))

    # --- what stands for the models ------------------------------------------------

    def open(self, name: str, version: int | None, label: str | None) -> Handle[PreparedServable]:
        if name == "missing" or version not in (None, 1) or label not in (None, "stable"):
            raise NotFound(f"Servable not found for request: Latest({name})")
        self._handle.uses += 1
        return self._handle

    def statuses(self, name: str) -> Sequence[VersionStatus]:
        error = DataLoss('it is "broken"')
        known = [VersionStatus(2, State.END, error), VersionStatus(1, State.AVAILABLE)]
        return known if name == "m" else []

    async def _reload(self, message: WireMessage) -> None:
        config = from_message(message)
        validate(config)
        validate_platforms(config)

    # --- connections ---------------------------------------------------------------

    def converse(self, data: bytes, piece: int = 1 << 20, *, slow: bool = False) -> bytes:
        """Send `data` in pieces over a connection, close it, and return what was answered.

        A slow reader takes nothing until all is sent.

        Raises:
            Broken: something is left of the connection, or the log has an error.
        """
        answer = self._loop.run_until_complete(self._converse(data, piece, slow))
        self._require_nothing_left()
        return answer

    async def _converse(self, data: bytes, piece: int, slow: bool) -> bytes:
        protocol = self._board.connection()
        pipe = Pipe(self._loop, protocol)
        protocol.connection_made(pipe)
        if slow:
            protocol.pause_writing()
        start = 0
        while start < len(data) and not pipe.is_closing():
            start += self._feed(protocol, data[start : start + piece])
            if piece < len(data):
                await asyncio.sleep(0)
        if slow:
            protocol.resume_writing()
        await self._settle()
        if not pipe.is_closing():
            protocol.eof_received()
        pipe.close()
        await self._settle()
        return bytes(pipe.written)

    @staticmethod
    def _feed(protocol: asyncio.BufferedProtocol, data: bytes) -> int:
        buffer = memoryview(protocol.get_buffer(-1))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        return size

    async def _settle(self) -> None:
        """Turn the loop until the workers are through and what they made is written."""
        for _ in range(_TURNS):
            for _ in range(4):
                await asyncio.sleep(0)
            if not self._runner.in_flight and not self._handle.uses:
                return
            await asyncio.sleep(0.001)
        raise Broken(f"{self._runner.in_flight} runs and {self._handle.uses} handles are left")

    def _require_nothing_left(self) -> None:
        require(not self._exceptions, f"in the loop: {self._exceptions}")
        lines, self._log.lines = self._log.lines, []
        require(not lines, "\n".join(lines))
        require(not self._board.connections, "a connection is left")
        require(not self._board.buffered_bytes, f"{self._board.buffered_bytes} bytes are left")

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self._exceptions.append(f"{context.get('message')}: {context.get('exception')!r}")

    def require_good_answer(self) -> None:
        """A good request is answered well, whatever came before."""
        answer = self.converse(GOOD_REQUEST)
        require(answer.startswith(b"HTTP/1.1 200 OK") and b'"predictions": [1.0' in answer,
                f"a good request: {answer!r}")  # fmt: skip

    def close(self) -> None:
        self.require_good_answer()
        self._runner.stop()
        logging.getLogger("salver").removeHandler(self._log)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
