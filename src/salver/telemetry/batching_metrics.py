"""The metrics of batching: TensorFlow Serving's, and beside them our own.

Source: tensorflow_serving/batching/batching_session.cc and batching_util.h, for names,
labels and buckets. A metric that was never used is not on the page there, nor here.
"""

from collections.abc import Iterator

from salver.execution.batch_run import BatchRun
from salver.execution.row_counts import JoinedCounts, RowCounts
from salver.telemetry.batching_lines import BatchingLines
from salver.telemetry.metrics import Counter, Histogram, exponential_limits

_PREFIX = ":tensorflow:serving:batching_session:"
_QUEUING_LIMITS_US = exponential_limits(100, 1.2, 52)
_SIZE_LIMITS = exponential_limits(1, 2, 14)


class BatchingMetrics:
    """A `BatchObserver`. Loop only."""

    def __init__(self) -> None:
        self._queuing_latency = Histogram(
            f"{_PREFIX}queuing_latency", ("thread_pool_name",), _QUEUING_LIMITS_US
        )
        self._wrapped_run_count = Counter(f"{_PREFIX}wrapped_run_count")
        self._padding_size = Histogram(
            f"{_PREFIX}padding_size", ("execution_batch_size",), _SIZE_LIMITS
        )
        self._input_batch_size = Histogram(f"{_PREFIX}input_batch_size", (), _SIZE_LIMITS)
        self._processed_batch_size = Histogram(f"{_PREFIX}processed_batch_size", (), _SIZE_LIMITS)
        self._refused = Counter(":salver:batching:refused_request_count")
        self._ran_apart = Counter(":salver:batching:ran_apart_count", ("reason",))
        self._lines = BatchingLines()
        self._alone: dict[tuple[int, int], RowCounts] = {}
        """By inputs and most rows; what they mean for the histograms is added up later."""
        self._joined: dict[tuple[int, int], JoinedCounts] = {}
        """The same of those that were run as one on the loop."""
        self._is_used = False

    def alone(self, inputs: int, most: int) -> RowCounts:
        """See `BatchObserver`."""
        return self._alone.setdefault((inputs, most), RowCounts(most))

    def came(self, inputs: int, rows: int) -> None:
        """See `BatchObserver`."""
        self._is_used = True
        self._input_batch_size.cell(()).observe(rows, inputs)

    def joined(self, inputs: int, most: int) -> JoinedCounts:
        """See `BatchObserver`."""
        return self._joined.setdefault((inputs, most), JoinedCounts(most))

    def batch_ran(self, run: BatchRun) -> None:
        """See `BatchObserver`."""
        waits = self._queuing_latency.cell(("",))
        for entry in run.batch.entries:
            waits.observe((run.taken_at - entry.added_at) * 1e6)
        self._wrapped_run_count.increase((), len(run.run_sizes))
        for rows, size in run.run_sizes:
            self._processed_batch_size.cell(()).observe(size)
            self._padding_size.cell((str(size),)).observe(size - rows)
        if run.first_error is not None:
            self._ran_apart.increase(("unfit" if run.is_unfit else "failed",))
        if run.is_mixed:
            self._ran_apart.increase(("unlike",))
        if run.first_error is not None or run.is_mixed:
            self._lines.ran_apart(run)

    def refused(self) -> None:
        """See `BatchObserver`."""
        self._refused.increase(())

    def metrics(self) -> Iterator[Counter | Histogram]:
        """Those that have been used; none as long as nothing was batched."""
        self._add_up()
        if not self._is_used:
            return
        yield self._queuing_latency
        yield self._wrapped_run_count
        yield self._padding_size
        yield self._input_batch_size
        yield self._processed_batch_size
        yield self._refused
        yield self._ran_apart

    def _add_up(self) -> None:
        for (inputs, _), counts in self._alone.items():
            self._add_requests(counts, inputs, 0.0)
            self._add_batches(counts)
            counts.clear()
        for (inputs, _), joined in self._joined.items():
            waited_us = joined.wait_s * 1e6 / max(sum(joined.requests.values()), 1)
            self._add_requests(joined.requests, inputs, waited_us)
            self._add_batches(joined.batches)
            joined.clear()

    def _add_requests(self, counts: RowCounts, inputs: int, waited_us: float) -> None:
        for rows, count in counts.items():
            self._is_used = True
            self._queuing_latency.cell(("",)).observe(waited_us, count)
            self._input_batch_size.cell(()).observe(rows, inputs * count)

    def _add_batches(self, counts: RowCounts) -> None:
        for rows, count in counts.items():
            self._wrapped_run_count.increase((), count)
            self._processed_batch_size.cell(()).observe(rows, count)
            self._padding_size.cell((str(rows),)).observe(0, count)
