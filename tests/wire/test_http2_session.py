"""Requests and answers through a session, with the `h2` library as the client."""

import pytest

from salver._http2 import Session, SessionError
from tests.wire.http2_client import (
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE,
    REQUEST,
    SETTINGS,
    STATUS,
    TRAILERS,
    Client,
    Headers,
    Notes,
    echo,
    frame,
    frames,
    serve,
    wants,
)


def test_a_request_is_answered_with_headers_body_and_trailers() -> None:
    client, notes = serve()
    response = client.get(b"ask")
    assert notes.requests == {1: (REQUEST, b"ask")}
    assert response.headers == list(STATUS)
    assert response.body == b"ask"
    assert response.trailers == list(TRAILERS)
    assert response.ended
    assert response.reset is None
    assert notes.closed == {}
    assert client.session.open_streams == 0


@pytest.mark.parametrize("window", [1, 100, 65_535, 2**31 - 1])
@pytest.mark.parametrize("size", [0, 1, 4095, 16_384, 16_385])
def test_a_body_comes_back_as_it_was_sent(size: int, window: int) -> None:
    client, notes = serve(window=window)
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    response = client.get(body)
    assert notes.requests[1][1] == body
    assert response.body == body
    assert response.trailers == list(TRAILERS)


@pytest.mark.parametrize(
    ("size", "window", "our_window"),
    [
        (1_000_000, 2**31 - 1, 2**24),
        (1_000_000, 65_535, 65_535),
        (1_000_000, 5000, 5000),
        (20_000_000, 2**31 - 1, 2**24),
        pytest.param(20_000_000, 65_535, 65_535, marks=pytest.mark.slow),
    ],
)
def test_a_large_body_passes_windows_of_any_size(size: int, window: int, our_window: int) -> None:
    client, notes = serve(
        window=window, window_bytes=our_window, connection_window_bytes=max(our_window, 65_535)
    )
    body = bytes(range(250)) * (size // 250)
    response = client.get(body)
    assert notes.requests[1][1] == body
    assert response.body == body
    assert response.ended
    assert client.session.buffered_bytes == 0


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_the_pieces_in_which_bytes_arrive_do_not_matter(piece: int) -> None:
    client, notes = serve(piece=piece)
    body = bytes(range(256)) * 100
    ids = [client.request(body[:size]) for size in (0, 5, 1000, 25_600)]
    client.exchange()
    for stream_id in ids:
        assert notes.requests[stream_id][0] == REQUEST
        assert client.responses[stream_id].body == notes.requests[stream_id][1]
        assert client.responses[stream_id].ended
    assert [len(body) for _, body in notes.requests.values()] == [0, 5, 1000, 25_600]


def test_many_requests_in_one_feed_are_answered_in_one_chunk() -> None:
    client, notes = serve()
    for number in range(50):
        client.request(b"%d" % number)
    client.session.feed(client.take())
    assert [body for _, body in notes.requests.values()] == [b"%d" % n for n in range(50)]
    assert [type(chunk) for chunk in client.session.data_to_send()] == [bytes]


def test_any_buffer_is_fed_and_sent() -> None:
    notes = Notes()
    notes.session = session = Session(notes)
    client = Client(session)
    stream_id = client.request(b"abc")
    data = client.take()
    session.feed(bytearray(data[:50]))
    session.feed(memoryview(data)[50:])
    session.respond(stream_id, list(STATUS), memoryview(b"abcdef").cast("H"), list(TRAILERS))
    client.exchange()
    assert client.responses[stream_id].body == b"abcdef"


def test_headers_sent_again_and_again_arrive_the_same() -> None:
    client, notes = serve()
    changing = [[(b"x-number", b"%d" % (n % 7)), (b"x-once", b"%d" % n)] for n in range(300)]
    for fields in changing:
        client.get(headers=fields)
    assert [headers for headers, _ in notes.requests.values()] == [REQUEST + f for f in changing]


def test_long_header_values_arrive_whole() -> None:
    client, notes = serve()
    fields = [(b"x-long", b"v" * size) for size in (900, 1100, 5000, 20_000)]
    for _ in range(3):
        client.get(headers=fields)
    assert all(headers == REQUEST + fields for headers, _ in notes.requests.values())


def test_an_announced_length_is_no_promise_to_the_session() -> None:
    client, notes = serve()
    response = client.get(b"x" * 30_000, headers=[(b"content-length", b"30000")])
    assert response.body == b"x" * 30_000
    stream_id = client.request(b"abc", headers=[(b"content-length", b"2000000000")], end=False)
    client.exchange()
    assert client.session.buffered_bytes == 3
    client.connection.reset_stream(stream_id)
    client.exchange()
    assert client.session.buffered_bytes == 0
    assert stream_id not in notes.requests


def test_request_trailers_are_left_out() -> None:
    client, notes = serve()
    stream_id = client.request(b"body", end=False)
    client.session.feed(client.take())
    client.connection.send_headers(stream_id, [(b"x-checksum", b"1")], end_stream=True)
    client.exchange()
    assert notes.requests[stream_id] == (REQUEST, b"body")
    assert client.responses[stream_id].ended


@pytest.mark.parametrize(
    ("body", "trailers", "expected"),
    [
        pytest.param(None, None, [(HEADERS, 5)], id="headers alone end the stream"),
        pytest.param(b"", (), [(HEADERS, 5)], id="an empty body is no body"),
        pytest.param(b"x", None, [(HEADERS, 4), (DATA, 1)], id="the body ends the stream"),
        pytest.param(None, TRAILERS, [(HEADERS, 4), (HEADERS, 5)], id="trailers without a body"),
        pytest.param(
            b"x", TRAILERS, [(HEADERS, 4), (DATA, 0), (HEADERS, 5)], id="trailers end the stream"
        ),
    ],
)
def test_an_answer_takes_no_more_frames_than_it_needs(
    body: bytes | None,
    trailers: tuple[tuple[bytes, bytes], ...] | None,
    expected: list[tuple[int, int]],
) -> None:
    client, _ = serve(Notes())
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.respond(stream_id, STATUS, body, trailers)
    data = b"".join(client.session.data_to_send())
    assert [(kind, flags) for kind, flags, _, _ in frames(data)] == expected


def test_a_large_body_goes_out_without_being_copied() -> None:
    body = bytes(100_000)
    client, _ = serve(Notes(), window=2**31 - 1)
    stream_id = client.request()
    client.exchange()
    client.session.respond(stream_id, STATUS, body)
    slices = [part for part in client.session.data_to_send() if isinstance(part, memoryview)]
    assert [len(part) for part in slices] == [16_384] * 6
    assert all(part.obj is body for part in slices)


def test_one_call_gives_little_more_than_it_was_asked_for() -> None:
    client, _ = serve(Notes(), window=2**31 - 1)
    stream_id = client.request()
    client.exchange()
    client.session.respond(stream_id, STATUS, bytes(1_000_000), TRAILERS)
    sizes: list[int] = []
    received: list[bytes | memoryview] = []
    while client.session.want_write:
        received += client.session.data_to_send(50_000)
        sizes.append(sum(map(len, received)) - sum(sizes))
    assert max(sizes) < 50_000 + 16_384 + 9
    assert len(sizes) > 15
    payload = sum(len(part) for kind, _, _, part in frames(b"".join(received)) if kind == DATA)
    assert payload == 1_000_000


def test_a_session_that_waits_for_the_window_wants_to_read_only() -> None:
    client, _ = serve(Notes(), window=10)
    stream_id = client.request()
    client.exchange()
    client.session.respond(stream_id, STATUS, bytes(100))
    client.session.data_to_send()
    assert wants(client.session) == (True, False)
    assert client.session.data_to_send() == []
    assert client.session.open_streams == 1


def test_bytes_of_unfinished_bodies_are_counted() -> None:
    client, notes = serve()
    ids = [client.request(b"x" * 5000, end=False) for _ in range(3)]
    client.exchange()
    assert client.session.buffered_bytes == 15_000
    assert client.session.open_streams == 3
    client.connection.end_stream(ids[0])
    client.connection.reset_stream(ids[1])
    client.exchange()
    assert client.session.buffered_bytes == 5000
    assert list(notes.requests) == [ids[0]]


def test_a_body_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    client, notes = serve(max_body_bytes=1000)
    assert client.get(bytes(1000)).body == bytes(1000)
    stream_id = client.request(bytes(1001))
    client.exchange()
    assert notes.overflows == [stream_id]
    assert stream_id not in notes.requests
    assert client.session.buffered_bytes == 0
    client.session.respond(stream_id, ((b":status", b"413"),))
    client.exchange()
    assert client.responses[stream_id].headers == [(b":status", b"413")]
    assert client.responses[stream_id].ended
    assert client.session.open_streams == 0


def refuse(session: Session, stream_id: int) -> None:
    session.respond(stream_id, ((b":status", b"413"),))


def test_an_upload_that_is_refused_is_told_to_stop() -> None:
    client, notes = serve(
        Notes(answer=echo, overflow=refuse), max_body_bytes=100_000, window_bytes=65_535
    )
    stream_id = client.request(bytes(5_000_000))
    client.exchange()
    assert notes.overflows == [stream_id]
    assert client.responses[stream_id].headers == [(b":status", b"413")]
    assert client.responses[stream_id].reset == 0
    assert client.session.open_streams == 0
    assert notes.closed == {}
    assert client.get(b"next").body == b"next"


def test_a_body_that_is_announced_too_large_is_not_waited_for() -> None:
    client, notes = serve(Notes(overflow=refuse), max_body_bytes=1000)
    stream_id = client.request(b"a", headers=[(b"content-length", b"1001")], end=False)
    client.exchange()
    assert notes.overflows == [stream_id]
    assert client.responses[stream_id].reset == 0


def test_an_unanswered_overflow_keeps_the_connection_flowing() -> None:
    client, notes = serve(max_body_bytes=1000, window_bytes=65_535, connection_window_bytes=65_535)
    stream_id = client.request(bytes(1_000_000))
    client.exchange()
    assert notes.overflows == [stream_id]
    assert client.get(b"other").body == b"other"


def test_the_settings_tell_the_limits() -> None:
    session = Session(
        Notes(),
        max_concurrent_streams=7,
        max_header_bytes=3000,
        window_bytes=70_000,
        connection_window_bytes=100_000,
        max_frame_bytes=20_000,
    )
    (kind, _, _, settings), (_, _, _, update) = frames(b"".join(session.data_to_send()))
    pairs = [settings[i : i + 6] for i in range(0, len(settings), 6)]
    values = {int.from_bytes(p[:2], "big"): int.from_bytes(p[2:], "big") for p in pairs}
    assert kind == SETTINGS
    assert values == {3: 7, 4: 70_000, 5: 20_000, 6: 3000, 9: 1}
    assert int.from_bytes(update, "big") == 100_000 - 65_535


def test_numbers_that_http2_does_not_allow_are_refused() -> None:
    with pytest.raises(SessionError):
        Session(Notes(), max_frame_bytes=100)
    with pytest.raises(SessionError):
        Session(Notes(), window_bytes=2**31)


def test_a_handler_must_be_whole() -> None:
    with pytest.raises(AttributeError):
        Session(object())  # type: ignore[arg-type]


def test_a_ping_is_answered() -> None:
    client, _ = serve()
    client.connection.ping(b"12345678")
    client.exchange()
    assert type(client.events[-1]).__name__ == "PingAckReceived"


def test_a_stream_is_answered_once() -> None:
    client, _ = serve(Notes())
    stream_id = client.request()
    client.exchange()
    client.session.respond(stream_id, STATUS, bytes(10))
    with pytest.raises(ValueError, match="already answered"):
        client.session.respond(stream_id, STATUS)


@pytest.mark.parametrize("stream_id", [1, 3, 2, 99])
def test_an_answer_to_a_stream_that_is_gone_is_dropped(stream_id: int) -> None:
    client, _ = serve()
    client.get(b"x")
    client.session.respond(stream_id, STATUS, b"late", TRAILERS)
    client.session.start_response(stream_id, STATUS)
    assert client.session.send(stream_id, b"late") == 0
    client.session.finish(stream_id, TRAILERS)
    client.session.reset(stream_id, 8)
    assert client.session.data_to_send() == []


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        pytest.param([(b":status", b"200")] * 129, None, ValueError, id="too many"),
        pytest.param([(b":status", b"2" * 60_000)], None, ValueError, id="too large"),
        pytest.param([(b":status", "200")], None, TypeError, id="text for bytes"),
        pytest.param([[b":status", b"200"]], None, TypeError, id="list for tuple"),
        pytest.param([(b":status", b"200", b"")], None, ValueError, id="three for two"),
        pytest.param([None], None, TypeError, id="no field"),
        pytest.param(STATUS, "text", TypeError, id="text for a body"),
        pytest.param(STATUS, memoryview(b"abcd")[::2], TypeError, id="a body with gaps"),
    ],
)
def test_an_answer_that_cannot_be_sent_leaves_the_stream_as_it_was(
    headers: Headers, body: bytes | None, error: type[Exception]
) -> None:
    client, _ = serve(Notes())
    stream_id = client.request()
    client.exchange()
    with pytest.raises(error):
        client.session.respond(stream_id, headers, body)
    if body is None:
        with pytest.raises(error):
            client.session.respond(stream_id, STATUS, b"x", headers)
    client.session.respond(stream_id, STATUS)
    client.exchange()
    response = client.responses[stream_id]
    assert response.headers == list(STATUS)
    assert response.body == b""
    assert response.trailers == []
    assert response.ended


def test_the_first_bytes_may_hold_the_first_request() -> None:
    notes = Notes(answer=echo)
    notes.session = Session(notes)
    client = Client(notes.session)
    assert client.get(b"at once").body == b"at once"


def test_a_session_answers_the_settings_of_a_raw_client() -> None:
    session = Session(Notes())
    session.data_to_send()
    session.feed(PREFACE + frame(SETTINGS, 0, 0))
    assert frames(b"".join(session.data_to_send())) == [(SETTINGS, END_STREAM, 0, b"")]
