"""How streams and sessions end: cancelled, reset, shut down, failed, dropped."""

import gc
import weakref
from collections.abc import Callable

import psutil
import pytest
from hpack import Encoder

from salver._http2 import Session
from tests.wire.http2_client import (
    DATA,
    HEADERS,
    PREFACE,
    REQUEST,
    RST_STREAM,
    SETTINGS,
    STATUS,
    TRAILERS,
    WINDOW_UPDATE,
    Client,
    Headers,
    Notes,
    echo,
    frame,
    frames,
    goaway_code,
    reset_codes,
    serve,
    wants,
)

CANCEL, REFUSED, CALM = 8, 7, 11


def test_a_cancelled_request_is_reported() -> None:
    client, notes = serve(Notes())
    stream_id = client.request(b"ask")
    client.exchange()
    client.connection.reset_stream(stream_id, CANCEL)
    client.exchange()
    assert notes.closed == {stream_id: CANCEL}
    assert client.session.open_streams == 0


def test_a_cancelled_upload_is_not_reported() -> None:
    client, notes = serve(Notes())
    stream_id = client.request(b"part", end=False)
    client.exchange()
    client.connection.reset_stream(stream_id, CANCEL)
    client.exchange()
    assert (notes.requests, notes.closed) == ({}, {})


def test_an_answer_cancelled_before_it_leaves_is_dropped() -> None:
    client, notes = serve(Notes())
    stream_id = client.request(b"ask")
    client.exchange()
    fields = tuple((b"x-%d" % n, b"v" * n) for n in range(50))
    client.session.respond(stream_id, (*STATUS, *fields), bytes(50_000), fields)
    client.connection.reset_stream(stream_id, CANCEL)
    client.session.feed(client.connection.data_to_send())
    del fields
    gc.collect()
    assert client.session.data_to_send() == []
    assert notes.closed == {stream_id: CANCEL}


def test_an_answer_cancelled_halfway_stops() -> None:
    client, notes = serve(Notes(), window=2**20)
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.respond(stream_id, STATUS, bytes(100_000), TRAILERS)
    client.session.data_to_send(20_000)
    client.connection.reset_stream(stream_id, CANCEL)
    client.session.feed(client.connection.data_to_send())
    assert client.session.data_to_send() == []
    assert notes.closed == {stream_id: CANCEL}


def test_a_request_that_was_answered_is_not_reported_as_closed() -> None:
    client, notes = serve()
    client.get(b"ask")
    client.session.feed(frame(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))
    assert notes.closed == {}


def test_a_stream_that_we_reset_is_over() -> None:
    client, notes = serve(Notes())
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.reset(stream_id, REFUSED)
    client.session.reset(stream_id, CANCEL)
    client.session.respond(stream_id, STATUS, b"late")
    client.exchange()
    assert client.responses[stream_id].reset == REFUSED
    assert client.responses[stream_id].headers == []
    assert notes.closed == {}
    assert client.session.open_streams == 0


def test_a_stream_may_be_reset_while_its_answer_is_sent() -> None:
    client, notes = serve(Notes(), window=10)
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.respond(stream_id, STATUS, bytes(100), TRAILERS)
    assert len(frames(b"".join(client.session.data_to_send()))) == 2
    client.session.reset(stream_id, CANCEL)
    assert reset_codes(b"".join(client.session.data_to_send())) == {stream_id: CANCEL}
    client.session.feed(frame(WINDOW_UPDATE, 0, stream_id, b"\0\0\1\0"))
    assert client.session.data_to_send() == []
    assert notes.closed == {}


def test_after_goaway_open_streams_are_served_and_new_ones_ignored() -> None:
    client, notes = serve(Notes())
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.goaway()
    data = b"".join(client.session.data_to_send())
    assert goaway_code(data) == 0
    assert wants(client.session)[0]
    late = client.request(b"late")
    client.session.feed(client.take())
    assert late not in notes.requests
    client.session.respond(stream_id, STATUS, b"answer")
    data = b"".join(client.session.data_to_send())
    assert b"answer" in data
    assert wants(client.session) == (False, False)


def test_a_shutdown_notice_leaves_time_for_requests_on_their_way() -> None:
    client, notes = serve(Notes())
    client.session.shutdown_notice()
    notice = b"".join(client.session.data_to_send())
    assert notice.endswith(b"\x7f\xff\xff\xff" + bytes(4))
    stream_id = client.request(b"on its way")
    client.session.feed(client.take())
    assert notes.requests[stream_id][1] == b"on its way"
    client.session.respond(stream_id, STATUS)
    assert client.session.data_to_send()


def test_a_terminated_session_says_why_and_wants_nothing() -> None:
    client, notes = serve(Notes())
    stream_id = client.request(b"ask")
    client.exchange()
    client.session.terminate(CALM)
    client.session.respond(stream_id, STATUS, b"late")
    client.session.feed(b"whatever comes")
    client.session.feed(b"")
    assert goaway_code(b"".join(client.session.data_to_send())) == CALM
    assert wants(client.session) == (False, False)
    assert list(notes.requests) == [stream_id]


def test_a_peer_that_says_goodbye_is_served_to_the_end() -> None:
    client, _ = serve(Notes())
    stream_id = client.request(b"ask")
    sent = client.take()
    client.connection.close_connection()
    client.session.feed(sent + client.take())
    client.session.respond(stream_id, STATUS, b"answer")
    assert wants(client.session)[0]
    assert b"answer" in b"".join(client.session.data_to_send())
    assert wants(client.session) == (False, False)


class Broken(Notes):
    """A handler that raises in the method named."""

    def __init__(self, method: str, error: BaseException) -> None:
        super().__init__()

        def fail(*_: object) -> None:
            raise error

        setattr(self, method, fail)


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("method", ["on_request", "on_overflow", "on_close"])
def test_what_a_callback_raises_comes_out_of_feed(method: str, error: BaseException) -> None:
    client, _ = serve(Broken(method, error), max_body_bytes=10)
    stream_id = client.request(bytes(11 if method == "on_overflow" else 10))
    sent = client.take()
    if method == "on_close":
        client.connection.reset_stream(stream_id)
    with pytest.raises(type(error)) as raised:
        client.session.feed(sent + client.take())
    assert raised.value is error
    client.session.feed(b"more")
    assert goaway_code(b"".join(client.session.data_to_send())) == 2
    assert wants(client.session) == (False, False)


def test_what_on_close_raises_while_sending_comes_out_of_data_to_send() -> None:
    client, _ = serve(Broken("on_close", KeyError("mine")))
    stream_id = client.request(b"ask")
    client.exchange()
    # A window that overflows is the peer's error: the session resets the stream.
    client.session.feed(frame(WINDOW_UPDATE, 0, stream_id, b"\x7f\xff\xff\xff"))
    with pytest.raises(KeyError, match="mine"):
        client.session.data_to_send()
    assert client.session.data_to_send() == []
    assert wants(client.session) == (False, False)


@pytest.mark.parametrize(
    "act", [lambda session: session.feed(b""), lambda session: session.data_to_send()]
)
def test_a_callback_may_not_feed_or_send(act: Callable[[Session], object]) -> None:
    def answer(session: Session, *_: object) -> None:
        act(session)

    client, _ = serve(Notes(answer=answer))
    client.request()
    with pytest.raises(RuntimeError, match="callback"):
        client.exchange()


