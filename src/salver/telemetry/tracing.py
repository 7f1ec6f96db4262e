"""A trace: what the server does during some seconds, request by request and run by run.

While one is on, programs are wrapped to tell when they run, and requests leave records. When
none is on, nothing of this is on the way of a request.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time_ns

import numpy as np

from salver.core.servable import Program, ServableId, TraceableProgram
from salver.execution.prepared import PreparedServable
from salver.telemetry.request_record import RequestRecord

MAX_EVENTS = 100_000
_MAX_REPORT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunSpan:
    """One run of a model."""

    thread: str
    id: ServableId
    signature: str
    """Empty for a way through the model that no signature is."""
    started_ns: int
    """Since 1970."""
    finished_ns: int
    failed: bool
    report: bytes
    """A serialized `tensorflow.RunMetadata`, empty where the backend has none."""


class Trace:
    """What was seen from `started_ns` to `finished_ns`, both since 1970."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self.requests: list[RequestRecord] = []
        self.runs: list[RunSpan] = []
        self.lost = 0
        """Requests and runs beyond the bounds."""
        self.started_ns = time_ns()
        self.finished_ns = self.started_ns
        self.is_over = False
        self._max_events = min(max_events or MAX_EVENTS, MAX_EVENTS)
        self._report_bytes = 0

    @property
    def is_empty(self) -> bool:
        return not self.requests and not self.runs

    def add(self, record: RequestRecord) -> None:
        """A request was answered, as a `RecordSink`; what ends too late is left out."""
        if self.is_over:
            return
        if len(self.requests) + len(self.runs) >= self._max_events:
            self.lost += 1
            return
        self.requests.append(record)

    def add_run(self, run: RunSpan) -> None:
        """A model has run. From any thread."""
        if self.is_over:
            return
        if (
            len(self.requests) + len(self.runs) >= self._max_events
            or self._report_bytes + len(run.report) > _MAX_REPORT_BYTES
        ):
            # Threads may count at the same time and miss one: it is told as a hint only.
            self.lost += 1
            return
        self._report_bytes += len(run.report)
        self.runs.append(run)

    def end(self) -> None:
        """Take nothing more."""
        self.is_over = True
        self.finished_ns = time_ns()


class TracedProgram:
    """A program that tells a trace of each run."""

    def __init__(
        self, program: Program, id_: ServableId, signature: str, trace: Trace, with_operations: bool
    ) -> None:
        self._program = program
        self._id = id_
        self._signature = signature
        self._trace = trace
        self._with_operations = with_operations

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Program.run`."""
        program = self._program
        report = b""
        failed = True
        started_ns = time_ns()
        try:
            if self._with_operations and isinstance(program, TraceableProgram):
                outputs, report = program.run_traced(inputs)
            else:
                outputs = program.run(inputs)
            failed = False
        finally:
            thread = threading.current_thread()
            name = "event loop" if thread is threading.main_thread() else thread.name
            run = RunSpan(name, self._id, self._signature, started_ns, time_ns(), failed, report)
            self._trace.add_run(run)
        return outputs


def begin(
    trace: Trace, servables: Iterable[tuple[ServableId, PreparedServable]], with_operations: bool
) -> list[PreparedServable]:
    """Have the programs of all these servables tell `trace`; what to give to `end`."""
    traced = []
    for id_, servable in servables:

        def wrapped(program: Program, signature: str, id_: ServableId = id_) -> Program:
            return TracedProgram(program, id_, signature, trace, with_operations)

        servable.wrap_programs(wrapped)
        traced.append(servable)
    return traced


def end(servables: Iterable[PreparedServable]) -> None:
    """Let the programs run as before."""
    for servable in servables:
        servable.unwrap_programs()
