"""HTTP/1.1 as bytes on a real socket, with an application that the tests control."""

import asyncio
import contextlib
import re
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest

from salver.errors import InvalidArgument
from salver.transport.connection import ConnectionOptions, Engine, Switchboard
from salver.transport.exchange import Cancel, HttpRequest, HttpResponse, Respond
from salver.transport.http1 import Http1
from salver.transport.listener import Listener
from tests.fakes import turn_loop

LIMIT_S = 20


class Application:
    """Answers /now at once with the body it got, and /later when the test says so."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.waiting: dict[bytes, Respond] = {}
        self.cancelled: list[bytes] = []
        self.arrived = asyncio.Condition()

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        self.requests.append(request)
        if request.target.startswith(b"/now"):
            respond(HttpResponse(200, b"text/plain", request.target + b":" + request.body))
            return None
        self.waiting[request.target] = respond
        return lambda: self.cancelled.append(request.target)

    def answer(self, target: bytes, body: bytes) -> None:
        self.waiting.pop(target)(HttpResponse(200, b"text/plain", body))


class Site:
    """A listener on a free port and what it leads to."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.application = Application()
        engines: tuple[Callable[..., Engine], Callable[..., Engine]] = (Http1, Http1)
        self.board = Switchboard(options, self.application, {}, engines)
        self.listener = Listener(self.board)
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        self.listener.close()
        self.listener.abort()
        await self.listener.wait_closed(LIMIT_S)
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def exchange(self, data: bytes) -> bytes:
        """Send everything, say that nothing follows, and read what was answered at once."""
        reader, writer = await self.connect()
        writer.write(data)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), LIMIT_S)


OPTIONS = ConnectionOptions(max_request_bytes=1_000_000, max_header_bytes=4096)


