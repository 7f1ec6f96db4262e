import zlib

import pytest

from salver.errors import InternalError, InvalidArgument, NotFound, Unimplemented
from salver.transport.grpc import (
    RESPONSE_HEADERS,
    error_headers,
    is_grpc,
    known_timeout_s,
    percent_encoded,
    refusal,
    single_message,
    timeout_s,
    window_bits_of,
)


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def compressed(message: bytes, encoding: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, {b"gzip": 31, b"deflate": 15}[encoding])
    return deflater.compress(message) + deflater.flush()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/grpcx", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_which_content_types_are_grpc(content_type: bytes, expected: bool) -> None:
    assert is_grpc(content_type) is expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"", None),
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"4m", 0.004),
        (b"5u", 0.000005),
        (b"6n", 0.000000006),
        (b"0S", 0),
        (b"00000100m", 0.1),
        (b"99999999H", 99999999 * 3600),
    ],
)
def test_timeouts_have_a_number_and_a_unit(header: bytes, seconds: float | None) -> None:
    assert timeout_s(header) == seconds


@pytest.mark.parametrize(
    "header",
    [b"S", b"1", b"1s", b"-1S", b"1.5S", b" 1S", b"1 S", b"123456789m", b"1SS", b"\xc2\xb2S"],
)
def test_other_timeouts_are_refused(header: bytes) -> None:
    for _ in range(2):
        with pytest.raises(InternalError, match="Bad grpc-timeout: "):
            timeout_s(header)


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (b"plain text, ~!", b"plain text, ~!"),
        (b"100%", b"100%25"),
        (b"a\nb\tc\0", b"a%0Ab%09c%00"),
        ("größe ∞".encode(), b"gr%C3%B6%C3%9Fe %E2%88%9E"),
        (b"\x7f\x80\xff", b"%7F%80%FF"),
        (b"", b""),
    ],
)
def test_messages_are_percent_encoded(message: bytes, encoded: bytes) -> None:
    assert percent_encoded(message) == encoded


def test_an_error_is_a_whole_answer() -> None:
    assert error_headers(NotFound("no größe")) == (
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no gr%C3%B6%C3%9Fe"),
    )


def test_an_error_without_a_message_has_no_header_for_it() -> None:
    assert dict(error_headers(Unimplemented(""))) == {
        b":status": b"200",
        b"content-type": b"application/grpc",
        b"grpc-status": b"12",
    }


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("x" * 1024, b"x" * 1024, id="1024 bytes"),
        pytest.param("x" * 1025, b"x" * 1024 + b"...TRUNCATED", id="one more"),
        pytest.param("%" * 2000, b"%25" * 1024 + b"...TRUNCATED", id="cut before it is encoded"),
        pytest.param(
            "x" * 1023 + "ö" * 9, b"x" * 1023 + b"%C3...TRUNCATED", id="in a character's middle"
        ),
        pytest.param("ö" * 512, b"%C3%B6" * 512, id="counted in bytes"),
    ],
)
def test_long_messages_are_cut_at_1024_bytes(message: str, expected: bytes) -> None:
    assert dict(error_headers(InvalidArgument(message)))[b"grpc-message"] == expected


def test_bytes_that_were_no_text_come_back_as_they_were() -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert dict(error_headers(NotFound(name)))[b"grpc-message"] == b"%FF%FE"


def test_half_a_character_does_not_keep_an_error_from_being_told() -> None:
    assert dict(error_headers(InternalError("a\ud800b")))[b"grpc-message"] == b"a?b"


@pytest.mark.parametrize("message", [b"", b"x", bytes(100_000)], ids=["empty", "one", "many"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_message_is_what_follows_the_prefix(message: bytes, is_compressed: bool) -> None:
    assert single_message(framed(message, is_compressed)) == (memoryview(message), is_compressed)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="no body"),
        pytest.param(b"\0\0\0\0", id="half a prefix"),
        pytest.param(framed(b"abc")[:-1], id="half a message"),
        pytest.param(framed(b"abc") + b"d", id="more than a message"),
        pytest.param(framed(b"a") * 2, id="two messages"),
        pytest.param(framed(b"a", flag=2), id="an unknown flag"),
        pytest.param(framed(b"a", flag=255), id="another unknown flag"),
        pytest.param(framed(b"abc", flag=1)[:-1], id="half a compressed message"),
    ],
)
def test_what_is_not_one_whole_message_is_refused(body: bytes) -> None:
    with pytest.raises(InternalError):
        single_message(body)


def test_two_kinds_of_compression_are_offered_and_understood() -> None:
    message = b"much of the same " * 100
    for encoding in (b"gzip", b"deflate"):
        assert zlib.decompress(compressed(message, encoding), window_bits_of(encoding)) == message
        assert encoding in dict(RESPONSE_HEADERS)[b"grpc-accept-encoding"].split(b", ")


@pytest.mark.parametrize("encoding", [b"", b"identity", b"snappy", b"GZIP", b"\xff"])
def test_what_was_not_offered_is_not_implemented(encoding: bytes) -> None:
    with pytest.raises(Unimplemented, match="try gzip or deflate"):
        window_bits_of(encoding)


def test_a_timeout_that_is_none_is_as_one_that_is_absent_where_nothing_depends_on_it() -> None:
    assert known_timeout_s(b"50m") == 0.05
    assert known_timeout_s(b"soon") is None
    assert known_timeout_s(b"") is None


@pytest.mark.parametrize(
    ("unread_s", "status"), [(0.33, None), (0.34, b"14"), (0.99, b"14"), (1.0, b"4"), (9.0, b"4")]
)
def test_a_call_that_would_be_answered_too_late_is_refused(
    unread_s: float, status: bytes | None
) -> None:
    answer = refusal(1.0, unread_s)
    assert (answer and dict(answer)[b"grpc-status"]) == status
