"""A run over a whole file: rows are read, answered by several threads, and written in order."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from time import monotonic
from typing import Any

from salver.bulk.batch_answers import BadRow, BatchAnswers, GoodRow
from salver.bulk.progress_record import Progress, ProgressRecord, require_same
from salver.bulk.row_encoding import bad_row_line
from salver.bulk.row_sink import GrowingFile, RowSink
from salver.bulk.row_source import Row, RowSource
from salver.errors import DataLoss, FailedPrecondition, InvalidArgument, ResourceExhausted
from salver.sources.file_lock import FileLock, try_lock

_BETWEEN_RECORDS_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a run writes."""

    output: str
    bad_rows: str

    @property
    def record(self) -> str:
        return f"{self.output}.progress.json"

    def locked(self) -> FileLock:
        """A lock that other runs with this output respect.

        Raises:
            FailedPrecondition: one of them is going on.
        """
        lock = try_lock(f"{self.output}.lock", "alone")
        if lock is None:
            raise FailedPrecondition(f"another run is writing {self.output} now")
        return lock


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes about it."""

    batch_size: int
    in_flight: int
    """So many batches are answered at the same time."""
    max_bad_rows: int | None = None
    """More of them end the run; None: however many."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is to be written for some rows."""

    rows: int
    encoded: Any
    bad_lines: bytes
    bad_rows: int


class BulkRun:
    """One run; used once."""

    def __init__(
        self,
        source: RowSource,
        sink: RowSink,
        answers: BatchAnswers,
        places: Places,
        options: RunOptions,
        on_progress: Callable[[Progress, float], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`on_progress` is told after each batch, with the part of the input that was read."""
        self._source = source
        self._sink = sink
        self._answers = answers
        self._places = places
        self._options = options
        self._on_progress = on_progress
        self._clock = clock
        self._bad_sink = GrowingFile(places.bad_rows)
        self._record = ProgressRecord(places.record)
        self._progress = Progress()
        self._settled = Progress()
        """The last state to which the files can be brought back."""
        self._recorded_at = clock()

    def run(self, progress: Progress) -> Progress:
        """Go on from there to the end of the input.

        Raises:
            ServingError: the model cannot be asked, the input is damaged, or too many rows are
                bad. What is done is recorded.
            OSError: the output cannot be written.
        """
        self._progress, self._settled = progress, replace(progress)
        try:
            self._sink.resume(progress.output_size)
            self._bad_sink.resume(progress.bad_size)
            self._run()
            self._finish()
        finally:
            self._sink.close()
            self._bad_sink.close()
        return self._progress

    def _run(self) -> None:
        self._settle()
        self._write_record()
        waiting: deque[Future[_Batch]] = deque()
        with ThreadPoolExecutor(self._options.in_flight, "batch") as threads:
            try:
                for rows in self._batches():
                    waiting.append(threads.submit(self._answered, rows))
                    if len(waiting) >= 2 * self._options.in_flight:
                        self._take(waiting.popleft().result())
                while waiting:
                    self._take(waiting.popleft().result())
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._write_record()
                raise

    def _batches(self) -> Iterator[list[Row]]:
        """Always cut at the same rows: an answer may depend on who was in the batch."""
        rows = self._source.rows()
        skipped = sum(1 for _ in islice(rows, self._progress.rows))
        if skipped < self._progress.rows:
            raise DataLoss(f"the input has {skipped} rows, fewer than were read of it before")
        while batch := list(islice(rows, self._options.batch_size)):
            yield batch

    def _answered(self, rows: Sequence[Row]) -> _Batch:
        """On one of the threads."""
        answers = self._answers(rows)
        good, bad = list(answers.good), list(answers.bad)
        try:
            encoded = self._sink.encode(good)
        except InvalidArgument:
            good, unfit = self._fit(rows, good, {each.row.number for each in bad})
            bad += unfit
            encoded = self._sink.encode(good)
        bad.sort(key=lambda each: each.row.number)
        lines = b"".join(bad_row_line(each, self._source) for each in bad)
        return _Batch(len(rows), encoded, lines, len(bad))

    def _fit(
        self, rows: Sequence[Row], good: Sequence[GoodRow], bad: set[int]
    ) -> tuple[list[GoodRow], list[BadRow]]:
        """The rows that the output can hold, and those that it cannot."""
        fit, unfit = [], []
        answered = [row for row in rows if row.number not in bad]
        for row, answer in zip(answered, good, strict=True):
            try:
                self._sink.encode([answer])
            except InvalidArgument as error:
                unfit.append(BadRow(row, error.message))
            else:
                fit.append(answer)
        return fit, unfit

    def _take(self, batch: _Batch) -> None:
        self._sink.add(batch.encoded)
        self._bad_sink.add(batch.bad_lines)
        self._progress.rows += batch.rows
        self._progress.bad_rows += batch.bad_rows
        self._settle()
        if self._clock() - self._recorded_at >= _BETWEEN_RECORDS_S:
            self._write_record()
        self._on_progress(self._progress, self._source.part_read())
        most = self._options.max_bad_rows
        if most is not None and self._progress.bad_rows > most:
            raise ResourceExhausted(
                f"{self._progress.bad_rows} of {self._progress.rows} rows are bad, more than "
                f"--max_bad_rows={most}; see {self._bad_sink.unfinished_path}"
            )

    def _settle(self) -> None:
        size = self._sink.size()
        if size is not None:
            self._progress.output_size = size
            self._progress.bad_size = self._bad_sink.size()
            self._settled = replace(self._progress)

    def _write_record(self) -> None:
        self._sink.sync()
        self._bad_sink.sync()
        self._record.write(self._settled)
        self._recorded_at = self._clock()

    def _finish(self) -> None:
        self._write_record()
        self._bad_sink.finish()
        if not os.path.getsize(self._places.bad_rows):
            os.remove(self._places.bad_rows)
        self._sink.finish()
        self._record.remove()


def starting_point(
    places: Places, settings: Mapping[str, Any], *, overwrite: bool
) -> tuple[Progress, bool]:
    """Where a run begins, and whether it is over already.

    Raises:
        FailedPrecondition: there is an output that is not to be overwritten, or the record is
            that of another run.
        DataLoss: the record cannot be read.
    """
    record = ProgressRecord(places.record)
    if overwrite:
        record.remove()
        for path in (places.output, places.bad_rows):
            if os.path.exists(path):
                os.remove(path)
        return Progress(settings), False
    left = record.read()
    if left is None:
        for path in (places.output, places.bad_rows):
            if os.path.exists(path):
                raise FailedPrecondition(f"{path} is there already; --overwrite takes its place")
        return Progress(settings), False
    require_same(settings, left, places.record)
    if os.path.exists(places.output):
        # The run before this one ended in its last steps: the output was in its place by then.
        shutil.rmtree(f"{places.output}.unfinished", ignore_errors=True)
        record.remove()
        return left, True
    return left, False
