"""Peers that break the rules, or wear the session out."""

from collections.abc import Callable
from typing import Any

import psutil
import pytest
from hpack import Encoder

from salver._http2 import Session, SessionError
from tests.wire.http2_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    REQUEST,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
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

NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 5, 6, 7, 9, 11
OPENING = PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)


def opened(**options: Any) -> tuple[Session, Notes]:
    """A session that has shaken hands with a peer of raw frames."""
    notes = Notes(answer=echo)
    notes.session = Session(notes, **options)
    notes.session.data_to_send()
    notes.session.feed(OPENING)
    notes.session.data_to_send()
    return notes.session, notes


def sent(session: Session) -> bytes:
    return b"".join(session.data_to_send())


def request(stream_id: int, fields: Headers = REQUEST, flags: int = END_STREAM) -> bytes:
    """One header block that leaves the tables of HPACK alone."""
    block = Encoder().encode([(name, value, True) for name, value in fields])
    return frame(HEADERS, flags | END_HEADERS, stream_id, block)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="HTTP/1.1"),
        pytest.param(bytes(100), id="zeros"),
        pytest.param(PREFACE[:20] + b"XXXX", id="a preface that goes wrong late"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
    ],
)
def test_bytes_that_are_not_http2_end_the_session(data: bytes) -> None:
    session = Session(Notes())
    with pytest.raises(SessionError, match="magic"):
        session.feed(data)
    assert goaway_code(sent(session)) == PROTOCOL
    assert wants(session) == (False, False)
    session.feed(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(DATA, 0, 1, b"x"), PROTOCOL, id="DATA on an idle stream"),
        pytest.param(frame(DATA, 0, 0, b"x"), PROTOCOL, id="DATA without a stream"),
        pytest.param(request(2), PROTOCOL, id="a stream of even number"),
        pytest.param(frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"), COMPRESSION, id="bad HPACK"),
        pytest.param(frame(HEADERS, 5, 1, b"\xbf"), COMPRESSION, id="an index beyond the table"),
        pytest.param(frame(DATA, 0, 1, bytes(16_385)), FRAME_SIZE, id="a frame too large"),
        pytest.param(frame(99, 0, 1, bytes(16_385)), FRAME_SIZE, id="an unknown frame too large"),
        pytest.param(frame(PING, 0, 0, b"short"), FRAME_SIZE, id="a short PING"),
        pytest.param(frame(PING, 0, 1, bytes(8)), PROTOCOL, id="a PING on a stream"),
        pytest.param(frame(SETTINGS, 0, 0, b"short"), FRAME_SIZE, id="half a setting"),
        pytest.param(frame(SETTINGS, ACK, 0), PROTOCOL, id="an ACK nobody asked for"),
        pytest.param(
            frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), FLOW_CONTROL, id="a window too large"
        ),
        pytest.param(
            frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL, id="a window overflow"
        ),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL, id="a window opened by 0"),
        pytest.param(frame(5, 4, 1, b"\0\0\0\2" + b"\x82"), PROTOCOL, id="a push of the client"),
        pytest.param(frame(CONTINUATION, 4, 1), PROTOCOL, id="a CONTINUATION of nothing"),
        pytest.param(
            request(1)[:-3] + frame(PING, 0, 0, bytes(8)), COMPRESSION, id="a block cut short"
        ),
        pytest.param(
            frame(HEADERS, 1, 1, b"\x82") + frame(PING, 0, 0, bytes(8)),
            PROTOCOL,
            id="a frame inside a header block",
        ),
        pytest.param(request(1) + frame(DATA, 0, 1, b"x"), STREAM_CLOSED, id="DATA after the end"),
        pytest.param(frame(HEADERS, 13, 1, b"\xff\x82"), PROTOCOL, id="more padding than frame"),
        pytest.param(frame(RST_STREAM, 0, 1, bytes(4)), PROTOCOL, id="a reset of an idle stream"),
    ],
)
def test_a_broken_rule_of_the_connection_is_answered_with_goaway(data: bytes, code: int) -> None:
    session, notes = opened()
    notes.answer = None
    session.feed(data)
    assert goaway_code(sent(session)) == code
    assert wants(session) == (False, False)
    known = len(notes.requests)
    session.feed(request(101))
    assert len(notes.requests) == known
    assert session.data_to_send() == []


def test_a_stream_of_lower_number_counts_as_closed() -> None:
    session, notes = opened()
    session.feed(request(5) + request(3) + request(7))
    assert list(notes.requests) == [5, 7]


def test_settings_come_first() -> None:
    session = Session(Notes())
    session.feed(PREFACE + request(1))
    assert goaway_code(sent(session)) == PROTOCOL


