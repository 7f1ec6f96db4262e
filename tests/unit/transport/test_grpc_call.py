import asyncio
import logging
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import NotFound
from salver.transport.exchange import Framed, Message, UnaryCall
from salver.transport.grpc import Headers
from salver.transport.grpc_call import GrpcCall
from tests.fakes import LIMIT_S, turn_loop

LIMIT = 1_000_000
NOW = 1000.0
NOISE = random.Random(1).randbytes(600_000)
OK, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 4, 5, 8, 12, 13


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def compressed(message: bytes, encoding: bytes) -> bytes:
    deflater = zlib.compressobj(1, zlib.DEFLATED, {b"gzip": 31, b"deflate": 15}[encoding])
    return deflater.compress(message) + deflater.flush()


class Connection:
    """Has one call, echoes or fails as told, and notes what is answered."""

    def __init__(self, error: Exception | None = None, answers: bool = True) -> None:
        self.messages: list[bytes] = []
        self.answers: list[tuple[Headers, Framed | None, Headers | None]] = []
        self.cancelled = 0
        self.call = GrpcCall(self, 7, self._handle)
        self._error = error
        self._echoes = answers

    def _handle(self, call: UnaryCall, message: Message) -> None:
        self.messages.append(bytes(message))
        if self._error is not None:
            raise self._error
        if self._echoes:
            call.succeed(framed(bytes(message)))
        else:
            call.cancel = self._cancel

    def _cancel(self) -> None:
        self.cancelled += 1

    def respond(
        self, stream_id: int, headers: Headers, body: Framed | None, trailers: Headers | None
    ) -> None:
        assert stream_id == 7
        self.answers.append((headers, body, trailers))

    def begin(
        self,
        body: bytes,
        encoding: bytes = b"",
        timeout: bytes = b"",
        limit: int = LIMIT,
        unread_s: float = 0.0,
    ) -> None:
        headers = {b"grpc-encoding": encoding, b"grpc-timeout": timeout}
        self.call.begin(headers, body, limit, lambda: NOW, unread_s)

    async def until_answered(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not self.answers:
                await turn_loop(1)

    @property
    def status(self) -> int:
        """The status of the one answer."""
        [(headers, _, trailers)] = self.answers
        return int(dict(trailers or headers)[b"grpc-status"])


@pytest.mark.parametrize("message", [b"", b"x", bytes(100_000)], ids=["empty", "one", "many"])
@pytest.mark.parametrize("encoding", [b"", b"identity", b"gzip", b"snappy"])
def test_an_uncompressed_message_is_taken_as_it_is(message: bytes, encoding: bytes) -> None:
    connection = Connection()
    connection.begin(framed(message), encoding)
    assert connection.messages == [message]
    assert connection.status == OK
    assert connection.answers[0][1] == framed(message)


@pytest.mark.parametrize(
    "message", [b"", b"x", bytes(100_000), NOISE], ids=["empty", "one", "zeros", "noise"]
)
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_a_compressed_message_is_unpacked_up_to_the_very_limit(
    message: bytes, encoding: bytes
) -> None:
    connection = Connection()
    body = framed(compressed(message, encoding), flag=1)
    connection.begin(body, encoding, limit=max(len(message), 1))
    await connection.until_answered()
    assert connection.messages == [message]
    assert connection.status == OK


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_what_was_packed_comes_out_again(message: bytes, encoding: bytes) -> None:
    connection = Connection()
    connection.begin(framed(compressed(message, encoding), flag=1), encoding)
    assert connection.messages == [message]
    assert connection.status == OK


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        pytest.param(b"", b"", INTERNAL, id="no body"),
        pytest.param(framed(b"a") * 2, b"", INTERNAL, id="two messages"),
        pytest.param(framed(b"a", flag=2), b"", INTERNAL, id="an unknown flag"),
        pytest.param(framed(b"a", flag=1), b"", UNIMPLEMENTED, id="compressed, but how?"),
        pytest.param(framed(b"a", flag=1), b"identity", UNIMPLEMENTED, id="as identity"),
        pytest.param(framed(b"a", flag=1), b"snappy", UNIMPLEMENTED, id="not offered"),
        pytest.param(framed(b"nonsense", flag=1), b"gzip", INTERNAL, id="no gzip"),
        pytest.param(framed(b"", flag=1), b"gzip", INTERNAL, id="nothing is no gzip"),
        pytest.param(
            framed(compressed(b"abcdef", b"gzip")[:-3], flag=1), b"gzip", INTERNAL, id="cut"
        ),
        pytest.param(
            framed(compressed(NOISE, b"gzip")[:-3], flag=1), b"gzip", INTERNAL, id="cut, large"
        ),
        pytest.param(
            framed(compressed(b"abcdef", b"gzip")[:-8] + bytes(8), flag=1), b"gzip",
            INTERNAL, id="wrong checksum",
        ),
        pytest.param(
            framed(compressed(b"abcdef", b"gzip"), flag=1), b"deflate", INTERNAL,
            id="gzip under the name of deflate",
        ),
        pytest.param(
            framed(compressed(bytes(LIMIT + 1), b"gzip"), flag=1), b"gzip", RESOURCE_EXHAUSTED,
            id="one byte too large",
        ),
        pytest.param(
            framed(compressed(bytes(LIMIT) + NOISE, b"deflate"), flag=1), b"deflate",
            RESOURCE_EXHAUSTED, id="far too large",
        ),
    ],
)  # fmt: skip
async def test_what_is_not_one_good_message_is_refused(
    body: bytes, encoding: bytes, status: int
) -> None:
    connection = Connection()
    connection.begin(body, encoding)
    await connection.until_answered()
    await turn_loop()
    assert connection.status == status
    assert not connection.messages


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_a_bomb_takes_no_more_memory_than_the_limit_allows(encoding: bytes) -> None:
    body = framed(compressed(bytes(100 * LIMIT), encoding), flag=1)
    connection = Connection()
    tracemalloc.start()
    try:
        connection.begin(body, encoding)
        await connection.until_answered()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert connection.status == RESOURCE_EXHAUSTED
    assert peak < 4 * LIMIT