@contextlib.asynccontextmanager
async def opened(options: ConnectionOptions, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    site = Site(options)
    site.port = await site.listener.listen_tcp(host, 0)
    try:
        yield site
    finally:
        await site.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened(OPTIONS) as site:
        yield site


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - many kinds of things are waited for
            await asyncio.sleep(0)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


def bodies(answer: bytes) -> list[bytes]:
    found = []
    while answer:
        head, answer = answer.split(b"\r\n\r\n", 1)
        match = re.search(rb"Content-Length: (\d+)", head)
        assert match is not None
        size = int(match[1])
        found.append(answer[:size])
        answer = answer[size:]
    return found


async def test_a_connection_is_kept_for_the_next_request(site: Site) -> None:
    reader, writer = await site.connect()
    for number in range(3):
        writer.write(b"GET /now/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection" not in head
        assert await reader.readexactly(7) == b"/now/%d:" % number


async def test_pipelined_requests_are_answered_in_their_order(site: Site) -> None:
    reader, writer = await site.connect()
    for target in (b"/later/1", b"/later/2", b"/now/3"):
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    await until(lambda: len(site.application.requests) == 3)
    site.application.answer(b"/later/2", b"second")
    site.application.answer(b"/later/1", b"first")
    writer.write_eof()
    assert bodies(await asyncio.wait_for(reader.read(), LIMIT_S)) == [
        b"first", b"second", b"/now/3:",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_requests_may_come_in_pieces_of_any_size(site: Site, size: int) -> None:
    request = b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world" * 3
    reader, writer = await site.connect()
    for start in range(0, len(request), size):
        writer.write(request[start : start + size])
        await writer.drain()
    writer.write_eof()
    assert bodies(await asyncio.wait_for(reader.read(), LIMIT_S)) == [b"/now:hello world"] * 3


async def test_a_body_in_tiny_chunks_takes_no_more_memory_than_another(site: Site) -> None:
    letters = [b"%c" % (97 + place % 26) for place in range(20_000)]
    head = b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%b\r\n" % letter for letter in letters) + b"0\r\n\r\n"
    _, writer = await site.connect()
    tracemalloc.start()
    try:
        writer.write(head + chunks)
        await until(lambda: bool(site.application.requests))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(chunks)
    finally:
        tracemalloc.stop()
    assert site.application.requests[0].body == b"".join(letters)


async def test_chunked_bodies_are_put_together(site: Site) -> None:
    answer = await site.exchange(
        b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n8;x=y\r\ndefghijk\r\n0\r\nTrailer: x\r\n\r\n"
    )
    assert bodies(answer) == [b"/now:abcdefghijk"]


async def test_a_client_that_expects_100_is_told_to_continue_before_it_sends(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(
        b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
    assert head == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    writer.write_eof()
    assert bodies(await asyncio.wait_for(reader.read(), LIMIT_S)) == [b"/now:ok"]


async def test_the_answer_to_head_has_a_length_but_no_body(site: Site) -> None:
    answer = await site.exchange(b"HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Content-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_http_1_0_ends_the_connection_unless_asked_to_keep_it(site: Site) -> None:
    answer = await site.exchange(b"GET /now HTTP/1.0\r\n\r\nGET /now HTTP/1.0\r\n\r\n")
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer
    kept = b"GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = await site.exchange(kept * 2)
    assert statuses(answer) == [200, 200]
    assert b"Connection: keep-alive" in answer


async def test_the_lines_may_end_in_bare_line_feeds(site: Site) -> None:
    answer = await site.exchange(b"GET /now HTTP/1.1\nHost: a\nConnection: close\n\n")
    assert bodies(answer) == [b"/now:"]


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
ASKS_FOR_UPGRADE = (
    b"POST /now/1 HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"Content-Length: 11\r\n\r\nhello world"
    b"POST /now/2 HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    b"GET /now/3 HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n"
    b"GET /now/4 HTTP/1.1\r\nHost: a\r\n\r\n"
)  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
async def test_a_request_that_offers_an_upgrade_is_answered_as_if_it_had_not(
    site: Site, size: int
) -> None:
    reader, writer = await site.connect()
    for start in range(0, len(ASKS_FOR_UPGRADE), size):
        writer.write(ASKS_FOR_UPGRADE[start : start + size])
        await writer.drain()
        # Each piece by itself, as far as the kernel lets it.
        await turn_loop(3)
    writer.write_eof()
    assert bodies(await asyncio.wait_for(reader.read(), LIMIT_S)) == [
        b"/now/1:hello world", b"/now/2:abcd", b"/now/3:", b"/now/4:",
    ]  # fmt: skip
    assert not any(request.header(b"upgrade") for request in site.application.requests)


async def test_a_client_that_offers_an_upgrade_and_expects_100_is_told_so_once(site: Site) -> None:
    head = b"POST /now HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    answer = await site.exchange(head + UPGRADE + b"\r\nok")
    assert answer.count(b"100 Continue") == 1
    assert bodies(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")) == [b"/now:ok"]


async def test_any_number_of_requests_may_offer_an_upgrade(site: Site) -> None:
    request = b"GET /now HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n"
    assert bodies(await site.exchange(request * 1500)) == [b"/now:"] * 1500


@pytest.mark.parametrize(
    ("length", "status"),
    [
        pytest.param(b"1000001", 413, id="one byte too many"),
        pytest.param(b"9" * 18, 413, id="18 digits"),
        pytest.param(b"9" * 19, 413, id="19 digits"),
        pytest.param(b"9" * 3000, 400, id="more than any counter holds"),
    ],
)
@pytest.mark.parametrize("expectation", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(
    site: Site, length: bytes, status: int, expectation: bytes
) -> None:
    reader, writer = await site.connect()
    head = b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n%b\r\n"
    writer.write(head % (length, expectation))
    # The client says no more, and does not close: the answer has to come by itself.
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    assert statuses(answer) == [status]
    assert b"Connection: close\r\n" in answer
    assert not site.application.requests
    assert site.board.buffered_bytes == 0


async def test_a_body_may_be_as_large_as_the_limit(site: Site) -> None:
    head = b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    [body] = bodies(await site.exchange(head + bytes(1_000_000)))
    assert body == b"/now:" + bytes(1_000_000)


LONG = bytes(range(256)) * 2000


@pytest.mark.parametrize("pieces", [1, 7, 700])
async def test_a_long_body_comes_whole_however_it_arrives_and_others_follow_it(
    site: Site, pieces: int
) -> None:
    reader, writer = await site.connect()
    sent = posted(b"/now/1", b"short") + posted(b"/now/2", LONG) + posted(b"/now/3", LONG[:-1])
    sent += posted(b"/now/4", b"last")
    size = -(-len(sent) // pieces)
    for start in range(0, len(sent), size):
        writer.write(sent[start : start + size])
        await writer.drain()
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    expected = [b"/now/1:short", b"/now/2:" + LONG, b"/now/3:" + LONG[:-1], b"/now/4:last"]
    assert bodies(answer) == expected
    assert site.board.buffered_bytes == 0


async def test_a_long_body_counts_whole_from_its_beginning_until_its_client_is_lost(
    site: Site,
) -> None:
    _, writer = await site.connect()
    writer.write(posted(b"/now", LONG)[:300_000])
    await until(lambda: site.board.buffered_bytes == len(LONG))
    writer.transport.abort()
    await until(lambda: not site.board.connections)
    assert site.board.buffered_bytes == 0
    assert not site.application.requests


async def test_a_long_body_beyond_what_may_wait_is_refused_while_it_arrives() -> None:
    async with opened(ConnectionOptions(max_buffered_bytes=len(LONG) - 1)) as site:
        reader, writer = await site.connect()
        writer.write(posted(b"/now", LONG)[:300_000])
        answer = await asyncio.wait_for(reader.read(), LIMIT_S)
        assert statuses(answer) == [503]
        assert site.board.buffered_bytes == 0
        assert not site.application.requests


async def test_a_long_body_with_connection_close_ends_the_connection(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(posted(b"/now", LONG).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    assert bodies(answer) == [b"/now:" + LONG]
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"HELLO\r\n\r\n", 400, id="no request line"),
        pytest.param(b"GET /now\r\n\r\n", 400, id="HTTP/0.9"),
        pytest.param(b"GET /now HTTP/2.0\r\nHost: a\r\n\r\n", 400, id="HTTP/2 without its preface"),
        pytest.param(b"GET /n\xc3\xafw HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="raw UTF-8"),
        pytest.param(b"GET /now% HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="a lone percent sign"),
        pytest.param(b"BREW /now HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="unknown method"),
        pytest.param(b"TRACE /now HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="TRACE"),
        pytest.param(b"post /now HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="method in lower case"),
        pytest.param(b"GET /now HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417, id="expect"),
        pytest.param(
            b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 413,
            id="bad chunk size",
        ),
        pytest.param(
            b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n0\r\n\r\n", 400, id="both framings at once",
        ),
        pytest.param(
            b"GET /now HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n", 431,
            id="too many header bytes",
        ),
        pytest.param(b"GET /" + b"y" * 5000, 431, id="a target without end"),
        pytest.param(
            b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n" + b"y" * 1000001,
            413, id="body too large",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_served_is_refused_in_html_and_the_connection_closed(
    site: Site, data: bytes, status: int
) -> None:
    answer = await site.exchange(data)
    assert statuses(answer) == [status]
    assert b"Connection: close\r\n" in answer
    assert b"Content-Type: text/html\r\n" in answer
    assert b"<H1>" in answer
    assert not site.application.requests


async def test_requests_before_a_bad_one_are_answered_first(site: Site) -> None:
    answer = await site.exchange(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
    assert statuses(answer) == [200, 400]


async def test_a_client_that_leaves_cancels_its_requests_alone(site: Site) -> None:
    _, leaving = await site.connect()
    reader, staying = await site.connect()
    leaving.write(b"GET /later/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    staying.write(b"GET /later/2 HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: len(site.application.waiting) == 2)
    leaving.transport.abort()
    await until(lambda: bool(site.application.cancelled))
    assert site.application.cancelled == [b"/later/1"]
    site.application.answer(b"/later/1", b"too late")
    site.application.answer(b"/later/2", b"still here")
    staying.write_eof()
    assert bodies(await asyncio.wait_for(reader.read(), LIMIT_S)) == [b"still here"]


async def test_a_large_answer_reaches_a_slow_reader_whole(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /now HTTP/1.1\r\n\r\n")
    await until(lambda: bool(site.application.waiting))
    large = bytes(range(256)) * 80_000
    site.application.answer(b"/later", large)
    writer.write_eof()
    received = bytearray()
    while piece := await asyncio.wait_for(reader.read(65536), LIMIT_S):
        received += piece
    assert bodies(bytes(received)) == [large, b"/now:"]


async def test_draining_finishes_what_is_in_flight_and_closes_what_is_idle(site: Site) -> None:
    idle_reader, idle = await site.connect()
    idle.write(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n")
    await idle_reader.readuntil(b"/now:")
    reader, busy = await site.connect()
    busy.write(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: bool(site.application.waiting))
    site.listener.close()
    assert await asyncio.wait_for(idle_reader.read(), LIMIT_S) == b""
    site.application.answer(b"/later", b"done")
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    assert bodies(answer) == [b"done"]
    assert b"Connection: close" in answer
    await site.listener.wait_closed(LIMIT_S)
    assert not site.board.connections


async def test_unfinished_bodies_are_bounded_over_all_connections() -> None:
    async with opened(ConnectionOptions(max_buffered_bytes=100_000)) as site:
        head = b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"
        _, first = await site.connect()
        first.write(head + b"x" * 80_000)
        await until(lambda: site.board.buffered_bytes == 80_000)
        reader, second = await site.connect()
        second.write(head + b"x" * 80_000)
        assert statuses(await asyncio.wait_for(reader.read(), LIMIT_S)) == [503]
        assert site.board.buffered_bytes == 80_000
        first.transport.abort()
        await until(lambda: not site.board.buffered_bytes)


def posted(target: bytes, body: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    return head % (target, len(body)) + body


async def test_requests_count_as_long_as_they_wait_for_the_model(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(posted(b"/later/1", bytes(1000)) + posted(b"/later/2", bytes(200)))
    writer.write(posted(b"/now", bytes(30)))
    await until(lambda: len(site.application.requests) == 3)
    await turn_loop()
    assert site.board.buffered_bytes == 1200
    site.application.answer(b"/later/1", b"first")
    await until(lambda: site.board.buffered_bytes == 200)
    site.application.answer(b"/later/2", b"second")
    await reader.readuntil(b"/now:")
    await until(lambda: site.board.buffered_bytes == 0)


@pytest.mark.parametrize("is_answered_late", [False, True])
async def test_what_a_lost_client_left_waiting_counts_no_more(
    site: Site, is_answered_late: bool
) -> None:
    _, writer = await site.connect()
    writer.write(posted(b"/later/1", bytes(1000)) + posted(b"/later/2", bytes(200)))
    writer.write(b"POST /now HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + bytes(50))
    await until(lambda: site.board.buffered_bytes == 1250)
    writer.transport.abort()
    await until(lambda: len(site.application.cancelled) == 2)
    assert site.board.buffered_bytes == 0
    if is_answered_late:
        site.application.answer(b"/later/1", b"too late")
        site.application.answer(b"/later/2", b"too late")
    await turn_loop()
    assert site.board.buffered_bytes == 0


async def test_what_follows_the_last_answer_of_a_connection_is_cancelled(site: Site) -> None:
    reader, writer = await site.connect()
    for target in (b"/later/1", b"/later/2", b"/later/3"):
        writer.write(posted(target, bytes(100)))
    await until(lambda: len(site.application.waiting) == 3)
    last = HttpResponse(404, b"text/html", b"no such thing", closes=True)
    site.application.waiting.pop(b"/later/2")(last)
    site.application.answer(b"/later/1", b"first")
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    assert bodies(answer) == [b"first", b"no such thing"]
    assert site.application.cancelled == [b"/later/3"]
    await until(lambda: site.board.buffered_bytes == 0)
    site.application.answer(b"/later/3", b"too late")
    await turn_loop()
    assert site.board.buffered_bytes == 0


async def test_requests_that_wait_are_bounded_over_all_connections() -> None:
    async with opened(ConnectionOptions(max_buffered_bytes=100_000)) as site:
        first_reader, first = await site.connect()
        first.write(posted(b"/later/1", bytes(80_000)))
        await until(lambda: site.board.buffered_bytes == 80_000)
        reader, second = await site.connect()
        second.write(posted(b"/later/2", bytes(80_000)))
        answer = await asyncio.wait_for(reader.read(), LIMIT_S)
        assert statuses(answer) == [503]
        await until(lambda: site.board.buffered_bytes == 80_000)
        site.application.answer(b"/later/1", b"first")
        await first_reader.readuntil(b"first")
        await until(lambda: site.board.buffered_bytes == 0)


@pytest.mark.parametrize(
    ("begun", "piece", "is_cut"),
    [
        pytest.param(b"GET /now HTTP/1.1\r\n", b"X: y\r\n", True, id="header by header"),
        pytest.param(b"GET /now HTTP/1.1\r\nX: ", b"y", True, id="a header byte by byte"),
        pytest.param(b"GET /now", b"y", True, id="a target byte by byte"),
        pytest.param(
            b"POST /now HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            b"X: y\r\n", True, id="trailer by trailer",
        ),
        pytest.param(
            b"POST /now HTTP/1.1\r\nContent-Length: 900\r\n\r\n", b"y", False, id="a body",
        ),
    ],
)  # fmt: skip
async def test_a_header_has_to_be_there_in_time_however_it_trickles(
    site: Site, begun: bytes, piece: bytes, is_cut: bool
) -> None:
    reader, writer = await site.connect()
    now = asyncio.get_running_loop().time()
    writer.write(begun)
    for _ in range(4):
        await turn_loop(50)
        site.board.sweep(now)
        now += OPTIONS.stall_timeout_s * 0.6
        if not writer.transport.is_closing():
            writer.write(piece)
    await turn_loop(50)
    assert bool(site.board.connections) is not is_cut
    assert not site.application.requests
    if is_cut:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        assert site.board.buffered_bytes == 0


def addresses() -> list[str]:
    """The loopback addresses of this machine."""
    found = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        found.append("::1")
    return found


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_without_a_host_every_address_is_listened_on(address: str) -> None:
    if address not in addresses():
        pytest.skip(f"this machine has no {address}")
    async with opened(OPTIONS, host="") as site:
        reader, writer = await asyncio.open_connection(address, site.port)
        writer.write(b"GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert bodies(await asyncio.wait_for(reader.read(), LIMIT_S)) == [b"/now:"]
        writer.close()
        await writer.wait_closed()


async def test_a_port_that_is_taken_is_an_error_on_every_address(site: Site) -> None:
    for host, where in (("", "any address"), ("127.0.0.1", "127.0.0.1")):
        with pytest.raises(InvalidArgument, match=f"Cannot listen on {where}, port {site.port}: "):
            await Site(OPTIONS).listener.listen_tcp(host, site.port)


@pytest.mark.parametrize(
    ("data", "is_cut"),
    [
        pytest.param(b"GET /now HTTP/1.1\r\nHos", True, id="half a header"),
        pytest.param(b"POST /now HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", True, id="half a body"),
        pytest.param(b"", True, id="nothing at all"),
        pytest.param(b"PRI * HT", True, id="half a preface"),
        pytest.param(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n", False, id="waiting for the model"),
        pytest.param(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n", False, id="idle"),
    ],
)
async def test_a_client_that_owes_something_for_too_long_is_cut_off(
    site: Site, data: bytes, is_cut: bool
) -> None:
    _, writer = await site.connect()
    writer.write(data)
    await until(lambda: bool(site.board.connections))
    await until(lambda: bool(site.application.requests) or is_cut)
    for _ in range(50):
        await asyncio.sleep(0)
    now = asyncio.get_running_loop().time()
    site.board.sweep(now)
    site.board.sweep(now + OPTIONS.stall_timeout_s + 1)
    for _ in range(50):
        await asyncio.sleep(0)
    assert bool(site.board.connections) is not is_cut
