"""TLS as bytes on a real socket: a client that does by hand what clients do, and what they do not.

The handshakes and the records are OpenSSL's; when each byte is sent is up to the tests.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.door import Door
from salver.transport.exchange import Cancel, HttpRequest, HttpResponse, Respond
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.listener import Listener
from salver.transport.tls import (
    ServerCredentials,
    ServerIdentity,
    TlsMaterial,
    server_credentials,
)
from tests.certificates import Authority, Pair, client_context

LIMIT_S = 20
MEGABYTE = 2**20
AUTHORITY = Authority()
OPTIONS = ConnectionOptions()
GET = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_GET = b"GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def credentials(pair: Pair, ca: str = "") -> ServerCredentials:
    return server_credentials(TlsMaterial(pair.key, pair.certificates, ca, bool(ca)), ())


class Application:
    """Answers /now with the body it got, /long with as many bytes as that says, /later later."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.waiting: list[Respond] = []
        self.cancelled = 0

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        self.requests.append(request)
        if request.target == b"/later":
            self.waiting.append(respond)
            return self._cancel
        body = bytes(request.body)
        if request.target == b"/long":
            body = bytes(range(256)) * (int(body) // 256)
        respond(HttpResponse(200, b"text/plain", body))
        return None

    def _cancel(self) -> None:
        self.cancelled += 1


class Client:
    """One socket, and the client's end of TLS above it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.writer.write(self.outgoing.read())
                await self.receive()
            else:
                self.writer.write(self.outgoing.read())
                return

    async def receive(self) -> None:
        data = await asyncio.wait_for(self.reader.read(MEGABYTE), LIMIT_S)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def encrypted(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()

    def farewell(self) -> bytes:
        """What says that nothing more will be sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def send(self, data: bytes) -> None:
        for begin in range(0, len(data), 16384):
            self.writer.write(self.encrypted(data[begin : begin + 16384]))

    async def read(self, size: int) -> bytes:
        """So many bytes of what the server says."""
        parts: list[bytes] = []
        while size:
            try:
                part = self.tls.read(size)
            except ssl.SSLWantReadError:
                await self.receive()
                continue
            assert part, "the server said farewell too early"
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    async def answer(self) -> bytes:
        """The body of the next answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.read(1)
        match = re.search(rb"Content-Length: (\d+)", head)
        assert match is not None, head
        return await self.read(int(match[1]))

    async def is_left_properly(self) -> bool:
        """Whether the server says farewell, and nothing else, and then closes the socket."""
        while True:
            try:
                assert self.tls.read(1) == b""
            except ssl.SSLWantReadError:
                await self.receive()
            except ssl.SSLZeroReturnError:
                break
            else:
                break
        is_farewell = not self.incoming.eof
        return is_farewell and await asyncio.wait_for(self.reader.read(), LIMIT_S) == b""


class Site:
    """A listener with TLS on a free port and what it leads to."""

    def __init__(self, options: ConnectionOptions, identity: ServerIdentity) -> None:
        self.identity = identity
        self.application = Application()
        self.failed: list[str] = []
        self.board = Switchboard(
            options, self.application, {}, (Http1, Http2), handshake_failed=self.failed.append
        )
        self.listener = Listener(self.board)
        self.port = 0
        self.surprises: list[dict[str, object]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def socket(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return reader, writer

    async def stranger(self) -> Client:
        """A client that has not shaken hands yet."""
        return Client(*await self.socket(), client_context(AUTHORITY))

    async def client(self) -> Client:
        client = await self.stranger()
        await client.shake_hands()
        return client

    async def close(self) -> None:
        self.listener.close()
        self.listener.abort()
        await self.listener.wait_closed(LIMIT_S)
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def opened(
    options: ConnectionOptions = OPTIONS, served: ServerCredentials | None = None
) -> AsyncIterator[Site]:
    identity = ServerIdentity("f", served or credentials(AUTHORITY.issue()))
    site = Site(options, identity)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: site.surprises.append(context))
    site.port = await site.listener.listen_tcp("127.0.0.1", 0, Door(identity))
    try:
        yield site
    finally:
        await site.close()
    assert site.surprises == []


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened() as site:
        yield site


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - many kinds of things are waited for
            await asyncio.sleep(0)


def post(target: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


# --- exchanges -----------------------------------------------------------------------


async def test_requests_are_answered_one_after_the_other(site: Site) -> None:
    client = await site.client()
    for number in range(3):
        client.send(post("/now", b"%d" % number))
        assert await client.answer() == b"%d" % number


async def test_a_request_may_come_in_one_piece_with_the_end_of_the_handshake(site: Site) -> None:
    client = await site.stranger()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.writer.write(client.outgoing.read())
    await client.receive()
    client.tls.do_handshake()
    client.tls.write(post("/now", b"early"))
    client.writer.write(client.outgoing.read())
    assert await client.answer() == b"early"


async def test_bytes_may_come_one_by_one(site: Site) -> None:
    client = await site.stranger()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.outgoing.read()
    await trickle(client.writer, hello)
    await client.receive()
    client.tls.do_handshake()
    client.tls.write(post("/now", b"slow"))
    await trickle(client.writer, client.outgoing.read())
    assert await client.answer() == b"slow"


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)


async def test_many_records_may_come_in_one_piece(site: Site) -> None:
    client = await site.client()
    client.writer.write(
        b"".join(client.encrypted(post("/now", b"%d" % number)) for number in range(100))
    )
    assert [await client.answer() for _ in range(100)] == [b"%d" % n for n in range(100)]


async def test_large_messages_go_both_ways(site: Site) -> None:
    client = await site.client()
    body = bytes(range(251)) * (20 * MEGABYTE // 251)
    client.send(post("/now", body))
    assert await client.answer() == body


async def test_a_client_that_reads_slowly_gets_all_of_a_large_answer(site: Site) -> None:
    client = await site.client()
    size = 30 * MEGABYTE
    client.send(post("/long", b"%d" % size))
    await until(lambda: bool(site.application.requests))
    (connection,) = site.board.connections
    await until(lambda: not connection.is_writable)
    # Nor is anything read from a client that does not read.
    client.send(GET)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(site.application.requests) == 1
    assert await client.answer() == bytes(range(256)) * (size // 256)
    assert await client.answer() == b""


async def test_a_large_answer_is_not_encrypted_before_there_is_room_for_it(site: Site) -> None:
    client = await site.client()
    client.send(post("/long", b"%d" % (64 * MEGABYTE)))
    await until(lambda: bool(site.application.requests))
    (connection,) = site.board.connections
    await until(lambda: not connection.is_writable)
    stream: Any = connection._transport
    assert stream._socket.get_write_buffer_size() < 2 * MEGABYTE
    assert stream.get_write_buffer_size() > 32 * MEGABYTE


# --- endings -------------------------------------------------------------------------


async def test_the_server_says_farewell_when_it_closes(site: Site) -> None:
    client = await site.client()
    client.send(LAST_GET)
    assert await client.answer() == b""
    assert await client.is_left_properly()


async def test_a_client_that_sends_no_more_still_gets_its_answers(site: Site) -> None:
    client = await site.client()
    client.writer.write(client.encrypted(post("/now", b"last words")) + client.farewell())
    client.writer.write_eof()
    received = await asyncio.wait_for(client.reader.read(), LIMIT_S)
    client.incoming.write(received)
    assert client.tls.read(10_000).endswith(b"\r\n\r\nlast words")


async def test_an_answer_that_is_on_its_way_comes_whole_although_the_client_sends_no_more(
    site: Site,
) -> None:
    client = await site.client()
    size = 30 * MEGABYTE
    client.writer.write(client.encrypted(post("/long", b"%d" % size)))
    client.writer.write_eof()
    assert await client.answer() == bytes(range(256)) * (size // 256)
    assert await client.is_left_properly()


async def test_the_last_answer_comes_whole_before_the_farewell(site: Site) -> None:
    client = await site.client()
    size = 30 * MEGABYTE
    client.send(post("/long", b"%d" % size, "Connection: close"))
    await until(lambda: bool(site.application.requests))
    (connection,) = site.board.connections
    await until(lambda: not connection.is_writable)
    assert await client.answer() == bytes(range(256)) * (size // 256)
    assert await client.is_left_properly()


async def test_a_model_need_not_run_for_a_client_that_is_gone(site: Site) -> None:
    client = await site.client()
    client.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: bool(site.application.waiting))
    client.writer.transport.abort()
    await until(lambda: site.application.cancelled == 1)
    await until(lambda: not site.board.connections)
    site.application.waiting[0](HttpResponse(200, b"text/plain", b"too late"))


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    async with opened(ConnectionOptions(max_request_bytes=1000)) as site:
        client = await site.client()
        client.send(b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        client.send(b"x" * 50_000)
        assert b"413" in await client.answer()
        client.send(b"x" * 50_000)
        assert await client.is_left_properly()


# --- those who do not speak TLS, or not to the end ------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(GET, "HTTP_REQUEST", id="HTTP/1.1"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x00\x05hello", "", id="a handshake of nothing"),
        pytest.param(bytes(1000), "", id="zeros"),
    ],
)
async def test_who_does_not_speak_tls_is_cut_off_at_once(
    site: Site, caplog: pytest.LogCaptureFixture, data: bytes, reason: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        reader, writer = await site.socket()
        writer.write(data)
        alert = await asyncio.wait_for(reader.read(), LIMIT_S)
        await until(lambda: not site.board.connections)
    assert alert == b"" or alert[0] == 0x15
    assert site.application.requests == []
    (record,) = [each for each in caplog.records if each.name.startswith("salver")]
    assert record.levelno == logging.DEBUG
    assert "The TLS handshake with ('127.0.0.1', " in record.message
    assert record.exc_info is None
    # OpenSSL's names for the others change with its version.
    (why,) = site.failed
    assert re.fullmatch(reason or "[A-Z0-9_]+", why)


async def test_a_record_that_was_changed_on_the_way_ends_the_connection(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    client = await site.client()
    client.send(GET)
    assert await client.answer() == b""
    record = bytearray(client.encrypted(GET))
    record[-1] ^= 1
    with caplog.at_level(logging.DEBUG):
        client.writer.write(bytes(record))
        await until(lambda: not site.board.connections)
    assert len(site.application.requests) == 1
    (message,) = [each.message for each in caplog.records if each.name.startswith("salver")]
    assert re.match(r"TLS with \('127.0.0.1', \d+\) failed: .*BAD_RECORD_MAC", message)
    assert site.failed == []


@pytest.mark.parametrize("sent", [0, 1, 100])
async def test_a_handshake_that_is_not_finished_is_cut_off_however_it_trickles(
    site: Site, caplog: pytest.LogCaptureFixture, sent: int
) -> None:
    client = await site.stranger()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.outgoing.read()
    await until(lambda: bool(site.board.connections))
    now = asyncio.get_running_loop().time()
    site.board.sweep(now)
    await trickle(client.writer, hello[:sent])
    site.board.sweep(now + OPTIONS.stall_timeout_s / 2)
    await trickle(client.writer, hello[sent : sent + 10])
    assert len(site.board.connections) == 1
    with caplog.at_level(logging.DEBUG):
        site.board.sweep(now + OPTIONS.stall_timeout_s + 1)
        await until(lambda: not site.board.connections)
    assert "failed: it was not finished" in caplog.text
    assert site.failed == ["NOT_FINISHED"]


async def test_who_only_looks_whether_the_port_is_open_has_failed_in_nothing(site: Site) -> None:
    _, writer = await site.socket()
    await until(lambda: len(site.board.connections) == 1)
    writer.close()
    await until(lambda: not site.board.connections)
    client = await site.client()
    client.send(GET)
    assert await client.answer() == b""
    assert site.failed == []


async def test_a_client_that_goes_away_in_the_handshake_is_forgotten(site: Site) -> None:
    for leave in ("write_eof", "abort"):
        client = await site.stranger()
        await until(lambda: len(site.board.connections) == 1)
        getattr(client.writer.transport, leave)()
        await until(lambda: not site.board.connections)


# --- limits --------------------------------------------------------------------------


@pytest.mark.parametrize("request_first", [True, False])
async def test_a_client_that_does_not_read_is_cut_off(site: Site, request_first: bool) -> None:
    client = await site.client()
    client.send(post("/long", b"%d" % (30 * MEGABYTE)))
    await until(lambda: bool(site.application.requests))
    (connection,) = site.board.connections
    await until(lambda: not connection.is_writable)
    if not request_first:
        client.writer.write_eof()
    now = asyncio.get_running_loop().time()
    site.board.sweep(now)
    site.board.sweep(now + OPTIONS.stall_timeout_s - 1)
    assert site.board.connections
    site.board.sweep(now + OPTIONS.stall_timeout_s + 1)
    await until(lambda: not site.board.connections)


async def test_a_connection_without_requests_is_cut_off_in_time() -> None:
    async with opened(ConnectionOptions(idle_timeout_s=5)) as site:
        client = await site.client()
        client.send(GET)
        assert await client.answer() == b""
        now = asyncio.get_running_loop().time()
        site.board.sweep(now)
        site.board.sweep(now + 4)
        assert site.board.connections
        site.board.sweep(now + 6)
        await until(lambda: not site.board.connections)


async def test_handshakes_count_as_connections() -> None:
    async with opened(ConnectionOptions(max_connections=3)) as site:
        talking = await site.client()
        strangers = [await site.stranger() for _ in range(2)]
        await until(lambda: len(site.board.connections) == 3)
        late, _ = await site.socket()
        assert await asyncio.wait_for(late.read(), LIMIT_S) == b""
        talking.send(GET)
        assert await talking.answer() == b""
        for stranger in strangers:
            await stranger.shake_hands()
            stranger.send(GET)
            assert await stranger.answer() == b""


async def test_draining_ends_handshakes_and_waits_for_answers(site: Site) -> None:
    busy, idle, stranger = await site.client(), await site.client(), await site.stranger()
    busy.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
    idle.send(GET)
    assert await idle.answer() == b""
    await until(lambda: bool(site.application.waiting) and len(site.board.connections) == 3)
    site.listener.close()
    assert await asyncio.wait_for(stranger.reader.read(), LIMIT_S) == b""
    assert await idle.is_left_properly()
    assert len(site.board.connections) == 1
    site.application.waiting[0](HttpResponse(200, b"text/plain", b"done"))
    assert await busy.answer() == b"done"
    assert await busy.is_left_properly()
    await asyncio.wait_for(site.board.all_closed.wait(), LIMIT_S)


# --- certificates --------------------------------------------------------------------


async def test_a_new_certificate_is_for_new_handshakes(site: Site) -> None:
    old = await site.client()
    old.send(GET)
    assert await old.answer() == b""
    midway = await site.stranger()
    await until(lambda: len(site.board.connections) == 2)
    site.identity.credentials = credentials(AUTHORITY.issue())
    new = await site.client()
    await midway.shake_hands()
    for client in (old, midway, new):
        client.send(GET)
        assert await client.answer() == b""
    shown = [client.tls.getpeercert(True) for client in (old, midway, new)]
    assert shown[0] == shown[1] != shown[2]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_without_a_certificate_is_told_what_is_missing(
    version: ssl.TLSVersion,
) -> None:
    async with opened(served=credentials(AUTHORITY.issue(), AUTHORITY.pem)) as site:
        context = client_context(AUTHORITY)
        context.maximum_version = version
        client = Client(*await site.socket(), context)

        async def first_byte() -> None:
            await client.shake_hands()
            await client.read(1)

        with pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"):
            await first_byte()
        await until(lambda: not site.board.connections)
        assert site.failed == ["PEER_DID_NOT_RETURN_A_CERTIFICATE"]
