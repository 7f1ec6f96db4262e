"""Profiling: tracing the server for a while, and summing up what it did meanwhile."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import time_ns
from typing import Protocol

from salver.core.servable import ServableId
from salver.errors import Code, InternalError
from salver.execution.prepared import PreparedServable
from salver.telemetry import tracing
from salver.telemetry.request_record import RecordSink
from salver.telemetry.serving_metrics import ServingMetrics
from salver.telemetry.tracing import Trace

logger = logging.getLogger(__name__)

_EVERY_REQUEST, _EVERY_OPERATION = 1, 2


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What to trace, and when."""

    duration_s: float
    starts_at_ns: int = 0
    """Since 1970; what lies in the past means now."""
    level: int = _EVERY_OPERATION
    """As TensorFlow's: 0 nothing, 1 requests and runs, 2 and more their operations too."""
    max_events: int = tracing.MAX_EVENTS


class Servables(Protocol):
    """Who knows the versions that answer; the manager."""

    def available(self) -> list[tuple[ServableId, PreparedServable]]:
        """All of them, now."""


class Profiling:
    """The use case. Loop only."""

    def __init__(
        self,
        servables: Servables,
        keep_records: Callable[[RecordSink | None], None],
        metrics: ServingMetrics,
    ) -> None:
        """`keep_records` has records of requests sent to a sink, until it is called with None."""
        self._servables = servables
        self._keep_records = keep_records
        self._metrics = metrics
        self._is_tracing = False

    async def trace(self, options: TraceOptions, ended: asyncio.Event) -> Trace:
        """Trace for so long, or until `ended`.

        Raises:
            InternalError: another trace is on; in the words of TensorFlow.
        """
        if self._is_tracing:
            raise InternalError("Another profiling session active.")
        self._is_tracing = True
        try:
            early_s = (options.starts_at_ns - time_ns()) / 1e9
            if early_s > 0:
                await _wait(early_s, ended)
            return await self._trace(options, ended)
        finally:
            self._is_tracing = False

    async def _trace(self, options: TraceOptions, ended: asyncio.Event) -> Trace:
        logger.info("A trace of %d ms begins", round(options.duration_s * 1e3))
        trace = Trace(options.max_events)
        traced: list[PreparedServable] = []
        try:
            if options.level >= _EVERY_REQUEST:
                self._keep_records(trace)
                with_operations = options.level >= _EVERY_OPERATION
                traced = tracing.begin(trace, self._servables.available(), with_operations)
            await _wait(options.duration_s, ended)
        finally:
            trace.end()
            self._keep_records(None)
            tracing.end(traced)
        return trace

    async def monitor(
        self, duration_s: float, with_time: bool, each_model: bool, ended: asyncio.Event
    ) -> str:
        """A summary, for a person, of what happens during so many seconds, or until `ended`."""
        loop_time = asyncio.get_running_loop().time
        started, before = loop_time(), _Totals(self._metrics)
        await _wait(duration_s, ended)
        after, elapsed_s = _Totals(self._metrics), max(loop_time() - started, 1e-3)
        lines = [f"Timestamp: {datetime.now():%H:%M:%S}"] if with_time else []
        answered = after.requests - before.requests
        failed = after.failures - before.failures
        lines.append(f"Requests: {answered / elapsed_s:.1f}/s, {failed} of {answered} failed")
        runs = after.run_count - before.run_count
        busy = (after.run_s - before.run_s) / elapsed_s
        lines.append(f"Runs of models: {runs / elapsed_s:.1f}/s, {busy:.2f} at a time on average")
        if each_model:
            lines += _model_lines(before.runs, after.runs)
        return "".join(f"{line}\n" for line in lines)


async def _wait(seconds: float, ended: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), max(seconds, 0.0))


class _Totals:
    """The figures of the metrics at one moment."""

    def __init__(self, metrics: ServingMetrics) -> None:
        counts = metrics.request_count.values()
        self.requests = sum(counts.values())
        self.failures = sum(n for (_, status), n in counts.items() if status != Code.OK.name)
        self.runs = metrics.runs.totals()
        self.run_count = sum(count for count, _ in self.runs.values())
        self.run_s = sum(seconds for _, seconds in self.runs.values())


def _model_lines(
    before: Mapping[str, tuple[int, float]], after: Mapping[str, tuple[int, float]]
) -> list[str]:
    lines = []
    for model, (count, seconds) in sorted(after.items()):
        old_count, old_seconds = before.get(model, (0, 0.0))
        if runs := count - old_count:
            mean_ms = (seconds - old_seconds) / runs * 1e3
            lines.append(f"  {model}: {runs} runs, {mean_ms:.3f} ms each on average")
    return lines
