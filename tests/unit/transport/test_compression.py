import gzip
import random
import tracemalloc
import zlib

import pytest

from salver.transport.compression import gzipped, inflated

MIB = 1024 * 1024
BODY = b'{"instances": [1.0, 2.0]}'


def zeros_in_gzip(size: int) -> bytes:
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = [deflater.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*packed, deflater.compress(bytes(size % MIB)), deflater.flush()])


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"deflate, gzip"])
def test_a_body_whose_encoding_names_gzip_is_inflated(encoding: bytes) -> None:
    assert inflated(gzip.compress(BODY), encoding) == BODY


@pytest.mark.parametrize("encoding", [b"", b"identity", b"deflate", b"br"])
def test_other_encodings_are_not_decoded(encoding: bytes) -> None:
    assert inflated(zlib.compress(BODY), encoding) == zlib.compress(BODY)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(BODY, id="plain text"),
        pytest.param(zlib.compress(BODY), id="zlib"),
        pytest.param(gzip.compress(BODY)[:-1], id="cut off"),
        pytest.param(gzip.compress(BODY)[:-8] + bytes(4) + gzip.compress(BODY)[-4:], id="bad sum"),
        pytest.param(gzip.compress(BODY)[:-4] + b"\1\0\0\0", id="wrong length"),
        pytest.param(gzip.compress(BODY) + b"more", id="something behind it"),
    ],
)
def test_a_damaged_body_counts_as_empty(body: bytes) -> None:
    assert inflated(body, b"gzip") == b""


def test_up_to_100_mib_are_inflated() -> None:
    assert len(inflated(zeros_in_gzip(100 * MIB), b"gzip")) == 100 * MIB


def test_a_bomb_counts_as_empty_and_takes_no_more_memory_than_the_limit() -> None:
    bomb = zeros_in_gzip(100 * MIB + 1)
    tracemalloc.start()
    try:
        assert inflated(bomb, b"gzip") == b""
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300 * MIB


@pytest.mark.parametrize(
    "body", [b"", BODY, random.Random(1).randbytes(100_000)], ids=["empty", "text", "noise"]
)
def test_what_is_packed_for_clients_is_one_gzip_member(body: bytes) -> None:
    assert gzip.decompress(gzipped(body)) == body
    assert inflated(gzipped(body), b"gzip") == body
