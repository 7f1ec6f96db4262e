"""Whatever arrives, a session answers, ignores it or raises SessionError."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from salver._http2 import Session, SessionError
from tests.wire.http2_client import (
    PREFACE,
    REQUEST,
    SETTINGS,
    STATUS,
    TRAILERS,
    Client,
    Headers,
    Notes,
    frame,
)


def recorded() -> bytes:
    """All that a client sends in a session of some variety."""
    notes = Notes(
        answer=lambda session, stream_id, _, body: session.respond(stream_id, STATUS, body)
    )
    notes.session = Session(notes)
    client = Client(notes.session)
    sent = client.connection.data_to_send()
    notes.session.feed(sent)
    client.connection.receive_data(b"".join(notes.session.data_to_send()))
    for number in range(4):
        client.request(b"body" * 10 * number, [(b"x-number", b"%d" % number)])
        sent += client.take()
    cancelled = client.request(b"part", [(b"content-length", b"400")], end=False)
    sent += client.take()
    client.connection.reset_stream(cancelled)
    client.connection.ping(bytes(8))
    client.connection.increment_flow_control_window(1000)
    return sent + client.take()


SENT = recorded()
PATH = dict(REQUEST)[b":path"]
POSITIONS = st.integers(0, len(SENT) - 1)


class Server:
    """Answers in every way there is, by the number of the stream."""

    def __init__(self, streams: bool) -> None:
        self.session = Session(
            self,
            max_body_bytes=10_000,
            max_header_bytes=2000,
            streaming_paths=[PATH] if streams else [],
        )
        self.session.shutdown_notice()

    def on_notice_read(self) -> None:
        self.session.goaway()

    def on_stream(self, stream_id: int, headers: Headers) -> None:
        if stream_id % 5 == 2:
            self.session.reset(stream_id, 8)
        elif stream_id % 5:
            self.session.start_response(stream_id, STATUS)

    def on_part(self, stream_id: int, part: bytes, ended: bool) -> None:
        match stream_id % 5:
            case 0:
                self.session.respond(stream_id, STATUS, part, TRAILERS)
            case 1:
                self.session.send(stream_id, part)
            case 3:
                self.session.send(stream_id, bytes(50_000))
                self.session.finish(stream_id, TRAILERS)
            case 4:
                self.session.reset(stream_id, 8)

    def on_request(self, stream_id: int, headers: Headers, body: bytes) -> None:
        match stream_id % 5:
            case 0:
                self.session.respond(stream_id, STATUS, body, TRAILERS)
            case 1:
                self.session.start_response(stream_id, STATUS)
                self.session.send(stream_id, bytes(50_000))
            case 2:
                self.session.reset(stream_id, 8)
            case 3:
                self.session.respond(stream_id, STATUS, bytes(50_000))

    def on_overflow(self, stream_id: int, headers: Headers) -> None:
        self.session.respond(stream_id, STATUS)

    def on_close(self, stream_id: int, error_code: int) -> None:
        self.session.respond(stream_id, STATUS)


def survives(data: bytes, piece: int, streams: bool) -> None:
    server = Server(streams)
    for start in range(0, len(data), piece):
        try:
            server.session.feed(data[start : start + piece])
        except SessionError:
            assert server.session.want_write
        server.session.data_to_send(5000)
        if not (server.session.want_read or server.session.want_write):
            break
    while server.session.want_write:
        server.session.data_to_send()
    assert server.session.buffered_bytes >= 0


@settings(max_examples=300, deadline=None)
@example(changes=[(549, 1)], cuts=[], doubles=[], piece=1, streams=True)
@given(
    changes=st.lists(st.tuples(POSITIONS, st.integers(0, 255)), max_size=8),
    cuts=st.lists(st.tuples(POSITIONS, st.integers(1, 60)), max_size=2),
    doubles=st.lists(st.tuples(POSITIONS, st.integers(1, 200)), max_size=2),
    piece=st.sampled_from([1, 13, 100, 10_000]),
    streams=st.booleans(),
)
def test_a_damaged_conversation_does_no_harm(
    changes: list[tuple[int, int]],
    cuts: list[tuple[int, int]],
    doubles: list[tuple[int, int]],
    piece: int,
    streams: bool,
) -> None:
    data = bytearray(SENT)
    for position, value in changes:
        data[position] = value
    for position, length in doubles:
        data[position:position] = data[position : position + length]
    for position, length in cuts:
        del data[position : position + length]
    survives(bytes(data), piece, streams)


FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.integers(0, 12),
    st.binary(max_size=100) | st.sampled_from([bytes(4), bytes(5), bytes(8), b"\x82\x86\x84"]),
)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(FRAMES, max_size=20),
    piece=st.sampled_from([1, 50, 10_000]),
    streams=st.booleans(),
)
def test_frames_out_of_a_hat_do_no_harm(parts: list[bytes], piece: int, streams: bool) -> None:
    survives(PREFACE + frame(SETTINGS, 0, 0) + b"".join(parts), piece, streams)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), start=st.integers(0, len(PREFACE)))
def test_noise_does_no_harm(data: bytes, start: int) -> None:
    survives(PREFACE[:start] + data, 50, streams=True)
