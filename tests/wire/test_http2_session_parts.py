"""Requests read while they are being sent, and notices that are known to be read."""

from dataclasses import dataclass, field

import pytest

from salver._http2 import Session
from tests.wire.http2_client import (
    ACK,
    DATA,
    GOAWAY,
    PING,
    STATUS,
    TRAILERS,
    Client,
    Headers,
    Notes,
    frame,
    frames,
    goaway_code,
    reset_codes,
    serve,
)

STREAMED = b"/streamed"
PATH = [(b":path", STREAMED)]
CANCEL, CALM = 8, 11


@dataclass
class Parts(Notes):
    """A handler that also notes the parts of streamed requests, and whether a notice was read."""

    begun: list[int] = field(default_factory=list)
    parts: list[tuple[bytes, bool]] = field(default_factory=list)
    read: int = 0

    def on_stream(self, stream_id: int, headers: Headers) -> None:
        assert (b":path", STREAMED) in headers
        self.begun.append(stream_id)

    def on_part(self, stream_id: int, part: bytes, ended: bool) -> None:
        self.parts.append((part, ended))

    def on_notice_read(self) -> None:
        self.read += 1


def streaming(**options: int) -> tuple[Client, Parts]:
    notes = Parts()
    client, _ = serve(notes, streaming_paths=[STREAMED], **options)
    return client, notes


def begin(client: Client, *, end: bool = False) -> int:
    """Send the headers of a request to the streamed path."""
    stream_id: int = client.connection.get_next_available_stream_id()
    headers = [(b":method", b"POST"), (b":scheme", b"http"), *PATH, (b":authority", b"a")]
    client.connection.send_headers(stream_id, headers, end_stream=end)
    client.session.feed(client.take())
    return stream_id


def send(client: Client, stream_id: int, data: bytes, *, end: bool = False) -> None:
    client.connection.send_data(stream_id, data, end_stream=end)
    client.session.feed(client.take())


def test_a_streamed_request_is_told_of_when_its_headers_are_there() -> None:
    client, notes = streaming()
    stream_id = begin(client)
    assert notes.begun == [stream_id]
    assert (notes.requests, notes.parts) == ({}, [])


def test_its_parts_come_as_they_are_sent_and_the_last_one_is_marked() -> None:
    client, notes = streaming()
    stream_id = begin(client)
    send(client, stream_id, b"one")
    assert notes.parts == [(b"one", False)]
    send(client, stream_id, b"x" * 10_000)
    send(client, stream_id, b"last", end=True)
    assert notes.parts[1:] == [(b"x" * 10_000, False), (b"last", True)]
    assert notes.requests == {}
    assert client.session.buffered_bytes == 0


def test_the_end_may_come_alone_and_with_the_headers() -> None:
    client, notes = streaming()
    send(client, begin(client), b"", end=True)
    begin(client, end=True)
    assert notes.parts == [(b"", True)] * 2


@pytest.mark.parametrize("cached", [False, True])
def test_other_paths_come_whole_as_ever(cached: bool) -> None:
    client, notes = streaming()
    for _ in range(1 + cached):
        begin(client, end=True)
        stream_id = client.request(b"part", end=False)
        client.exchange()
        send(client, stream_id, b" by part", end=True)
        assert notes.requests[stream_id][1] == b"part by part"
    assert len(notes.begun) == 1 + cached


def test_an_answer_may_begin_before_the_request_has_ended() -> None:
    client, _ = streaming()
    stream_id = begin(client)
    response = client.responses.setdefault(stream_id, type(client.get())())
    client.session.start_response(stream_id, STATUS)
    client.session.send(stream_id, b"early")
    client.exchange()
    assert (bytes(response.body), response.ended) == (b"early", False)
    send(client, stream_id, b"more")
    client.session.finish(stream_id, TRAILERS)
    client.exchange()
    assert response.ended


def test_after_the_end_of_the_answer_no_part_comes() -> None:
    client, notes = streaming()
    stream_id = begin(client)
    client.session.respond(stream_id, STATUS, b"enough", TRAILERS)
    send(client, stream_id, b"more", end=True)
    assert notes.parts == []
    assert client.session.buffered_bytes == 0


