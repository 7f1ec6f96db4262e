"""Request logs from one end to the other: the logs in force, the queue, and the writing thread."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from salver.errors import Code
from salver.telemetry.record_file import FileLimits
from salver.telemetry.request_log import EntryQueue, RequestLog, RequestLogs, RequestLogSettings
from salver.telemetry.request_log_writer import Counts, RequestLogWriter

logger = logging.getLogger(__name__)

_STOP_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class RequestLogOptions:
    """How requests are logged, whatever their model."""

    file_limits: FileLimits = field(default_factory=FileLimits)
    queue_bytes: int = 64 * 1024 * 1024
    """Memory for requests that wait to be written."""
    saved_model_tags: tuple[str, ...] = ()
    """For the records."""


class RequestLogging:
    """Costs nothing, not even a thread, before something is to be logged. Loop only."""

    def __init__(self, options: RequestLogOptions, count: Callable[[str, Code, int], None]) -> None:
        """`count` is told, on the loop, how many requests of a model were logged, or why not."""
        self._count = count
        self._queue = EntryQueue(options.queue_bytes)
        self._logs = RequestLogs(self._queue, lambda model, code: count(model, code, 1))
        self._writer = RequestLogWriter(
            self._queue, options.file_limits, options.saved_model_tags, self._report
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def by_model(self) -> Mapping[str, RequestLog]:
        """The logs in force, for those who answer requests: always the same object."""
        return self._logs.by_model

    def configure(self, settings: Mapping[str, RequestLogSettings]) -> None:
        """From now on log what `settings` say, by the name of the model, and nothing else."""
        if settings:
            self._loop = asyncio.get_running_loop()
            self._writer.start()
        self._logs.configure(settings)

    async def stop(self) -> None:
        """Write what was logged until now, and close the files."""
        if not await asyncio.to_thread(self._writer.stop, _STOP_LIMIT_S):
            logger.error("The last requests could not be logged within %g s", _STOP_LIMIT_S)

    def _report(self, counts: Counts) -> None:
        """From the writer's thread to the loop."""
        assert self._loop is not None
        with suppress(RuntimeError):  # The loop is closed: nobody asks any more.
            self._loop.call_soon_threadsafe(self._take_in, counts)

    def _take_in(self, counts: Counts) -> None:
        for (model, code), requests in counts.items():
            self._count(model, code, requests)
