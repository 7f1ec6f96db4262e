"""Our own load generator speaks HTTP/2 as servers do, and counts what came, and when."""

from collections.abc import Sequence
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import numpy as np
import pytest
from hpack import Encoder

from benchmarks.client import floats_of_response, predict_request
from benchmarks.driver.connection import Connection, Finished
from benchmarks.driver.frames import ProtocolProblem, StatusReader, request_headers
from benchmarks.driver.loads import OpenLoad, poisson
from benchmarks.driver.record import Record, Requests, read_requests, save_requests
from salver.codecs.messages import message_class

ANSWER_BYTES = 10
OPENING = [(":status", "200"), ("content-type", "application/grpc")]


class Peer:
    """The server's side, by another implementation of HTTP/2."""

    def __init__(self, client: Connection, **settings: int) -> None:
        self.client = client
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        codes = h2.settings.SettingCodes
        values = {codes[name.upper()]: value for name, value in settings.items()}
        self.server.local_settings = h2.settings.Settings(client=False, initial_values=values)
        self.server.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.headers: list[dict[str, str]] = []
        self.ended: list[int] = []
        self.exchange()

    def exchange(self, *, acknowledges: bool = True) -> list[Finished]:
        """Carry bytes to and fro until nobody has any; what the client says is finished."""
        finished: list[Finished] = []
        while True:
            to_client, to_server = self.server.data_to_send(), self.client.take_output()
            if not to_client and not to_server:
                return finished
            finished += self.client.receive(to_client)
            for event in self.server.receive_data(to_server):
                self._note(event, acknowledges)

    def _note(self, event: h2.events.Event, acknowledges: bool) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.headers.append({_text(n): _text(v) for n, v in event.headers})
            self.bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            if acknowledges:
                self.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.append(event.stream_id)

    def answer(self, stream: int, body: bytes, status: int = 0) -> None:
        self.server.send_headers(stream, OPENING)
        self.server.send_data(stream, body)
        self.server.send_headers(stream, [("grpc-status", str(status))], end_stream=True)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


def connection(timeout_ms: int | None = None) -> Connection:
    return Connection(request_headers("/service/Method", 80, timeout_ms))


def test_calls_are_answered_in_any_order_each_by_its_own_bytes() -> None:
    client = connection()
    peer = Peer(client)
    for number in range(3):
        client.begin(number, b"body %d" % number, keep=number == 1)
    assert peer.exchange() == []
    assert list(peer.bodies.values()) == [b"body 0", b"body 1", b"body 2"]
    assert client.under_way == 3
    for stream in (5, 1, 3):
        peer.answer(stream, b"answer to %d" % stream)
    assert peer.exchange() == [(2, 0, 11, None), (0, 0, 11, None), (1, 0, 11, b"answer to 3")]
    assert client.under_way == 0


def test_every_call_has_the_headers_of_grpc_and_says_how_long_it_waits() -> None:
    client = connection(timeout_ms=50)
    peer = Peer(client)
    for number in range(3):
        client.begin(number, b"body")
    peer.exchange()
    expected = dict(request_headers("/service/Method", 80, 50))
    assert expected["grpc-timeout"] == "50m"
    assert peer.headers == [expected] * 3


def test_an_error_without_an_answer_and_one_after_it_are_told_from_answers() -> None:
    client = connection()
    peer = Peer(client)
    for number in range(3):
        client.begin(number, b"body")
    peer.exchange()
    error = [*OPENING, ("grpc-status", "14"), ("grpc-message", "the queue is full")]
    peer.server.send_headers(1, error, end_stream=True)
    peer.answer(3, b"half an answer", status=13)
    peer.server.send_headers(5, [(":status", "404")], end_stream=True)
    assert [(number, status) for number, status, _, _ in peer.exchange()] == [
        *((0, 14), (1, 13), (2, 2)),
    ]


def test_a_stream_that_the_server_refuses_counts_as_unavailable() -> None:
    client = connection()
    peer = Peer(client)
    client.begin(0, b"body")
    client.begin(1, b"body")
    peer.exchange()
    peer.server.reset_stream(1, error_code=7)
    peer.server.reset_stream(3, error_code=2)
    assert peer.exchange() == [(0, 14, 0, None), (1, 2, 0, None)]


def test_no_more_calls_are_under_way_than_the_server_allows() -> None:
    client = connection()
    peer = Peer(client, max_concurrent_streams=2)
    assert (client.is_ready, client.max_streams) == (True, 2)
    for number in range(2):
        assert client.has_room
        client.begin(number, b"body")
    assert not client.has_room
    peer.exchange()
    peer.answer(1, b"answer")
    peer.exchange()
    assert client.has_room


def test_a_body_larger_than_all_windows_arrives_whole_as_they_open() -> None:
    client = connection()
    peer = Peer(client, initial_window_size=20_000)
    bodies = [bytes([number]) * 150_000 for number in (1, 2)]
    for number, body in enumerate(bodies):
        client.begin(number, body)
    peer.exchange()
    assert list(peer.bodies.values()) == bodies
    assert peer.ended == [1, 3]


def test_nothing_is_sent_beyond_the_windows_of_the_server() -> None:
    client = connection()
    peer = Peer(client, initial_window_size=20_000)
    for number in range(5):
        client.begin(number, bytes(30_000))
    # A peer that were sent more would raise; the connection itself has 65,535 bytes.
    peer.exchange(acknowledges=False)
    assert [len(body) for body in peer.bodies.values()] == [20_000, 20_000, 20_000, 5_535, 0]
    client.begin(5, bytes(10))
    peer.exchange(acknowledges=False)
    assert peer.bodies[11] == b""
    assert peer.ended == []