PSEUDO = REQUEST[:4]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(request(1, PSEUDO[1:]), PROTOCOL, id="no method"),
        pytest.param(request(1, [*PSEUDO, PSEUDO[0]]), PROTOCOL, id="two methods"),
        pytest.param(request(1, [*PSEUDO, (b"X-Up", b"1")]), PROTOCOL, id="an upper-case name"),
        pytest.param(request(1, [*PSEUDO, (b"a b", b"1")]), PROTOCOL, id="a space in a name"),
        pytest.param(request(1, [*PSEUDO, (b"connection", b"x")]), PROTOCOL, id="connection"),
        pytest.param(request(1, [*PSEUDO, (b":path", b"/")]), PROTOCOL, id="two paths"),
        pytest.param(
            request(1, [*PSEUDO, (b"content-length", b"5")]), PROTOCOL, id="a body that is missing"
        ),
        pytest.param(
            request(1, [*PSEUDO, (b"content-length", b"1")], 0) + frame(DATA, 1, 1, b"xx"),
            PROTOCOL,
            id="a body longer than announced",
        ),
        pytest.param(
            request(1, [*PSEUDO, (b"content-length", b"3")], 0) + frame(DATA, 1, 1, b"xx"),
            PROTOCOL,
            id="a body shorter than announced",
        ),
        pytest.param(
            request(1, [*PSEUDO, (b"content-length", b"-1")], 0), PROTOCOL, id="a negative length"
        ),
        pytest.param(
            request(1, [*PSEUDO, (b"content-length", b"9" * 19)], 0),
            PROTOCOL,
            id="a length of more than 63 bits",
        ),
        pytest.param(
            request(1, REQUEST, 0) + frame(DATA, 0, 1, b"x") + request(1, REQUEST, 0),
            PROTOCOL,
            id="headers twice",
        ),
    ],
)
def test_a_broken_request_is_reset_and_the_next_one_served(data: bytes, code: int) -> None:
    session, notes = opened()
    session.feed(data)
    assert reset_codes(sent(session)) == {1: code}
    assert (notes.requests, notes.closed) == ({}, {})
    assert session.open_streams == session.buffered_bytes == 0
    session.feed(request(3))
    assert list(notes.requests) == [3]
    assert goaway_code(sent(session)) is None


def test_a_stream_window_that_overflows_ends_the_stream_only() -> None:
    session, notes = opened()
    notes.answer = None
    session.feed(request(1) + request(3) + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"))
    assert reset_codes(sent(session)) == {1: FLOW_CONTROL}
    assert notes.closed == {1: FLOW_CONTROL}
    assert session.open_streams == 1


def test_a_peer_that_ignores_our_windows_is_sent_away() -> None:
    session, notes = opened(window_bytes=65_535, connection_window_bytes=65_535)
    session.feed(request(1, flags=0) + frame(DATA, 0, 1, bytes(16_384)) * 12)
    assert goaway_code(sent(session)) == FLOW_CONTROL
    assert notes.requests == {}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"x-large", b"v" * 4000)], id="one large field"),
        pytest.param([(b"x-%d" % n, b"v" * 60) for n in range(32)], id="many fields"),
        pytest.param([(b"n%d" % n, b"") for n in range(60)], id="32 bytes for each field"),
    ],
)
def test_large_headers_are_answered_with_431(fields: Headers) -> None:
    client, notes = serve(max_header_bytes=2000)
    response = client.get(b"body", headers=fields)
    assert response.headers == [(b":status", b"431")]
    assert response.ended
    assert notes.requests == {}
    assert client.get(b"next").body == b"next"
    assert list(notes.requests) == [3]


def test_the_size_of_the_headers_is_counted_as_http2_counts_it() -> None:
    size = sum(len(name) + len(value) + 32 for name, value in REQUEST)
    client, notes = serve(max_header_bytes=size)
    assert client.get().ended
    client, notes = serve(max_header_bytes=size - 1)
    assert client.get().headers == [(b":status", b"431")]
    assert notes.requests == {}


def test_more_than_128_fields_are_answered_with_431() -> None:
    client, notes = serve()
    spare = 128 - len(REQUEST)
    assert client.get(headers=[(b"n", b"")] * spare).headers[0] == (b":status", b"200")
    assert client.get(headers=[(b"n", b"")] * (spare + 1)).headers == [(b":status", b"431")]
    assert list(notes.requests) == [1]


def test_headers_far_beyond_the_limit_end_the_session() -> None:
    session, notes = opened(max_header_bytes=2000)
    session.feed(request(1, [*REQUEST, *[(b"x-%d" % n, b"v" * 90) for n in range(100)]]))
    assert goaway_code(sent(session)) == CALM
    assert notes.requests == {}


def test_a_small_block_that_grows_without_end_ends_the_session() -> None:
    session, notes = opened()
    encoder = Encoder()
    first = frame(HEADERS, 5, 1, encoder.encode([*REQUEST, (b"x-bomb", b"b" * 3500)]))
    again = encoder.encode([(b"x-bomb", b"b" * 3500)])
    assert len(again) == 1
    session.feed(first)
    session.feed(frame(HEADERS, 5, 3, again * 16_000))
    assert goaway_code(sent(session)) == CALM
    assert list(notes.requests) == [1]


def test_large_request_trailers_end_the_session() -> None:
    session, _ = opened(max_header_bytes=1000)
    trailers = [(b"x-%d" % n, b"v" * 200) for n in range(30)]
    session.feed(request(1, flags=0) + request(1, trailers))
    assert goaway_code(sent(session)) == CALM


