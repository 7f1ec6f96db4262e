"""Request logs, the writer's side: a thread that turns what was kept into files of records.

What cannot be written is counted and told once, and tried again after a while: serving goes on.
"""

import errno
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from salver.codecs.tf_record import record
from salver.errors import Code, ServingError
from salver.telemetry.prediction_log import encode_entry
from salver.telemetry.record_file import FileLimits, RecordFiles
from salver.telemetry.request_log import Entry, EntryQueue, Retired

logger = logging.getLogger(__name__)

_GATHER_S = 0.1
"""From the first entry to the write: one write for many, and few switches of threads."""
_RETRY_S = 5.0
_MAX_BATCH_BYTES, _MAX_BATCH_RECORDS = 1024 * 1024, 64
"""Of one write: while the thread writes, the loop has the interpreter to itself."""
_CODES = {
    errno.ENOSPC: Code.RESOURCE_EXHAUSTED,
    errno.EDQUOT: Code.RESOURCE_EXHAUSTED,
    errno.EFBIG: Code.RESOURCE_EXHAUSTED,
    errno.EACCES: Code.PERMISSION_DENIED,
    errno.EPERM: Code.PERMISSION_DENIED,
    errno.EROFS: Code.PERMISSION_DENIED,
    errno.ENOENT: Code.NOT_FOUND,
    errno.ENOTDIR: Code.FAILED_PRECONDITION,
    errno.EEXIST: Code.FAILED_PRECONDITION,
}

Counts = Mapping[tuple[str, Code], int]
"""How many entries of a model ended so."""


@dataclass(slots=True)
class _Target:
    """The files of one prefix, and what waits for the next write to them."""

    files: RecordFiles
    batch: list[tuple[str, bytes]] = field(default_factory=list)
    """Name of the model and record."""
    batch_bytes: int = 0
    failure: Code | None = None
    """Why nothing is written at present."""
    try_again_at: float = 0.0
    lost: int = 0


class RequestLogWriter:
    """Owns its thread, from `start` to `stop`."""

    def __init__(
        self,
        queue: EntryQueue,
        limits: FileLimits,
        saved_model_tags: Sequence[str],
        report: Callable[[Counts], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`report` is called on the writer's thread, after each write."""
        self._queue = queue
        self._limits = limits
        self._tags = tuple(saved_model_tags)
        self._report = report
        self._clock = clock
        self._targets: dict[str, _Target] = {}
        self._counts: Counter[tuple[str, Code]] = Counter()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write; again does no harm."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
            self._thread.start()

    def stop(self, limit_s: float | None = None) -> bool:
        """Write what is in the queue and close all files; False if that took too long. Blocks."""
        if self._thread is None:
            return True
        self._ending.set()
        self._queue.filled.set()
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._ending.is_set():
            if self._queue.filled.wait(self._rest_s()):
                self._ending.wait(_GATHER_S)
            self._queue.filled.clear()
            self.write_all()
        for target in self._targets.values():
            target.files.close()

    def _rest_s(self) -> float | None:
        """Until the next file becomes too old; None if none will."""
        due = [at for target in self._targets.values() if (at := target.files.due_at) is not None]
        return max(min(due) - self._clock(), 0.0) if due else None

    def write_all(self) -> None:
        """Write what is in the queue. On the writer's thread, which also calls it at the end."""
        while (entry := self._queue.take()) is not None:
            if isinstance(entry, Retired):
                self._retire(entry.filename_prefix)
            else:
                self._encode(entry)
        for prefix, target in self._targets.items():
            self._write(prefix, target)
            target.files.close_if_due()
        if self._counts:
            counts, self._counts = self._counts, Counter()
            self._report(counts)

    def _retire(self, prefix: str) -> None:
        target = self._targets.pop(prefix, None)
        if target is not None:
            self._write(prefix, target)
            target.files.close()

    def _encode(self, entry: Entry) -> None:
        prefix, model = entry.settings.filename_prefix, entry.id.name
        target = self._targets.get(prefix)
        if target is None:
            files = RecordFiles(prefix, self._limits, self._clock)
            target = self._targets[prefix] = _Target(files)
        if target.failure is not None and self._clock() < target.try_again_at:
            self._counts[model, target.failure] += 1
            target.lost += 1
            return
        try:
            data = record(encode_entry(entry, self._tags))
        except ServingError as error:
            self._counts[model, error.code] += 1
            return
        except Exception:  # a strange request must not end the thread that logs all others
            logger.exception("Unexpected error while a request to %s was logged", model)
            self._counts[model, Code.INTERNAL] += 1
            return
        target.batch.append((model, data))
        target.batch_bytes += len(data)
        if target.batch_bytes >= _MAX_BATCH_BYTES or len(target.batch) >= _MAX_BATCH_RECORDS:
            self._write(prefix, target)

    def _write(self, prefix: str, target: _Target) -> None:
        batch, target.batch, target.batch_bytes = target.batch, [], 0
        if not batch:
            return
        written, error = target.files.write([data for _, data in batch])
        for model, _ in batch[:written]:
            self._counts[model, Code.OK] += 1
        if error is None:
            self._succeeded(prefix, target)
            return
        code = _CODES.get(error.errno or 0, Code.UNAVAILABLE)
        for model, _ in batch[written:]:
            self._counts[model, code] += 1
        if target.failure is None:
            logger.error(
                "Requests cannot be logged to %s: %s. They are not logged until that works again",
                prefix,
                f"{error.filename}: {error.strerror}" if error.filename else error.strerror,
            )
        target.lost += len(batch) - written
        target.failure = code
        target.try_again_at = self._clock() + _RETRY_S

    def _succeeded(self, prefix: str, target: _Target) -> None:
        if target.failure is not None:
            logger.info("Requests are logged to %s again; %d were not", prefix, target.lost)
            target.failure = None
            target.lost = 0
