"""The access log from one end to the other: where records begin, and the thread that writes."""

import asyncio
from collections.abc import Callable

from salver.errors import InvalidArgument
from salver.telemetry.access_log import AccessLog
from salver.telemetry.access_log_writer import STDERR, AccessLogWriter

_STOP_LIMIT_S = 5.0


class AccessLogging:
    """Loop only; made on the loop."""

    def __init__(self, path: str, count_lost: Callable[[int], None]) -> None:
        """Open the log, `stderr` or a file; `count_lost` is told of requests without a line.

        Raises:
            InvalidArgument: the file cannot be opened.
        """
        loop = asyncio.get_running_loop()
        self.log = AccessLog(count_lost)
        self.is_file = path != STDERR
        try:
            self._writer = AccessLogWriter(
                path, self.log, lambda lines: loop.call_soon_threadsafe(count_lost, lines)
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise InvalidArgument(
                f"--access_log must be {STDERR} or a file that can be written: {path}; {why}"
            ) from error
        self._writer.start()

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        self._writer.reopen()

    async def stop(self) -> None:
        """Write what was logged until now."""
        await asyncio.to_thread(self._writer.stop, _STOP_LIMIT_S)