def test_continuations_without_end_end_the_session() -> None:
    session, notes = opened()
    with pytest.raises(SessionError, match="CONTINUATION"):
        session.feed(frame(HEADERS, END_STREAM, 1, b"\x82") + frame(CONTINUATION, 0, 1) * 1000)
    assert goaway_code(sent(session)) == CALM
    assert notes.requests == {}
    assert not wants(session)[0]


def test_streams_beyond_the_limit_are_refused_before_the_peer_knows_it() -> None:
    notes = Notes()
    session = Session(notes, max_concurrent_streams=3)
    session.data_to_send()
    session.feed(PREFACE + frame(SETTINGS, 0, 0) + b"".join(map(request, (1, 3, 5, 7, 9))))
    assert list(notes.requests) == [1, 3, 5]
    assert reset_codes(sent(session)) == {7: REFUSED, 9: REFUSED}


def test_streams_beyond_the_limit_end_the_session_of_a_peer_that_knew_it() -> None:
    session, notes = opened(max_concurrent_streams=3)
    notes.answer = None
    session.feed(b"".join(map(request, (1, 3, 5, 7))))
    assert list(notes.requests) == [1, 3, 5]
    assert goaway_code(sent(session)) == PROTOCOL


@pytest.mark.parametrize(
    "nuisance", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 0, 0)], ids=["PING", "SETTINGS"]
)
def test_a_flood_that_asks_for_answers_nobody_reads_ends_the_session(nuisance: bytes) -> None:
    session, _ = opened()
    with pytest.raises(SessionError, match="Flooding"):
        session.feed(nuisance * 2000)
    data = sent(session)
    assert goaway_code(data) == CALM
    assert len(frames(data)) < 1100
    assert not wants(session)[0]


def test_a_flood_that_is_read_is_only_work() -> None:
    session, _ = opened()
    for _ in range(100):
        session.feed(frame(PING, 0, 0, bytes(8)) * 100)
        assert len(frames(sent(session))) == 100


def test_refused_streams_whose_resets_nobody_reads_end_the_session() -> None:
    notes = Notes()
    session = Session(notes, max_concurrent_streams=1)
    session.data_to_send()
    block = Encoder().encode([(name, value, True) for name, value in REQUEST])
    flood = b"".join(frame(HEADERS, 5, 2 * n + 1, block) for n in range(12_000))
    with pytest.raises(SessionError, match="Flooding"):
        session.feed(PREFACE + frame(SETTINGS, 0, 0) + flood)
    assert list(notes.requests) == [1]
    assert goaway_code(sent(session)) == CALM


@pytest.mark.parametrize(
    "nothing", [frame(DATA, 0, 1), frame(DATA, 8, 1, b"\x05" + bytes(5))], ids=["empty", "padding"]
)
def test_a_body_of_empty_frames_is_reset(nothing: bytes) -> None:
    session, notes = opened()
    session.feed(request(1, flags=0) + nothing * 2000)
    assert reset_codes(sent(session)) == {1: CALM}
    assert session.open_streams == 0
    session.feed(request(3))
    assert list(notes.requests) == [3]


def test_small_data_frames_are_no_nuisance() -> None:
    session, notes = opened()
    session.feed(request(1, flags=0) + frame(DATA, 0, 1, b"x") * 5000 + frame(DATA, 1, 1))
    assert notes.requests[1][1] == b"x" * 5000


@pytest.mark.parametrize(
    "nuisance",
    [
        pytest.param(lambda n: frame(PRIORITY, 0, 2 * n + 1, b"\0\0\0\0\x10"), id="PRIORITY"),
        pytest.param(lambda n: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), id="WINDOW_UPDATE"),
        pytest.param(lambda n: frame(200, 0, n, b"unknown"), id="unknown frames"),
        pytest.param(lambda n: frame(PING, ACK, 0, bytes(8)), id="PING that answers nothing"),
        pytest.param(lambda n: frame(SETTINGS, ACK, 0), id="SETTINGS that answers nothing"),
    ],
)
def test_frames_that_ask_for_nothing_leave_nothing_behind(
    nuisance: Callable[[int], bytes],
) -> None:
    session, notes = opened()
    flood = [
        b"".join(nuisance(n) for n in range(start, start + 1000))
        for start in range(0, 40_000, 1000)
    ]
    process = psutil.Process()
    session.feed(flood[0])
    before = process.memory_info().rss
    for part in flood:
        session.feed(part)
    assert process.memory_info().rss - before < 500_000
    if session.want_read and not session.want_write:
        session.feed(request(100_001))
        assert list(notes.requests) == [100_001]


def test_a_body_never_holds_more_than_the_limit() -> None:
    session, notes = opened(max_body_bytes=100_000)
    notes.answer = None
    session.feed(request(1, flags=0))
    largest = 0
    for _ in range(100):
        session.feed(frame(DATA, 0, 1, bytes(16_384)))
        session.data_to_send()
        largest = max(largest, session.buffered_bytes)
    assert largest == 16_384 * 6
    assert notes.overflows == [1]
    assert session.buffered_bytes == 0
