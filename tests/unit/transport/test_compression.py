import asyncio
import gzip
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.transport.compression import (
    DEFLATE_WINDOW_BITS,
    GZIP_WINDOW_BITS,
    MAX_INFLATED_BYTES,
    Damaged,
    TooLarge,
    gzipped,
    inflate,
    takes_gzip,
)
from tests.fakes import LIMIT_S, turn_loop

MIB = 1024 * 1024
BODY = b'{"instances": [1.0, 2.0]}'
NOISE = random.Random(1).randbytes(600_000)


def packed(plain: bytes, window_bits: int = GZIP_WINDOW_BITS) -> bytes:
    deflater = zlib.compressobj(1, zlib.DEFLATED, window_bits)
    return deflater.compress(plain) + deflater.flush()


Outcome = bytes | Damaged | TooLarge


class Outcomes:
    """What came of one body; more than one outcome would be a fault."""

    def __init__(self) -> None:
        self.all: list[Outcome] = []
        self._arrived = asyncio.Event()

    def note(self, outcome: Outcome) -> None:
        self.all.append(outcome)
        self._arrived.set()

    async def only(self) -> Outcome:
        await asyncio.wait_for(self._arrived.wait(), LIMIT_S)
        await turn_loop()
        [outcome] = self.all
        return outcome


async def outcome_of(
    data: bytes | memoryview, window_bits: int = GZIP_WINDOW_BITS, limit: int = MAX_INFLATED_BYTES
) -> Outcome:
    outcomes = Outcomes()
    inflate(data, window_bits, limit, outcomes.note)
    return await outcomes.only()


def described(outcome: Outcome) -> str:
    return "plain" if isinstance(outcome, bytes) else type(outcome).__name__


class GatedExecutor(ThreadPoolExecutor):
    """Its work begins when the test opens the gate."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate = threading.Event()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def work() -> Any:
            assert self.gate.wait(LIMIT_S)
            return fn(*args, **kwargs)

        return super().submit(work)


class InstantExecutor(ThreadPoolExecutor):
    """Its work is done before anybody can turn to something else."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("window_bits", [GZIP_WINDOW_BITS, DEFLATE_WINDOW_BITS])
@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(b"", id="empty"),
        pytest.param(BODY, id="small"),
        pytest.param(NOISE, id="large"),
        pytest.param(bytes(MIB), id="1 MiB out of little"),
        pytest.param(bytes(MIB + 1), id="one byte more"),
        pytest.param(bytes(5_000_000), id="5 MB out of little"),
    ],
)
async def test_what_was_packed_comes_out_again(plain: bytes, window_bits: int) -> None:
    assert await outcome_of(packed(plain, window_bits), window_bits) == plain
    assert await outcome_of(memoryview(packed(plain, window_bits)), window_bits) == plain


@given(st.binary(max_size=300), st.sampled_from([GZIP_WINDOW_BITS, DEFLATE_WINDOW_BITS]))
def test_a_small_body_is_unpacked_on_the_spot(plain: bytes, window_bits: int) -> None:
    outcomes: list[Outcome] = []
    cancel = inflate(packed(plain, window_bits), window_bits, MAX_INFLATED_BYTES, outcomes.append)
    assert cancel is None
    assert outcomes == [plain]


@pytest.mark.parametrize(
    "plain", [NOISE, bytes(5_000_000)], ids=["a large body", "a small body that becomes large"]
)
async def test_what_takes_long_is_unpacked_beside_the_loop(plain: bytes) -> None:
    executor = GatedExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    outcomes = Outcomes()
    cancel = inflate(packed(plain), GZIP_WINDOW_BITS, MAX_INFLATED_BYTES, outcomes.note)
    assert cancel is not None
    await turn_loop()
    assert not outcomes.all
    executor.gate.set()
    assert await outcomes.only() == plain


@pytest.mark.parametrize("is_running", [False, True], ids=["while it waits", "while it runs"])
async def test_what_is_no_longer_wanted_is_not_handed_over(is_running: bool) -> None:
    executor = GatedExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    unwanted, other = Outcomes(), Outcomes()
    if not is_running:
        inflate(packed(NOISE), GZIP_WINDOW_BITS, MAX_INFLATED_BYTES, Outcomes().note)
    cancel = inflate(packed(NOISE), GZIP_WINDOW_BITS, MAX_INFLATED_BYTES, unwanted.note)
    assert cancel is not None
    inflate(packed(NOISE), GZIP_WINDOW_BITS, MAX_INFLATED_BYTES, other.note)
    cancel()
    executor.gate.set()
    assert await other.only() == NOISE
    assert not unwanted.all


