"""Files of records that share a prefix: one is written, and followed by the next in time.

A file always ends with a whole record, also after a write that failed.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

_numbers = count(1)
"""So that no two files of a process have one name."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """When a file is closed and the next one begun."""

    max_bytes: int = 0
    """Before a record that would make it larger; 0: no limit."""
    max_age_s: float = 0.0
    """So long after it was opened; 0: no limit."""


class RecordFiles:
    """The files of one prefix. Used by one thread at a time; blocks as long as the disk does."""

    def __init__(self, prefix: str, limits: FileLimits, clock: Callable[[], float]) -> None:
        self._prefix = prefix
        self._limits = limits
        self._clock = clock
        self._descriptor: int | None = None
        self._size = 0
        self._opened_at = 0.0

    def write(self, records: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Append records; how many of them were written, and what kept the others out."""
        written = 0
        try:
            while written < len(records):
                together = self._as_many_as_fit(records[written:])
                self._append(b"".join(together))
                written += len(together)
        except OSError as error:
            self._give_up()
            return written, error
        return written, None

    def _as_many_as_fit(self, records: Sequence[bytes]) -> Sequence[bytes]:
        """The first few of them, for a file that is open and has room for them."""
        limit = self._limits.max_bytes
        self.close_if_due()
        if self._descriptor is not None and limit and self._size + len(records[0]) > limit:
            self.close()
        if self._descriptor is None:
            self._open()
        size = self._size
        for position, record in enumerate(records):
            size += len(record)
            if limit and size > limit and position:
                return records[:position]
        return records

    def _open(self) -> None:
        if folder := os.path.dirname(self._prefix):
            os.makedirs(folder, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._next_name(), flags, 0o666)
        self._size = 0
        self._opened_at = self._clock()

    def _next_name(self) -> str:
        """By the time, so that names sort as files follow each other."""
        now = datetime.now(UTC)
        return f"{self._prefix}-{now:%Y%m%d-%H%M%S}-{os.getpid()}-{next(_numbers):04}.tfrecord"

    def _append(self, data: bytes) -> None:
        assert self._descriptor is not None
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._size += len(data)

    def _give_up(self) -> None:
        """Leave the file as it was before the write that failed."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
        self.close()

    @property
    def due_at(self) -> float | None:
        """When the file that is open will have become too old; None if it never will."""
        if self._descriptor is None or not self._limits.max_age_s:
            return None
        return self._opened_at + self._limits.max_age_s

    def close_if_due(self) -> None:
        """Close a file that has become too old."""
        due_at = self.due_at
        if due_at is not None and self._clock() >= due_at:
            self.close()

    def close(self) -> None:
        """Close the file that is open; the next record begins another one."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
