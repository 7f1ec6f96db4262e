"""The access log, the writer's side: JSON lines, many at a time, to a file or to stderr."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from salver.errors import Code
from salver.telemetry.access_log import AccessLog
from salver.telemetry.request_record import RequestRecord

logger = logging.getLogger(__name__)

STDERR = "stderr"
_STDERR_DESCRIPTOR = 2
_GATHER_S = 0.1
"""From the first record to the write: one write for many, and few switches of threads."""
_CHUNK_BYTES = 4096
"""Of one write. A pipe takes so much in one piece, between the lines of others; and while the
thread writes, the loop has the interpreter to itself."""
_MAX_PATH = 1024
_CODES = {int(code): code.name for code in Code}


class AccessLogWriter:
    """Owns the file and its thread, from `start` to `stop`."""

    def __init__(self, path: str, log: AccessLog, report_lost: Callable[[int], object]) -> None:
        """`report_lost` is called on the writer's thread when lines could not be written.

        Raises:
            OSError: the file cannot be opened.
        """
        self._path = path
        self._log = log
        self._report_lost = report_lost
        self._descriptor = _STDERR_DESCRIPTOR if path == STDERR else _opened(path)
        self._reopening = threading.Event()
        self._ending = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._work, name="access-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def reopen(self) -> None:
        """Go on in a new file of the same name: the old one was moved away. From any thread."""
        self._reopening.set()
        self._log.filled.set()

    def stop(self, limit_s: float | None = None) -> None:
        """Write what waits, and close the file. Blocks."""
        self._ending.set()
        self._log.filled.set()
        self._thread.join(limit_s)

    def _work(self) -> None:
        while not self._ending.is_set():
            self._log.filled.wait()
            self._ending.wait(_GATHER_S)
            self._log.filled.clear()
            self.write_all()
        if self._descriptor != _STDERR_DESCRIPTOR:
            os.close(self._descriptor)

    def write_all(self) -> None:
        """Write what waits. What was logged before the file was moved away goes to the old one."""
        lines: list[bytes] = []
        size = 0
        while (record := self._log.take()) is not None:
            line = _line(record)
            if size + len(line) > _CHUNK_BYTES and lines:
                self._write(lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        if lines:
            self._write(lines)
        if self._reopening.is_set():
            self._reopening.clear()
            self._reopen()

    def _reopen(self) -> None:
        if self._path == STDERR:
            return
        try:
            descriptor = _opened(self._path)
        except OSError as error:
            logger.error("The access log stays in its old file: %s; %s", self._path, error.strerror)
            return
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _write(self, lines: list[bytes]) -> None:
        rest = memoryview(b"".join(lines))
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            if not self._is_failing:
                logger.error("The access log cannot be written: %s; %s", self._path, error.strerror)
            self._is_failing = True
            with suppress(RuntimeError):  # The loop is closed: nobody asks any more.
                self._report_lost(len(lines))
            return
        self._is_failing = False


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _line(record: RequestRecord) -> bytes:
    """One line of JSON. By hand: a third of the time that a dictionary would take."""
    grpc_status = record.grpc_status
    status = "" if grpc_status is None else f'"grpc_status":{_quoted(_CODES[grpc_status])},'
    return (
        f'{{"time":"{_time_text(record.finished_ns)}","client":{_quoted(record.client)},'
        f'"protocol":"{record.protocol}","method":{_text(record.method)},'
        f'"path":{_text(record.path)},"model":{_quoted(record.model)},'
        f'"version":{"null" if record.version is None else record.version},'
        f'"signature":{_quoted(record.signature)},"status":{record.status},{status}'
        f'"request_bytes":{record.request_bytes},"response_bytes":{record.response_bytes},'
        f'"latency_ms":{record.latency_s * 1e3:.3f}}}\n'
    ).encode()


@lru_cache(maxsize=4096)
def _quoted(text: str | None) -> str:
    # ASCII with escapes: what is no valid text in a name is none in UTF-8 either.
    return "null" if text is None else encode_basestring_ascii(text)


@lru_cache(maxsize=4096)
def _text(raw: bytes) -> str:
    """The path of a target. Its query may hold what is nobody's business."""
    path = raw.partition(b"?")[0]
    cut = path if len(path) <= _MAX_PATH else path[:_MAX_PATH] + b"..."
    return encode_basestring_ascii(cut.decode("utf-8", "backslashreplace"))


def _time_text(nanoseconds: int) -> str:
    milliseconds = nanoseconds // 10**6
    return f"{_second_text(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(maxsize=8)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
