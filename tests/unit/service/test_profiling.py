import asyncio
import time

import pytest

from salver.core.servable import ServableId
from salver.errors import Code, InternalError
from salver.execution.prepared import PreparedServable
from salver.service.profiling import Profiling, TraceOptions
from salver.telemetry.request_record import RecordSink
from salver.telemetry.serving_metrics import ServingMetrics
from salver.telemetry.tracing import TracedProgram
from tests.unit.telemetry.signatures import NeverRun

ID = ServableId("m", 1)
FOR_EVER = TraceOptions(3600.0)


class Site:
    """Profiling of one version; remembers who gets the records of requests."""

    def __init__(self) -> None:
        self.servable = PreparedServable(NeverRun("s"))
        self.metrics = ServingMetrics()
        self.sinks: list[RecordSink | None] = []
        self.profiling = Profiling(self, self.sinks.append, self.metrics)
        self.ended = asyncio.Event()

    def available(self) -> list[tuple[ServableId, PreparedServable]]:
        return [(ID, self.servable)]

    @property
    def is_traced(self) -> bool:
        program = self.servable.signatures["s"].executable.program
        return isinstance(program, TracedProgram)


async def begun(site: Site, options: TraceOptions = FOR_EVER) -> "asyncio.Task[object]":
    task: asyncio.Task[object] = asyncio.create_task(site.profiling.trace(options, site.ended))
    await asyncio.sleep(0)
    return task


async def test_programs_and_requests_are_traced_until_it_ends() -> None:
    site = Site()
    task = await begun(site)
    assert site.is_traced
    assert site.sinks[0] is not None
    site.ended.set()
    trace = await task
    assert site.sinks == [trace, None]
    assert not site.is_traced


async def test_a_trace_ends_by_itself() -> None:
    site = Site()
    trace = await site.profiling.trace(TraceOptions(0.01), site.ended)
    assert trace.is_over
    assert trace.finished_ns - trace.started_ns >= 10**7
    assert not site.is_traced


async def test_a_trace_that_is_given_up_leaves_nothing_behind() -> None:
    site = Site()
    task = await begun(site)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert site.sinks[-1] is None
    assert not site.is_traced
    await site.profiling.trace(TraceOptions(0.0), site.ended)


async def test_there_is_one_trace_at_a_time() -> None:
    site = Site()
    task = await begun(site)
    with pytest.raises(InternalError, match="Another profiling session"):
        await site.profiling.trace(FOR_EVER, asyncio.Event())
    assert site.is_traced
    site.ended.set()
    await task


async def test_a_trace_waits_for_its_begin_which_counts_as_being_on() -> None:
    site = Site()
    an_hour_ahead = time.time_ns() + 3600 * 10**9
    task = await begun(site, TraceOptions(3600.0, an_hour_ahead))
    assert not site.is_traced
    with pytest.raises(InternalError):
        await site.profiling.trace(FOR_EVER, asyncio.Event())
    site.ended.set()
    trace = await task
    assert site.sinks == [trace, None]


async def test_a_begin_in_the_past_means_now() -> None:
    site = Site()
    task = await begun(site, TraceOptions(3600.0, 5))
    await asyncio.sleep(0)
    assert site.is_traced
    site.ended.set()
    await task


async def test_a_level_of_nothing_touches_nothing() -> None:
    site = Site()
    task = await begun(site, TraceOptions(3600.0, level=0))
    assert not site.is_traced
    site.ended.set()
    await task
    assert site.sinks == [None]


async def test_the_summary_is_of_what_happened_meanwhile() -> None:
    site = Site()
    signature = site.servable.signatures["s"]
    site.metrics.request_succeeded("m", "Predict", "GRPC", 0.0)
    site.metrics.runs.ran(ID, signature, "Predict", 7.0)
    task = asyncio.create_task(site.profiling.monitor(3600.0, False, True, site.ended))
    await asyncio.sleep(0)
    for _ in range(3):
        site.metrics.request_succeeded("m", "Predict", "GRPC", 0.0)
        site.metrics.runs.ran(ID, signature, "Predict", 0.002)
    site.metrics.request_failed("n", Code.NOT_FOUND)
    site.ended.set()
    requests, runs, model = (await task).splitlines()
    assert requests.endswith("/s, 1 of 4 failed")
    assert runs.startswith("Runs of models: ")
    assert model == "  m: 3 runs, 2.000 ms each on average"


async def test_the_summary_is_short_and_has_the_time_if_that_is_asked_for() -> None:
    site = Site()
    site.ended.set()
    lines = (await site.profiling.monitor(0.0, True, False, site.ended)).splitlines()
    assert [line.split(":")[0] for line in lines] == ["Timestamp", "Requests", "Runs of models"]