async def test_what_is_no_longer_wanted_is_not_handed_over_even_when_it_is_ready() -> None:
    asyncio.get_running_loop().set_default_executor(InstantExecutor())
    # It is ready after one turn of the loop or after two, and handed over a turn later.
    for turns in range(4):
        outcomes = Outcomes()
        cancel = inflate(packed(NOISE), GZIP_WINDOW_BITS, MAX_INFLATED_BYTES, outcomes.note)
        assert cancel is not None
        await turn_loop(turns)
        known = list(outcomes.all)
        cancel()
        await turn_loop()
        assert outcomes.all == known


DAMAGED = [
    pytest.param(b"", id="empty"),
    pytest.param(BODY, id="plain text"),
    pytest.param(packed(BODY, DEFLATE_WINDOW_BITS), id="zlib"),
    pytest.param(packed(BODY)[:-1], id="cut off"),
    pytest.param(packed(NOISE)[:-1], id="cut off in the large"),
    pytest.param(packed(BODY)[:-8] + bytes(4) + packed(BODY)[-4:], id="bad sum"),
    pytest.param(packed(BODY)[:-4] + b"\1\0\0\0", id="wrong length"),
    pytest.param(packed(BODY) + b"more", id="something behind it"),
    pytest.param(packed(NOISE) + b"more", id="something behind it in the large"),
]


@pytest.mark.parametrize("body", DAMAGED)
async def test_a_damaged_body_is_none_and_the_reason_is_told(body: bytes) -> None:
    outcome = await outcome_of(body)
    assert isinstance(outcome, Damaged)
    assert str(outcome)


@pytest.mark.parametrize("limit", [1, 1000, 256 * 1024, MIB, MIB + 1, 3 * MIB, MAX_INFLATED_BYTES])
@pytest.mark.parametrize("window_bits", [GZIP_WINDOW_BITS, DEFLATE_WINDOW_BITS])
async def test_the_limit_is_kept_to_the_byte(limit: int, window_bits: int) -> None:
    within = await outcome_of(packed(bytes(limit), window_bits), window_bits, limit)
    assert described(within) == "plain"
    assert len(within if isinstance(within, bytes) else b"") == limit
    beyond = await outcome_of(packed(bytes(limit + 1), window_bits), window_bits, limit)
    assert described(beyond) == "TooLarge"


async def test_noise_keeps_to_the_limit_too() -> None:
    assert await outcome_of(packed(NOISE), limit=len(NOISE)) == NOISE
    assert described(await outcome_of(packed(NOISE), limit=len(NOISE) - 1)) == "TooLarge"


@pytest.mark.parametrize("limit", [10_000, 2 * MIB])
async def test_a_bomb_takes_no_more_memory_than_the_limit_allows(limit: int) -> None:
    bomb = packed(bytes(100 * limit))
    tracemalloc.start()
    try:
        assert described(await outcome_of(bomb, limit=limit)) == "TooLarge"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * limit + 100_000


@pytest.mark.parametrize(
    "body", [b"", BODY, random.Random(1).randbytes(100_000)], ids=["empty", "text", "noise"]
)
async def test_what_is_packed_for_clients_is_one_gzip_member(body: bytes) -> None:
    assert gzip.decompress(gzipped(body)) == body
    assert await outcome_of(gzipped(body)) == body


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (b"gzip", True),
        (b"GZip", True),
        (b"x-gzip", True),
        (b"br, gzip", True),
        (b"br,gzip ; q=0.5", True),
        (b"gzip;q=0.001", True),
        (b"gzip;q=1", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0", False),
        (b"gzip;q = 0.000", False),
        (b"GZIP;Q=0", False),
        (b"gzip;q=0, deflate", False),
        (b"deflate, gzip;q=0.0", False),
        (b"", False),
        (b"identity", False),
        (b"gzipped", False),
        (b"br;q=1, deflate", False),
    ],
)
def test_who_takes_gzip(accept_encoding: bytes, expected: bool) -> None:
    assert takes_gzip(accept_encoding) is expected
