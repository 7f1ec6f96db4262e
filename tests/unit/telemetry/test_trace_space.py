from collections.abc import Sequence
from typing import Any

from salver.codecs.messages import message_class
from salver.core.servable import ServableId
from salver.telemetry.request_record import RequestRecord
from salver.telemetry.trace_space import encode_trace
from salver.telemetry.tracing import RunSpan, Trace

ID = ServableId("m", 2)


def finished(trace: Trace) -> Trace:
    trace.end()
    return trace


def add_request(trace: Trace, start_us: int, end_us: int, path: bytes = b"/x/Predict") -> None:
    record = RequestRecord(trace, "c", "gRPC", b"POST", path, 5)
    record.asks("m", "s")
    record.end(200, 7, 0)
    record.finished_ns = trace.started_ns + end_us * 1000
    record.latency_s = (end_us - start_us) / 1e6


def add_run(
    trace: Trace, start_us: int, end_us: int, thread: str = "worker-0", report: bytes = b""
) -> None:
    base = trace.started_ns
    start_ns, end_ns = base + start_us * 1000, base + end_us * 1000
    trace.add_run(RunSpan(thread, ID, "s", start_ns, end_ns, False, report))


def report(trace: Trace, *nodes: tuple[str, str, int, int]) -> bytes:
    """Of nodes with name, label, and begin and end in microseconds from that of the trace."""
    metadata = message_class("tensorflow.RunMetadata")()
    device = metadata.step_stats.dev_stats.add()
    for name, label, start_us, end_us in nodes:
        node = device.node_stats.add(node_name=name, timeline_label=label)
        node.all_start_nanos = trace.started_ns + start_us * 1000
        node.all_end_rel_nanos = (end_us - start_us) * 1000
    content: bytes = metadata.SerializeToString()
    return content


def decoded(trace: Trace) -> Any:
    return message_class("tensorflow.profiler.XSpace").FromString(encode_trace(finished(trace)))


def lines(space: Any) -> dict[str, list[tuple[str, int, int]]]:
    """Name, begin and end, in microseconds, of the events of each line of the host."""
    plane = space.planes[0]
    return {
        line.name: [
            (
                plane.event_metadata[event.metadata_id].name,
                event.offset_ps // 10**6,
                (event.offset_ps + event.duration_ps) // 10**6,
            )
            for event in line.events
        ]
        for line in plane.lines
    }


def test_requests_that_overlap_are_on_lines_of_their_own() -> None:
    trace = Trace()
    for start, end in ((0, 100), (10, 20), (30, 200), (150, 160), (160, 170)):
        add_request(trace, start, end)
    spans: dict[str, Sequence[tuple[int, int]]] = {
        name: [(start, end) for _, start, end in events]
        for name, events in lines(decoded(trace)).items()
    }
    assert spans == {
        "requests 0": [(0, 100), (150, 160), (160, 170)],
        "requests 1": [(10, 20), (30, 200)],
    }


def test_a_request_is_named_after_what_was_asked_of_which_model() -> None:
    trace = Trace()
    add_request(trace, 0, 1, b"/tensorflow.serving.PredictionService/Predict")
    add_request(trace, 2, 3, b"/v1/models/m:classify?x=1")
    names = [name for name, _, _ in lines(decoded(trace))["requests 0"]]
    assert names == ["gRPC Predict m", "gRPC classify m"]


def test_operations_lie_in_their_run_on_the_line_of_the_thread() -> None:
    trace = Trace()
    content = report(
        trace, ("b", "b = MatMul(a)", 30, 40), ("a", "a = Const()", 20, 25), ("odd", "", 50, 50)
    )
    add_run(trace, 10, 90, report=content)
    add_run(trace, 15, 60, thread="event loop")
    assert lines(decoded(trace)) == {
        "event loop": [("m 2 s", 15, 60)],
        "worker-0": [
            ("m 2 s", 10, 90), ("a:Const", 20, 25), ("b:MatMul", 30, 40), ("odd", 50, 50),
        ],
    }  # fmt: skip


def test_operations_that_run_side_by_side_get_a_line_more() -> None:
    trace = Trace()
    content = report(trace, ("a", "a = A()", 20, 40), ("b", "b = B()", 30, 50))
    add_run(trace, 10, 90, report=content)
    assert lines(decoded(trace)) == {
        "worker-0": [("m 2 s", 10, 90), ("a:A", 20, 40)],
        "worker-0 (1)": [("b:B", 30, 50)],
    }


def test_the_times_of_the_trace_and_what_was_lost_are_told() -> None:
    trace = Trace(max_events=2)
    for start in range(5):
        add_request(trace, start * 10, start * 10 + 1)
    space = decoded(trace)
    assert list(space.warnings) == ["3 events were beyond the bounds of the trace and are missing"]
    environment = space.planes[1]
    stats = {
        environment.stat_metadata[stat.metadata_id].name: stat.uint64_value
        for stat in environment.stats
    }
    assert stats == {
        "profile_start_time": trace.started_ns,
        "profile_stop_time": trace.finished_ns,
    }
    assert len(space.hostnames) == 1


def test_texts_are_told_once_and_referred_to() -> None:
    trace = Trace()
    for start in range(3):
        add_request(trace, start * 10, start * 10 + 1)
    plane = decoded(trace).planes[0]
    assert len(plane.event_metadata) == 1
    names = [metadata.name for metadata in plane.stat_metadata.values()]
    assert names.count("/x/Predict") == 1
    (line,) = plane.lines
    stats = {
        plane.stat_metadata[s.metadata_id].name: s.WhichOneof("value") for s in line.events[1].stats
    }
    assert stats["path"] == stats["grpc_status"] == "ref_value"
    assert stats["status"] == "int64_value"


def test_names_that_no_text_can_hold_do_not_end_the_trace() -> None:
    trace = Trace()
    record = RequestRecord(trace, "c", "HTTP/1.1", b"GET", b"/\xff", 0)
    record.asks("m\udcff")
    record.end(404, 0)
    (events,) = lines(decoded(trace)).values()
    assert len(events) == 1


def test_what_ends_after_the_trace_is_left_out() -> None:
    trace = finished(Trace())
    assert trace.is_empty
    add_request(trace, 0, 1)
    add_run(trace, 0, 1)
    assert trace.is_empty
    assert trace.lost == 0
