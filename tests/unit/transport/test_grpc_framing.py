import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import (
    InternalError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unimplemented,
)
from salver.transport.grpc import (
    error_headers,
    is_grpc,
    percent_encoded,
    single_message,
    timeout_s,
)

LIMIT = 1_000_000


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
@pytest.mark.parametrize("encoding", [b"", b"identity", b"gzip"])
def test_an_uncompressed_message_is_what_follows_the_prefix(
    message: bytes, encoding: bytes
) -> None:
    assert bytes(single_message(framed(message), encoding, LIMIT)) == message


@pytest.mark.parametrize(
    "message", [b"", b"x", bytes(100_000), random.Random(1).randbytes(50_000)],
    ids=["empty", "one", "zeros", "noise"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_compressed_message_is_unpacked_up_to_the_very_limit(
    message: bytes, encoding: bytes
) -> None:
    body = framed(compressed(message, encoding), flag=1)
    assert bytes(single_message(body, encoding, max(len(message), 1))) == message


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_what_was_packed_comes_out_again(message: bytes, encoding: bytes) -> None:
    body = framed(compressed(message, encoding), flag=1)
    assert bytes(single_message(body, encoding, LIMIT)) == message


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        pytest.param(b"", b"", InternalError, id="no body"),
        pytest.param(b"\0\0\0\0", b"", InternalError, id="half a prefix"),
        pytest.param(framed(b"abc")[:-1], b"", InternalError, id="half a message"),
        pytest.param(framed(b"abc") + b"d", b"", InternalError, id="more than a message"),
        pytest.param(framed(b"a") * 2, b"", InternalError, id="two messages"),
        pytest.param(framed(b"a", flag=2), b"", InternalError, id="an unknown flag"),
        pytest.param(framed(b"a", flag=1), b"", Unimplemented, id="compressed, but how?"),
        pytest.param(framed(b"a", flag=1), b"identity", Unimplemented, id="compressed as identity"),
        pytest.param(framed(b"a", flag=1), b"snappy", Unimplemented, id="not offered"),
        pytest.param(framed(b"nonsense", flag=1), b"gzip", InternalError, id="no gzip"),
        pytest.param(framed(b"", flag=1), b"gzip", InternalError, id="nothing is no gzip"),
        pytest.param(
            framed(compressed(b"abcdef", b"gzip")[:-3], flag=1), b"gzip", InternalError, id="cut"
        ),
        pytest.param(
            framed(compressed(b"abcdef", b"gzip")[:-8] + bytes(8), flag=1), b"gzip",
            InternalError, id="wrong checksum",
        ),
        pytest.param(
            framed(compressed(b"abcdef", b"gzip"), flag=1), b"deflate", InternalError,
            id="gzip under the name of deflate",
        ),
        pytest.param(
            framed(compressed(bytes(LIMIT + 1), b"gzip"), flag=1), b"gzip", ResourceExhausted,
            id="one byte too large",
        ),
    ],
)  # fmt: skip
def test_what_is_not_one_good_message_is_refused(
    body: bytes, encoding: bytes, error: type[ServingError]
) -> None:
    with pytest.raises(error):
        single_message(body, encoding, LIMIT)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(encoding: bytes) -> None:
    body = framed(compressed(bytes(100 * LIMIT), encoding), flag=1)
    tracemalloc.start()
    try:
        with pytest.raises(ResourceExhausted):
            single_message(body, encoding, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMIT
