"""Answers sent bit by bit."""

import pytest

from tests.wire.http2_client import DATA, HEADERS, STATUS, TRAILERS, Client, Notes, frames, serve


def begun(window: int = 65_535) -> tuple[Client, int]:
    """A client whose only request has the headers of its answer."""
    client, _ = serve(Notes(), window=window)
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.start_response(stream_id, STATUS)
    client.exchange()
    return client, stream_id


def test_the_headers_of_an_answer_leave_before_its_body_is_known() -> None:
    client, stream_id = begun()
    assert client.responses[stream_id].headers == list(STATUS)
    assert not client.responses[stream_id].ended
    assert client.session.open_streams == 1


def test_what_is_sent_arrives_in_order_and_the_trailers_last() -> None:
    client, stream_id = begun()
    for part in (b"one ", b"", bytearray(b"two "), b"x" * 40_000):
        client.session.send(stream_id, part)
        client.exchange()
    client.session.send(stream_id, b" three")
    client.session.send(stream_id, b" four")
    client.session.finish(stream_id, TRAILERS)
    client.exchange()
    response = client.responses[stream_id]
    assert response.body == b"one two " + b"x" * 40_000 + b" three four"
    assert response.trailers == list(TRAILERS)
    assert response.ended
    assert client.session.open_streams == 0


@pytest.mark.parametrize(
    ("parts", "trailers", "expected"),
    [
        pytest.param([b"x"], (), [(HEADERS, 4), (DATA, 1)], id="the last part ends the stream"),
        pytest.param([], (), [(HEADERS, 4), (DATA, 1)], id="an empty frame ends an empty body"),
        pytest.param([], TRAILERS, [(HEADERS, 4), (HEADERS, 5)], id="trailers end the stream"),
    ],
)
def test_an_answer_finished_at_once_takes_no_more_frames_than_it_needs(
    parts: list[bytes], trailers: tuple[tuple[bytes, bytes], ...], expected: list[tuple[int, int]]
) -> None:
    client, _ = serve(Notes())
    stream_id = client.request()
    client.exchange()
    client.session.start_response(stream_id, STATUS)
    for part in parts:
        client.session.send(stream_id, part)
    client.session.finish(stream_id, trailers)
    data = b"".join(client.session.data_to_send())
    assert [(kind, flags) for kind, flags, _, _ in frames(data)] == expected


def test_an_end_that_comes_late_takes_an_empty_frame() -> None:
    client, stream_id = begun()
    client.session.send(stream_id, b"all")
    client.exchange()
    client.session.finish(stream_id)
    assert frames(b"".join(client.session.data_to_send())) == [(DATA, 1, stream_id, b"")]


def test_the_backlog_is_what_the_peer_has_no_window_for() -> None:
    client, stream_id = begun(window=1000)
    assert client.session.send(stream_id, bytes(1500)) == 1500
    client.session.data_to_send()
    assert client.session.send(stream_id, bytes(200)) == 700
    assert client.session.send(stream_id, b"") == 700
    assert client.session.data_to_send() == []
    client.connection.increment_flow_control_window(600, stream_id)
    client.exchange()
    assert client.session.send(stream_id, b"") == 100


def test_answers_of_two_streams_flow_beside_each_other() -> None:
    client, _ = serve(Notes(), window=2**20)
    ids = [client.request(), client.request()]
    client.exchange()
    for stream_id in ids:
        client.session.start_response(stream_id, STATUS)
        client.session.send(stream_id, bytes(100_000))
        client.session.finish(stream_id)
    data = b"".join(client.session.data_to_send())
    order = [stream_id for kind, _, stream_id, _ in frames(data) if kind == DATA]
    assert order[:4] in ([1, 3, 1, 3], [3, 1, 3, 1])


def test_an_answer_that_was_not_started_cannot_be_continued() -> None:
    client, _ = serve(Notes())
    stream_id = client.request()
    client.exchange()
    with pytest.raises(ValueError, match="no answer of stream 1"):
        client.session.send(stream_id, b"x")
    with pytest.raises(ValueError, match="no answer of stream 1"):
        client.session.finish(stream_id)


def test_a_finished_answer_cannot_be_continued() -> None:
    client, stream_id = begun(window=1)
    client.session.send(stream_id, b"xyz")
    client.session.finish(stream_id)
    with pytest.raises(ValueError, match="no answer of stream 1"):
        client.session.send(stream_id, b"x")
    with pytest.raises(ValueError, match="no answer of stream 1"):
        client.session.finish(stream_id)


def test_a_peer_that_goes_away_while_it_is_answered_is_reported() -> None:
    notes = Notes()
    client, _ = serve(notes, window=10)
    stream_id = client.request()
    client.exchange()
    client.session.start_response(stream_id, STATUS)
    client.session.send(stream_id, bytes(100))
    client.session.send(stream_id, bytes(100))
    client.exchange()
    client.connection.reset_stream(stream_id, 8)
    client.session.feed(client.connection.data_to_send())
    assert notes.closed == {stream_id: 8}
    assert client.session.send(stream_id, b"more") == 0
    client.session.finish(stream_id)
    assert client.session.data_to_send() == []
