"""A trace as a serialized `tensorflow.profiler.XSpace`, which TensorBoard's profiler shows.

Requests come on lines of their own, as many as it takes for none to overlap; runs of models on
the line of their thread, with the operations of the graph inside them.
"""

import heapq
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from salver.codecs.messages import WireMessage, message_class
from salver.errors import Code
from salver.telemetry.request_record import RequestRecord
from salver.telemetry.tracing import MAX_EVENTS, RunSpan, Trace

_HOST_PLANE = "/host:CPU"
_ENVIRONMENT_PLANE = "Task Environment"
_PS_PER_NS = 1000
_CODES = {int(code): code.name for code in Code}

_BATCH = 200
_REST_S = 0.001

Stat = int | str
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Event:
    started_ns: int
    finished_ns: int
    name: str
    display_name: str = ""
    stats: tuple[tuple[str, Stat], ...] = ()


def encode_trace(trace: Trace) -> bytes:
    """The whole trace. Takes seconds for one of many events; from any thread, once it is over."""
    space = message_class("tensorflow.profiler.XSpace")()
    space.hostnames.append(socket.gethostname())
    plane = _Plane(space.planes.add(), 1, _HOST_PLANE, trace.started_ns)
    lost = trace.lost
    requests = [_request_event(record) for record in _unhurried(trace.requests)]
    for number, lane in enumerate(_separate_lanes(requests)):
        plane.add_line(f"requests {number}", lane)
    by_thread: dict[str, list[RunSpan]] = defaultdict(list)
    for run in trace.runs:
        by_thread[run.thread].append(run)
    room = MAX_EVENTS
    for thread, runs in sorted(by_thread.items()):
        events: list[_Event] = []
        for run in _unhurried(runs):
            operations = _operations(run)
            lost += max(len(operations) - room, 0)
            events += [_run_event(run), *operations[:room]]
            room = max(room - len(operations), 0)
        for number, lane in enumerate(_nesting_lanes(events)):
            plane.add_line(f"{thread} ({number})" if number else thread, lane)
    if lost:
        space.warnings.append(f"{lost} events were beyond the bounds of the trace and are missing")
    environment = _Plane(space.planes.add(), 2, _ENVIRONMENT_PLANE, trace.started_ns)
    environment.add_stat("profile_start_time", trace.started_ns)
    environment.add_stat("profile_stop_time", trace.finished_ns)
    encoded: bytes = space.SerializeToString()
    return encoded


def _unhurried(items: Iterable[T]) -> Iterator[T]:
    """The items, with rests in which the loop has the interpreter to itself.

    It would have to wait for a thread that computes in every one of its turns.
    """
    pause = threading.Event()
    for position, item in enumerate(items):
        if position % _BATCH == _BATCH - 1:
            pause.wait(_REST_S)
        yield item


class _Plane:
    """Writes into one `XPlane`."""

    def __init__(self, plane: WireMessage, number: int, name: str, started_ns: int) -> None:
        self._plane = plane
        self._plane.id = number
        self._plane.name = name
        self._started_ns = started_ns
        self._events: dict[tuple[str, str], int] = {}
        self._stats: dict[str, int] = {}

    def add_line(self, name: str, events: Iterable[_Event]) -> None:
        line = self._plane.lines.add()
        line.id = len(self._plane.lines)
        line.name = line.display_name = name
        for event in _unhurried(events):
            entry = line.events.add()
            entry.metadata_id = self._event_id(event)
            entry.offset_ps = max(event.started_ns - self._started_ns, 0) * _PS_PER_NS
            entry.duration_ps = (event.finished_ns - event.started_ns) * _PS_PER_NS
            for key, value in event.stats:
                self._set(entry.stats.add(), key, value)

    def add_stat(self, name: str, value: int) -> None:
        stat = self._plane.stats.add()
        stat.metadata_id = self._stat_id(name)
        stat.uint64_value = value

    def _set(self, stat: WireMessage, name: str, value: Stat) -> None:
        stat.metadata_id = self._stat_id(name)
        if isinstance(value, int):
            stat.int64_value = value
        else:
            # Texts repeat: each is told once, and referred to.
            stat.ref_value = self._stat_id(value)

    def _event_id(self, event: _Event) -> int:
        key = (event.name, event.display_name)
        found = self._events.get(key)
        if found is None:
            found = self._events[key] = len(self._events) + 1
            metadata = self._plane.event_metadata[found]
            metadata.id = found
            metadata.name, metadata.display_name = _valid(event.name), _valid(event.display_name)
        return found

    def _stat_id(self, name: str) -> int:
        found = self._stats.get(name)
        if found is None:
            found = self._stats[name] = len(self._stats) + 1
            metadata = self._plane.stat_metadata[found]
            metadata.id = found
            metadata.name = _valid(name)
        return found