@pytest.mark.parametrize(
    ("timeout", "deadline"), [(b"", None), (b"5S", NOW + 5), (b"250m", NOW + 0.25)]
)
def test_the_deadline_is_known_to_the_handler(timeout: bytes, deadline: float | None) -> None:
    connection = Connection(answers=False)
    connection.begin(framed(b"x"), timeout=timeout)
    assert connection.call.deadline == deadline
    assert connection.messages == [b"x"]


@pytest.mark.parametrize(("timeout", "status"), [(b"0n", DEADLINE_EXCEEDED), (b"soon", INTERNAL)])
def test_a_call_without_time_is_not_begun(timeout: bytes, status: int) -> None:
    connection = Connection()
    connection.begin(framed(b"x"), timeout=timeout)
    assert connection.status == status
    assert not connection.messages


@pytest.mark.parametrize(("timeout", "deadline"), [(b"1S", NOW + 0.75), (b"", None)])
def test_the_time_in_which_a_call_was_not_read_counts(
    timeout: bytes, deadline: float | None
) -> None:
    connection = Connection(answers=False)
    connection.begin(framed(b"x"), timeout=timeout, unread_s=0.25)
    assert connection.call.deadline == deadline
    assert connection.messages == [b"x"]


@pytest.mark.parametrize("message", [b"small", NOISE], ids=["on the spot", "later"])
@pytest.mark.parametrize(
    ("error", "status"), [(NotFound("no row"), NOT_FOUND), (ZeroDivisionError(), INTERNAL)]
)
async def test_the_error_of_a_handler_is_the_answer(
    message: bytes, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection(error)
    connection.begin(framed(compressed(message, b"gzip"), flag=1), b"gzip")
    await connection.until_answered()
    assert connection.status == status
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == (status == INTERNAL)


async def test_a_call_that_is_given_up_while_it_is_unpacked_never_begins() -> None:
    unwanted, other = Connection(), Connection()
    for connection in (unwanted, other):
        connection.begin(framed(compressed(NOISE, b"gzip"), flag=1), b"gzip")
    unwanted.call.give_up()
    await other.until_answered()
    await turn_loop(100)
    assert not unwanted.messages
    assert not unwanted.answers


async def test_a_call_that_is_given_up_after_it_was_unpacked_is_the_handlers_business() -> None:
    connection = Connection(answers=False)
    connection.begin(framed(compressed(NOISE, b"gzip"), flag=1), b"gzip")
    async with asyncio.timeout(LIMIT_S):
        while not connection.messages:
            await turn_loop(1)
    connection.call.give_up()
    assert connection.cancelled == 1
    assert not connection.answers