def test_an_answer_before_the_end_of_the_request_tells_the_peer_to_stop() -> None:
    client, _ = streaming()
    stream_id = begin(client)
    client.session.respond(stream_id, STATUS, b"enough", TRAILERS)
    assert reset_codes(b"".join(client.session.data_to_send())) == {stream_id: 0}
    assert client.session.open_streams == 0


def test_a_streamed_request_that_is_reset_is_reported() -> None:
    client, notes = streaming()
    stream_id = begin(client)
    client.connection.reset_stream(stream_id, CANCEL)
    client.exchange()
    assert notes.closed == {stream_id: CANCEL}
    assert client.session.open_streams == 0


def test_one_part_may_not_be_larger_than_a_body() -> None:
    client, notes = streaming(max_body_bytes=100)
    stream_id = begin(client)
    for _ in range(5):
        send(client, stream_id, bytes(100))
    assert len(notes.parts) == 5
    send(client, stream_id, bytes(101))
    assert notes.overflows == [stream_id]
    assert len(notes.parts) == 5


def test_empty_parts_without_end_cut_the_stream() -> None:
    client, notes = streaming()
    stream_id = begin(client)
    client.session.feed(frame(DATA, 0, stream_id) * 2000)
    assert notes.parts == []
    assert reset_codes(b"".join(client.session.data_to_send())) == {stream_id: CALM}


def test_who_ends_streams_that_were_answered_is_not_sent_away() -> None:
    client, notes = streaming(max_cancellations=5)
    for _ in range(20):
        stream_id = begin(client)
        client.session.start_response(stream_id, STATUS)
        client.session.send(stream_id, b"state")
        client.session.data_to_send()
        client.connection.reset_stream(stream_id, CANCEL)
        client.session.feed(client.take())
    assert len(notes.closed) == 20
    assert client.session.want_read


def test_who_ends_streams_before_they_are_answered_is_sent_away() -> None:
    client, notes = streaming(max_cancellations=5)
    sent = b""
    for _ in range(20):
        stream_id = client.connection.get_next_available_stream_id()
        headers = [(b":method", b"POST"), (b":scheme", b"http"), *PATH, (b":authority", b"a")]
        client.connection.send_headers(stream_id, headers)
        client.connection.reset_stream(stream_id, CANCEL)
        sent += client.take()
    client.session.feed(sent)
    assert len(notes.begun) == 6
    assert goaway_code(b"".join(client.session.data_to_send())) == CALM


@pytest.mark.parametrize("method", ["on_stream", "on_part", "on_notice_read"])
def test_what_a_callback_raises_comes_out_of_feed(method: str) -> None:
    notes = Parts()

    def fail(*_: object) -> None:
        raise KeyError("mine")

    setattr(notes, method, fail)
    client, _ = serve(notes, streaming_paths=[STREAMED])
    client.session.shutdown_notice()
    client.session.data_to_send()
    stream_id = client.connection.get_next_available_stream_id()
    headers = [(b":method", b"POST"), (b":scheme", b"http"), *PATH, (b":authority", b"a")]
    client.connection.send_headers(stream_id, headers)
    client.connection.send_data(stream_id, b"part")
    pong = frame(PING, ACK, 0, bytes(8))
    with pytest.raises(KeyError, match="mine"):
        client.session.feed(client.take() + pong)
    assert goaway_code(b"".join(client.session.data_to_send())) == 2


def test_a_notice_is_read_when_the_peer_says_so() -> None:
    client, notes = streaming()
    client.session.shutdown_notice()
    data = b"".join(client.session.data_to_send())
    assert [kind for kind, _, _, _ in frames(data)] == [GOAWAY, PING]
    client.session.feed(client.take())
    assert notes.read == 0
    client.session.feed(frame(PING, ACK, 0, frames(data)[-1][3]))
    assert notes.read == 1


def test_pongs_that_nobody_asked_for_are_ignored() -> None:
    client, notes = streaming()
    client.session.feed(frame(PING, ACK, 0, bytes(8)) * 100)
    client.session.feed(frame(PING, 0, 0, bytes(8)))
    assert notes.read == 0
    assert client.session.want_read


def test_streaming_paths_need_a_handler_of_parts() -> None:
    with pytest.raises(AttributeError, match="on_stream"):
        Session(Notes(), streaming_paths=[STREAMED])