def test_a_server_that_gives_up_the_connection_is_reported_in_its_own_words() -> None:
    client = connection()
    peer = Peer(client)
    peer.server.close_connection(additional_data=b"too many")
    with pytest.raises(ProtocolProblem, match="too many"):
        peer.exchange()


def test_bytes_that_come_one_by_one_make_the_same_answers() -> None:
    client = connection()
    peer = Peer(client)
    for number in range(2):
        client.begin(number, b"body")
    peer.exchange()
    peer.answer(1, b"answer")
    peer.answer(3, b"answer", status=8)
    data = peer.server.data_to_send()
    finished = [done for byte in data for done in client.receive(bytes([byte]))]
    assert finished == [(0, 0, 6, None), (1, 8, 6, None)]


def test_a_block_that_changes_the_table_changes_what_references_mean() -> None:
    encoder, reader = Encoder(), StatusReader()
    for status in ("0", "0", "14", "0", "14", "5", "0", "0", "14", "14"):
        block = encoder.encode([("grpc-status", status)])
        assert reader.status(block) == int(status)
    assert reader.status(encoder.encode(OPENING)) is None


def requests(count: int = 2) -> Requests:
    expected = [np.full((1, 1), number, np.float32) for number in range(count)]
    bodies = [b"body %d" % number for number in range(count)]
    return Requests(bodies, expected, "y", 5 + len(answer(0)))


def answer(number: float) -> bytes:
    """A PredictResponse of one float."""
    request = message_class("tensorflow.serving.PredictRequest")()
    values = np.full((1, 1), number, np.float32)
    request.ParseFromString(predict_request("m", "x", values, packed_values=False))
    response = message_class("tensorflow.serving.PredictResponse")()
    response.outputs["y"].CopyFrom(request.inputs["x"])
    assert floats_of_response(response.SerializeToString(), "y") == number
    return response.SerializeToString()


def figures(outcomes: Sequence[tuple[int, int | None]], limit_s: float = 1.0) -> dict[str, float]:
    """Of calls with these statuses, answered at once by what answers call number n, if anything."""
    record = Record(requests(), len(outcomes))
    for number, (status, answered) in enumerate(outcomes):
        body = b"" if answered is None else bytes(5) + answer(answered)
        record.finish([(number, status, len(body), body)], 0.25)
    return record.figures(limit_s)


def test_every_outcome_is_counted_once() -> None:
    seen = figures([(0, 0), (0, 1), (14, None), (4, None), (8, None), (13, None), (-1, None)])
    counted = ("answered", "in_time", "refused", "expired", "failed", "wrong")
    assert [seen[part] for part in counted] == [2, 2, 1, 2, 2, 0]


def test_an_answer_of_the_wrong_size_or_to_another_request_is_wrong() -> None:
    assert figures([(0, 0), (0, None)])["wrong"] == 1
    assert figures([(0, 0), (0, 0)])["wrong"] == 1


def test_latency_counts_from_when_a_call_was_due_not_from_when_it_was_sent() -> None:
    record = Record(requests(), 2)
    record.due = np.array([0.0, 0.1])
    record.sent_at = [0.0, 0.5]
    body = bytes(5) + answer(0)
    record.finish([(0, 0, len(body), None)], 0.2)
    record.finish([(1, 0, len(body), None)], 0.6)
    seen = record.figures(limit_s=0.3)
    assert seen["mean_ms"] == pytest.approx((200 + 500) / 2)
    assert (seen["answered"], seen["in_time"]) == (2, 1)
    assert seen["send_lag_p99_ms"] == pytest.approx(400, rel=0.02)


def test_requests_are_read_as_they_were_saved(tmp_path: Path) -> None:
    original = requests(3)
    path = tmp_path / "some.requests"
    save_requests(path, original.bodies, original.expected)
    again = read_requests(path, "y", original.answer_bytes)
    assert list(again.bodies) == list(original.bodies)
    np.testing.assert_array_equal(again.expected, original.expected)


def test_arrivals_come_at_the_rate_asked_for_and_know_nothing_of_each_other() -> None:
    times = poisson(1000.0, 50_000, seed=3)
    gaps = np.diff(times)
    assert times[-1] == pytest.approx(50.0, rel=0.02)
    # As the gaps of a Poisson process: as wide on average as they vary.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    np.testing.assert_array_equal(times, poisson(1000.0, 50_000, seed=3))


def test_an_open_load_begins_what_is_due_even_before_anything_is_answered() -> None:
    load = OpenLoad(requests(), np.array([0.0, 0.1, 0.2, 0.3]), limit_s=0.5)
    line = FakeLine()
    load.begin_due([line], 0.1)
    assert line.begun == [0, 1]
    load.begin_due([line], 0.25)
    assert line.begun == [0, 1, 2]


def test_a_call_that_no_connection_has_room_for_waits_and_is_given_up_in_time() -> None:
    load = OpenLoad(requests(), np.array([0.0, 0.1, 0.2]), limit_s=0.5)
    line = FakeLine(room=1)
    load.begin_due([line], 0.2)
    assert line.begun == [0]
    line.room = 1
    load.begin_due([line], 0.65)
    assert line.begun == [0, 2]
    seen = load.record.figures(0.5)
    assert (seen["expired"], seen["failed"]) == (1, 2)


class FakeLine:
    """A line whose connection takes `room` more calls."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.begun: list[int] = []
        self.connection = self

    @property
    def has_room(self) -> bool:
        return self.room > 0

    def begin(self, number: int, body: bytes, *, keep: bool = False) -> None:
        self.begun.append(number)
        self.room -= 1