def test_feed_takes_buffers_only() -> None:
    session = Session(Notes())
    with pytest.raises(TypeError):
        session.feed("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        session.feed(None)  # type: ignore[arg-type]
    session.feed(b"PRI")


class Body(bytearray):
    """A body that can be asked whether it still lives."""


def test_a_dropped_session_is_freed_with_all_it_holds() -> None:
    notes = Notes()
    client = serve(notes, window=10)[0]
    body = Body(100_000)
    answered, started, asked, unfinished = (
        client.request(b"x" * 100, end=end) for end in (True, True, True, False)
    )
    client.exchange()
    client.session.respond(answered, STATUS, body, TRAILERS)
    client.session.start_response(started, STATUS)
    client.session.send(started, body)
    client.session.send(started, body)
    client.session.data_to_send()
    assert client.session.open_streams == 4
    assert asked in notes.requests
    assert unfinished not in notes.requests
    alive = weakref.ref(notes), weakref.ref(body)
    del client, notes, body
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_a_body_is_let_go_when_its_stream_is_over() -> None:
    client, _ = serve(Notes())
    stream_id = client.request()
    client.exchange()
    body = Body(b"answer")
    alive = weakref.ref(body)
    client.session.respond(stream_id, STATUS, body)
    del body
    assert alive() is not None
    client.session.data_to_send()
    assert alive() is None


def requests(count: int) -> list[bytes]:
    """Requests as an encoder with a full table sends them, the settings before the first."""
    encoder = Encoder()
    blocks = [encoder.encode(REQUEST) for _ in range(2)]
    opening = PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0)
    opening += frame(WINDOW_UPDATE, 0, 0, (2**31 - 65_536).to_bytes(4, "big"))
    messages = [
        frame(HEADERS, 4, 2 * number + 1, blocks[number > 0])
        + frame(DATA, 1, 2 * number + 1, b"d" * 60)
        for number in range(count)
    ]
    return [opening, *messages]


def test_memory_stays_flat() -> None:
    class Server:
        def __init__(self) -> None:
            self.session = Session(self)

        def on_request(self, stream_id: int, headers: Headers, body: bytes) -> None:
            if stream_id % 3:
                self.session.respond(stream_id, STATUS, body, TRAILERS)
            else:
                self.session.reset(stream_id, REFUSED)

        def on_overflow(self, stream_id: int, headers: Headers) -> None:
            raise AssertionError

        def on_close(self, stream_id: int, error_code: int) -> None:
            raise AssertionError

    server = Server()
    messages = requests(13_000)
    process = psutil.Process()
    before = 0
    for number, message in enumerate(messages):
        if number == 3000:
            before = process.memory_info().rss
        server.session.feed(message)
        server.session.data_to_send()
    assert server.session.open_streams == 0
    assert process.memory_info().rss - before < 500_000


def test_memory_of_dropped_sessions_comes_back() -> None:
    opening = b"".join(requests(20))
    process = psutil.Process()
    before = 0
    for number in range(1500):
        if number == 500:
            before = process.memory_info().rss
        notes = Notes(answer=echo if number % 2 else None)
        notes.session = session = Session(notes)
        session.feed(opening)
        session.data_to_send(500)
        notes.session = None
    assert process.memory_info().rss - before < 1_000_000


def test_a_client_that_cancels_now_and_then_is_served() -> None:
    client, notes = serve(max_cancellations=5)
    for _ in range(100):
        client.get(b"x")
        stream_id = client.request(b"y", end=False)
        client.exchange()
        client.connection.reset_stream(stream_id, CANCEL)
        client.exchange()
    assert client.goaway is None
    assert len(notes.requests) == 100


def test_a_client_that_only_cancels_is_sent_away() -> None:
    client, notes = serve(Notes(), max_cancellations=5)
    sent = b""
    for _ in range(50):
        stream_id = client.request(b"y")
        sent += client.take()
        client.connection.reset_stream(stream_id, CANCEL)
        sent += client.take()
    client.session.feed(sent)
    assert len(notes.requests) == 6
    assert goaway_code(b"".join(client.session.data_to_send())) == CALM


def test_a_client_that_makes_us_reset_is_sent_away() -> None:
    client, notes = serve(Notes(), max_cancellations=5)
    received = b""
    for _ in range(50):
        stream_id = client.request(b"y")
        client.session.feed(client.take())
        client.session.feed(frame(WINDOW_UPDATE, 0, stream_id, b"\x7f\xff\xff\xff"))
        received += b"".join(client.session.data_to_send())
    assert len(notes.requests) == 6
    assert set(reset_codes(received).values()) == {3}
    assert goaway_code(received) == CALM


def test_two_sessions_share_nothing() -> None:
    (one, first), (two, second) = serve(), serve()
    one.request(b"one")
    two.request(b"two")
    one.exchange()
    two.exchange()
    assert [body for _, body in first.requests.values()] == [b"one"]
    assert [body for _, body in second.requests.values()] == [b"two"]
    assert isinstance(one, Client)