def _request_event(record: RequestRecord) -> _Event:
    path = record.path.partition(b"?")[0].decode("utf-8", "replace")
    verb = path.rpartition("/")[2].rpartition(":")[2]
    name = " ".join(filter(None, (record.protocol, verb, record.model)))
    stats: dict[str, Stat] = {
        "path": path,
        "status": record.status,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
    }
    if record.grpc_status is not None:
        stats["grpc_status"] = _CODES[record.grpc_status]
    if record.version is not None:
        stats["version"] = record.version
    if record.signature is not None:
        stats["signature"] = record.signature
    started_ns = record.finished_ns - int(record.latency_s * 1e9)
    return _Event(started_ns, record.finished_ns, name, stats=tuple(stats.items()))


def _run_event(run: RunSpan) -> _Event:
    name = " ".join(filter(None, (run.id.name, str(run.id.version), run.signature)))
    stats = (("failed", 1),) if run.failed else ()
    return _Event(run.started_ns, run.finished_ns, name, stats=stats)


def _operations(run: RunSpan) -> list[_Event]:
    """The operations that the backend has reported, in the order of their begin."""
    if not run.report:
        return []
    metadata = message_class("tensorflow.RunMetadata").FromString(run.report)
    events = []
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            started_ns = node.all_start_nanos or node.all_start_micros * 1000
            took_ns = node.all_end_rel_nanos or node.all_end_rel_micros * 1000
            kind = node.timeline_label.partition(" = ")[2].partition("(")[0]
            name = f"{node.node_name}:{kind}" if kind else node.node_name
            events.append(_Event(started_ns, started_ns + took_ns, name, kind))
    return sorted(events, key=lambda event: event.started_ns)


def _separate_lanes(events: Iterable[_Event]) -> list[list[_Event]]:
    """The events spread so that no two of one lane meet."""
    lanes: list[list[_Event]] = []
    free_at: list[tuple[int, int]] = []
    for event in _unhurried(sorted(events, key=lambda event: event.started_ns)):
        if free_at and free_at[0][0] <= event.started_ns:
            number = heapq.heapreplace(free_at, (event.finished_ns, free_at[0][1]))[1]
        else:
            number = len(lanes)
            lanes.append([])
            heapq.heappush(free_at, (event.finished_ns, number))
        lanes[number].append(event)
    return lanes


def _nesting_lanes(events: Iterable[_Event]) -> list[list[_Event]]:
    """The events spread so that those of one lane contain each other or do not meet."""
    lanes: list[list[_Event]] = []
    open_ends: list[list[int]] = []
    # Of two that begin together the longer one contains the other.
    ordered = sorted(events, key=lambda event: (event.started_ns, -event.finished_ns))
    for event in _unhurried(ordered):
        for lane, ends in zip(lanes, open_ends, strict=True):
            while ends and ends[-1] <= event.started_ns:
                ends.pop()
            if not ends or event.finished_ns <= ends[-1]:
                lane.append(event)
                ends.append(event.finished_ns)
                break
        else:
            lanes.append([event])
            open_ends.append([event.finished_ns])
    return lanes


def _valid(text: str) -> str:
    """Names of models and paths may hold what no protobuf string can."""
    return text.encode("utf-8", "replace").decode()
