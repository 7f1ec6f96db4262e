"""HTTP/2 on a real socket, with gRPC handlers and an application that the tests control."""

import asyncio
import contextlib
import logging
import random
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

from salver.errors import NotFound, Unavailable
from salver.transport import http2 as http2_module
from salver.transport import refusals as refusals_module
from salver.transport import unread as unread_module
from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.exchange import (
    Cancel,
    Handler,
    HttpRequest,
    HttpResponse,
    Message,
    Respond,
    UnaryCall,
)
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.listener import Listener
from tests.fakes import turn_loop

LIMIT_S = 20
SERVICE = "/test.Service/"
OPTIONS = ConnectionOptions(max_request_bytes=6_000_000)
ENHANCE_YOUR_CALM = 0xB
GOAWAY = 7


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


class GatedExecutor(ThreadPoolExecutor):
    """Its work begins when the test opens the gate."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate = threading.Event()
        self.submissions = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def work() -> Any:
            assert self.gate.wait(LIMIT_S)
            return fn(*args, **kwargs)

        self.submissions += 1
        return super().submit(work)


def gated() -> GatedExecutor:
    """From here on, what the loop hands to threads waits for a gate."""
    executor = GatedExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


MIB = 1024 * 1024
GZIP = ("grpc-encoding", "gzip")


def gzip_of(*pieces: bytes) -> bytes:
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*map(deflater.compress, pieces), deflater.flush()])


def bomb() -> bytes:
    """About a megabyte that unpacks to a little more than 100 MiB."""
    packed = gzip_of(random.Random(1).randbytes(900_000), *[bytes(MIB)] * 100)
    assert 900_000 < len(packed) < 1_500_000
    return packed


class Service:
    """gRPC methods: Echo answers at once, Wait when the test says so, the others oddly."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, UnaryCall] = {}
        self.cancelled: list[bytes] = []
        self.messages: list[bytes] = []
        self.deadlines: list[float | None] = []
        self.large = bytes(64 * 1024 * 1024)
        self.refused_again: list[bytes] = []
        self.while_busy: Callable[[], None] = lambda: None

    def handlers(self) -> dict[bytes, Handler]:
        methods: list[Handler] = [
            self.echo, self.wait, self.fail, self.crash, self.send_large, self.keep_busy,
            self.refuse,
        ]  # fmt: skip
        names = ["Echo", "Wait", "Fail", "Crash", "Large", "KeepBusy", "Refuse"]
        return {
            f"{SERVICE}{name}".encode(): method for name, method in zip(names, methods, strict=True)
        } | {b"/grpc.health.v1.Health/Check": self.echo}

    def echo(self, call: UnaryCall, message: Message) -> None:
        self.messages.append(bytes(message))
        self.deadlines.append(call.deadline)
        call.succeed(framed(bytes(message)))

    def wait(self, call: UnaryCall, message: Message) -> None:
        name = bytes(message)
        self.waiting[name] = call
        call.cancel = lambda: self.cancelled.append(name)

    def answer(self, name: bytes) -> None:
        self.waiting.pop(name).succeed(framed(b"answer to " + name))

    def fail(self, call: UnaryCall, message: Message) -> None:
        raise NotFound(bytes(message).decode())

    def crash(self, call: UnaryCall, message: Message) -> None:
        raise ZeroDivisionError

    def send_large(self, call: UnaryCall, message: Message) -> None:
        self.messages.append(bytes(message))
        call.succeed(self.large)

    def refuse(self, call: UnaryCall, message: Message) -> None:
        self.messages.append(bytes(message))
        call.refuse(Unavailable("busy"), lambda: self.refused_again.append(bytes(message)))

    def keep_busy(self, call: UnaryCall, message: Message) -> None:
        self.while_busy()
        call.succeed(framed(b""))


class Application:
    """Answers with target and body, but /later only when the test says so."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.waiting: dict[bytes, Respond] = {}
        self.cancelled: list[bytes] = []

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        self.requests.append(request)
        if request.target == b"/later":
            self.waiting[request.target] = respond
            return lambda: self.cancelled.append(request.target)
        body = request.target + b":" + request.body
        respond(HttpResponse(200, b"text/plain", body, ((b"X-Extra", b"yes"),)))
        return None


@dataclass
class Response:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None


class Client:
    """The `h2` library on a socket; reads only when asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.responses: dict[int, Response] = {}
        self.goaways: list[tuple[int, int]] = []
        self.is_closed = False
        self._received = bytearray()

    def begin(self, window: int = 65_535) -> None:
        values = {SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.connection.local_settings = Settings(client=True, initial_values=values)
        self.connection.initiate_connection()
        if window > 65_535:
            self.connection.increment_flow_control_window(window - 65_535)
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.connection.data_to_send())

    def request(
        self,
        path: str,
        body: bytes = b"",
        *headers: tuple[str, str],
        method: str = "POST",
        end: bool = True,
    ) -> int:
        stream_id = self.connection.get_next_available_stream_id()
        self.responses[stream_id] = Response()
        pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")]
        self.connection.send_headers(stream_id, [*pseudo, *headers], end_stream=end and not body)
        size = self.connection.max_outbound_frame_size
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            is_last = end and start + size >= len(body)
            self.connection.send_data(stream_id, piece, end_stream=is_last)
        self.flush()
        return stream_id

    def call(self, method: str, message: bytes, *headers: tuple[str, str], end: bool = True) -> int:
        return self._call(method, framed(message), headers, end)

    async def call_packed(self, method: str, packed: bytes, *headers: tuple[str, str]) -> int:
        """Call with a message that is compressed already, once the windows have room for it."""
        connection, size = self.connection, len(packed) + 5

        def has_room() -> bool:
            windows = connection.outbound_flow_control_window
            return min(windows, connection.remote_settings.initial_window_size) >= size

        await self.until(has_room)
        return self._call(method, b"\1" + framed(packed)[1:], headers, True)

    def _call(self, method: str, body: bytes, headers: Sequence[tuple[str, str]], end: bool) -> int:
        grpc_headers = [("te", "trailers"), ("content-type", "application/grpc"), *headers]
        return self.request(SERVICE + method, body, *grpc_headers, end=end)

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until the condition holds."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                try:
                    data = await self.reader.read(1 << 20)
                except ConnectionError:
                    data = b""
                if not data:
                    self.is_closed = True
                    assert condition(), "the server closed the connection"
                    return
                self._received += data
                for event in self.connection.receive_data(self._take_frames()):
                    self._note(event)
                self.flush()

    def _take_frames(self) -> bytes:
        """The whole frames that are there, without GOAWAY: after one, `h2` reads no more."""
        taken = []
        while len(self._received) >= 9:
            size = 9 + int.from_bytes(self._received[:3], "big")
            if len(self._received) < size:
                break
            frame = bytes(self._received[:size])
            del self._received[:size]
            if frame[3] == GOAWAY:
                last, code = frame[9:13], frame[13:17]
                self.goaways.append((int.from_bytes(code, "big"), int.from_bytes(last, "big")))
            else:
                taken.append(frame)
        return b"".join(taken)

    async def response(self, stream_id: int) -> Response:
        response = self.responses[stream_id]
        await self.until(lambda: response.ended or response.reset is not None)
        return response

    async def until_closed(self) -> None:
        await self.until(lambda: self.is_closed)

    def _note(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=int(stream_id), headers=list(headers)):
                pairs = {bytes(name): bytes(value) for name, value in headers}
                self.responses[stream_id].headers = pairs
            case DataReceived(stream_id=int(stream_id), data=bytes(data)):
                self.responses[stream_id].body += data
                size = event.flow_controlled_length
                if size:
                    self.connection.acknowledge_received_data(size, stream_id)
            case TrailersReceived(stream_id=int(stream_id), headers=list(headers)):
                pairs = {bytes(name): bytes(value) for name, value in headers}
                self.responses[stream_id].trailers = pairs
            case StreamEnded(stream_id=int(stream_id)):
                self.responses[stream_id].ended = True
            case StreamReset(stream_id=int(stream_id)):
                self.responses[stream_id].reset = int(event.error_code or 0)


class Site:
    """A listener on a free port and what it leads to."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.service = Service()
        self.application = Application()
        self.board = Switchboard(options, self.application, self.service.handlers(), (Http1, Http2))
        self.listener = Listener(self.board)
        self.port = 0
        self._clients: list[Client] = []
        self._channels: list[grpc.aio.Channel] = []

    async def connect(self, window: int = 65_535) -> Client:
        client = await self.bare_client()
        client.begin(window)
        return client

    async def bare_client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    def channel(self) -> Any:
        options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options)
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        self.listener.close()
        self.listener.abort()
        await self.listener.wait_closed(LIMIT_S)
        for client in self._clients:
            client.writer.transport.abort()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()


@contextlib.asynccontextmanager
async def opened(options: ConnectionOptions) -> AsyncIterator[Site]:
    site = Site(options)
    site.port = await site.listener.listen_tcp("127.0.0.1", 0)
    try:
        yield site
    finally:
        await site.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened(OPTIONS) as site:
        yield site


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await turn_loop(1)


async def called(channel: Any, method: str, message: bytes, **options: Any) -> bytes:
    call = channel.unary_unary(SERVICE + method)
    answer: bytes = await asyncio.wait_for(call(message, **options), LIMIT_S)
    return answer


async def called_for_ever(channel: Any) -> None:
    while True:
        assert await called(channel, "Echo", b"x") == b"x"


async def refusal(call: Awaitable[object]) -> tuple[str, str]:
    """The code and the details with which a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code().name, failure.value.details() or ""


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_a_message_of_any_size_goes_there_and_back(site: Site, size: int) -> None:
    message = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert await called(site.channel(), "Echo", message) == message
    assert site.service.messages == [message]


async def test_many_calls_at_once_may_be_answered_in_any_order(site: Site) -> None:
    channel = site.channel()
    names = [b"call %d" % number for number in range(200)]
    calls = [asyncio.ensure_future(called(channel, "Wait", name)) for name in names]
    await until(lambda: len(site.service.waiting) == len(names))
    for name in reversed(names):
        site.service.answer(name)
    assert await asyncio.gather(*calls) == [b"answer to " + name for name in names]


async def test_an_unknown_method_is_unimplemented(site: Site) -> None:
    assert await refusal(called(site.channel(), "Nothing", b"")) == ("UNIMPLEMENTED", "")


async def test_the_words_of_an_error_arrive_as_they_are(site: Site) -> None:
    words = "no größe ∞\n100% \t sure"
    answer = await refusal(called(site.channel(), "Fail", words.encode()))
    assert answer == ("NOT_FOUND", words)


async def test_what_nobody_expected_is_logged_and_becomes_internal(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    channel = site.channel()
    code, details = await refusal(called(channel, "Crash", b""))
    assert code == "INTERNAL"
    assert details == "Unexpected error in the server; its log has the details"
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert await called(channel, "Echo", b"still there") == b"still there"


async def test_the_deadline_of_a_call_reaches_the_handler(site: Site) -> None:
    channel = site.channel()
    await called(channel, "Echo", b"", timeout=1000)
    now = asyncio.get_running_loop().time()
    await called(channel, "Echo", b"")
    [deadline, none] = site.service.deadlines
    assert deadline is not None
    # gRPC rounds up what it sends.
    assert 0 < deadline - now < 1100
    assert none is None


async def test_a_call_whose_time_is_over_is_not_begun(site: Site) -> None:
    client = await site.connect()
    response = await client.response(client.call("Echo", b"late", ("grpc-timeout", "0n")))
    assert response.headers[b"grpc-status"] == b"4"
    assert not site.service.messages


async def test_a_call_that_was_read_late_has_less_time_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, client = await site.connect(), await site.connect()
    calls: list[int] = []
    turns = 0

    def be_busy() -> None:
        nonlocal turns
        turns += 1
        if turns <= 3:
            busy.call("KeepBusy", b"")
            threading.Event().wait(0.005)
            return
        for limit in ("50m", "850m", "100S"):
            calls.append(client.call("Echo", limit.encode(), ("grpc-timeout", limit)))
        health = "/grpc.health.v1.Health/Check"
        headers = [("content-type", "application/grpc"), ("grpc-timeout", "850m")]
        calls.append(client.request(health, framed(b"health"), *headers))
        threading.Event().wait(0.3)

    site.service.while_busy = be_busy
    with monkeypatch.context() as patch:
        # On a busy machine other programs may hold up the loop, which is no rest here.
        patch.setattr(unread_module, "_REST_S", LIMIT_S)
        await busy.response(busy.call("KeepBusy", b""))
        await until(lambda: calls)
        late, near, in_time, health = [await client.response(call) for call in calls]
    assert late.headers[b"grpc-status"] == b"4"
    assert near.headers[b"grpc-status"] == b"14"
    assert near.headers[b"grpc-message"].startswith(b"The server is overloaded: ")
    assert in_time.trailers[b"grpc-status"] == health.trailers[b"grpc-status"] == b"0"
    assert site.service.messages == [b"100S", b"health"]
    assert site.board.read_too_late == 2
    [deadline, _] = site.service.deadlines
    assert deadline is not None
    assert deadline < asyncio.get_running_loop().time() + 100 - 0.2
    # Now that there is time to read, all have theirs.
    again = await client.response(client.call("Echo", b"", ("grpc-timeout", "850m")))
    assert again.trailers[b"grpc-status"] == b"0"


async def test_what_is_refused_for_want_of_time_is_refused_again_without_the_handler(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may take longer than the moment for which it holds.
    monkeypatch.setattr(refusals_module, "_LONGEST_S", 1000.0)
    client, model = await site.connect(), b"\x0a\x05model"
    calls = [
        client.call("Refuse", model + rest, ("grpc-timeout", limit))
        for rest, limit in [(b"", "10000S"), (b"\x12\0", "9000S"), (b"", "20000S")]
    ]
    other = client.call("Echo", model, ("grpc-timeout", "9000S"))
    for call in calls:
        response = await client.response(call)
        assert response.headers[b"grpc-status"] == b"14"
        assert response.headers[b"grpc-message"] == b"busy"
    assert (await client.response(other)).trailers[b"grpc-status"] == b"0"
    assert site.service.messages == [model, model, model]
    assert site.service.refused_again == [model]


async def test_a_timeout_that_is_none_is_refused(site: Site) -> None:
    client = await site.connect()
    response = await client.response(client.call("Echo", b"", ("grpc-timeout", "soon")))
    assert response.headers[b"grpc-status"] == b"13"
    assert response.headers[b"grpc-message"] == b"Bad grpc-timeout: soon"


async def test_a_client_that_cancels_reaches_the_handler_of_that_call_alone(site: Site) -> None:
    channel = site.channel()
    cancelled = channel.unary_unary(f"{SERVICE}Wait")(b"first")
    other = asyncio.ensure_future(called(channel, "Wait", b"second"))
    # The call begins when somebody waits for it.
    waiter = asyncio.ensure_future(cancelled.wait_for_connection())
    await until(lambda: len(site.service.waiting) == 2)
    late = site.service.waiting[b"first"]
    cancelled.cancel()
    await until(lambda: site.service.cancelled)
    assert site.service.cancelled == [b"first"]
    site.service.answer(b"second")
    assert await other == b"answer to second"
    late.succeed(framed(b"too late"))
    assert await called(channel, "Echo", b"x") == b"x"
    waiter.cancel()


async def test_a_client_that_runs_out_of_time_cancels(site: Site) -> None:
    code, _ = await refusal(called(site.channel(), "Wait", b"slow", timeout=0.05))
    assert code == "DEADLINE_EXCEEDED"
    await until(lambda: site.service.cancelled)


async def test_a_lost_connection_cancels_all_its_calls_and_no_others(site: Site) -> None:
    leaving, staying = await site.connect(), await site.connect()
    for name in (b"a", b"b"):
        leaving.call("Wait", name)
    leaving.request("/later", method="GET")
    stream_id = staying.call("Wait", b"c")
    await until(lambda: len(site.service.waiting) == 3 and site.application.waiting)
    leaving.writer.transport.abort()
    await until(lambda: len(site.service.cancelled) == 2)
    assert sorted(site.service.cancelled) == [b"a", b"b"]
    assert site.application.cancelled == [b"/later"]
    late = site.service.waiting[b"a"]
    late.succeed(framed(b"too late"))
    site.service.answer(b"c")
    response = await staying.response(stream_id)
    assert bytes(response.body) == framed(b"answer to c")


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_unpacked(site: Site, algorithm: grpc.Compression) -> None:
    message = b"much of the same " * 10_000
    assert await called(site.channel(), "Echo", message, compression=algorithm) == message
    assert site.service.messages == [message]


async def test_an_answer_says_which_compression_is_understood(site: Site) -> None:
    client = await site.connect()
    response = await client.response(client.call("Echo", b"x"))
    assert response.headers == {
        b":status": b"200",
        b"content-type": b"application/grpc",
        b"grpc-accept-encoding": b"identity, deflate, gzip",
    }
    assert response.trailers == {b"grpc-status": b"0"}
    assert bytes(response.body) == framed(b"x")


async def test_a_body_that_is_not_one_message_is_refused(site: Site) -> None:
    client = await site.connect()
    grpc_type = ("content-type", "application/grpc")
    for body in (b"", b"\0\0", framed(b"a") * 2, framed(b"abc")[:-1]):
        response = await client.response(client.request(f"{SERVICE}Echo", body, grpc_type))
        assert response.headers[b"grpc-status"] == b"13"
    assert not site.service.messages


async def test_rest_is_answered_over_http_2_too(site: Site) -> None:
    client = await site.connect()
    post = client.request("/now?x=%20", b"body", ("X-Mine", "1"))
    response = await client.response(post)
    assert response.headers[b":status"] == b"200"
    assert response.headers[b"content-type"] == b"text/plain"
    assert response.headers[b"content-length"] == b"15"
    assert response.headers[b"x-extra"] == b"yes"
    assert b"date" in response.headers
    assert bytes(response.body) == b"/now?x=%20:body"
    assert not response.trailers
    [request] = site.application.requests
    assert (request.method, request.header(b"x-mine")) == (b"POST", b"1")


async def test_the_answer_to_head_has_a_length_but_no_body(site: Site) -> None:
    client = await site.connect()
    response = await client.response(client.request("/now", method="HEAD"))
    assert response.headers[b"content-length"] == b"5"
    assert not response.body


async def test_rest_may_be_answered_later_or_cancelled(site: Site) -> None:
    client = await site.connect()
    first = client.request("/later", method="GET")
    await until(lambda: site.application.waiting)
    site.application.waiting.pop(b"/later")(HttpResponse(200, b"text/plain", b"done"))
    assert bytes((await client.response(first)).body) == b"done"
    second = client.request("/later", method="GET")
    await until(lambda: site.application.waiting)
    client.connection.reset_stream(second)
    client.flush()
    await until(lambda: site.application.cancelled)


async def test_both_versions_of_http_share_a_port(site: Site) -> None:
    assert await called(site.channel(), "Echo", b"x") == b"x"
    one = await site.bare_client()
    one.writer.write(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await one.reader.readuntil(b"/one:")).startswith(b"HTTP/1.1 200 OK\r\n")
    two = await site.connect()
    response = await two.response(two.request("/two", method="GET"))
    assert bytes(response.body) == b"/two:"


async def test_the_preface_may_come_byte_by_byte(site: Site) -> None:
    client = await site.bare_client()
    client.connection.initiate_connection()
    for byte in client.connection.data_to_send():
        client.writer.write(bytes((byte,)))
        await client.writer.drain()
        await asyncio.sleep(0)
    response = await client.response(client.call("Echo", b"x"))
    assert bytes(response.body) == framed(b"x")


async def test_draining_finishes_what_is_in_flight_takes_no_more_and_closes(site: Site) -> None:
    busy, idle = await site.connect(), await site.connect()
    await idle.response(idle.call("Echo", b"x"))
    stream_id = busy.call("Wait", b"last")
    await until(lambda: site.service.waiting)
    site.listener.close()
    await idle.until_closed()
    # First a notice that closes nothing, then the last stream that will be served.
    await busy.until(lambda: len(busy.goaways) == 2)
    assert busy.goaways == [(0, 2**31 - 1), (0, stream_id)]
    assert not busy.is_closed
    site.service.answer(b"last")
    response = await busy.response(stream_id)
    assert bytes(response.body) == framed(b"answer to last")
    await busy.until_closed()
    await site.listener.wait_closed(LIMIT_S)
    assert not site.board.connections


async def test_a_client_loses_no_call_to_draining(site: Site) -> None:
    channel = site.channel()
    last = asyncio.ensure_future(called(channel, "Wait", b"last"))
    await until(lambda: site.service.waiting)
    site.listener.close()
    # The notice takes a moment: until it is read, new calls are served on the old connection.
    code, _ = await refusal(asyncio.wait_for(called_for_ever(channel), LIMIT_S))
    assert code == "UNAVAILABLE"
    site.service.answer(b"last")
    assert await last == b"answer to last"
    await site.listener.wait_closed(LIMIT_S)
    assert not site.board.connections


async def test_a_client_that_does_not_read_the_notice_is_not_waited_for_long(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_module, "_NOTICE_S", 0.01)
    client = await site.connect()
    await client.response(client.call("Echo", b"x"))
    site.listener.close()
    await site.listener.wait_closed(LIMIT_S)
    assert not site.board.connections


async def test_a_client_that_does_not_read_gets_no_work_done_and_takes_no_memory(
    site: Site,
) -> None:
    client = await site.connect(window=2**30)
    tracemalloc.start()
    try:
        first = client.call("Large", b"first")
        await until(lambda: not all(one.is_writable for one in site.board.connections))
        second = client.call("Echo", b"second")
        await turn_loop(100)
        assert site.service.messages == [b"first"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(site.service.large) / 8
    assert len((await client.response(first)).body) == len(site.service.large)
    assert bytes((await client.response(second)).body) == framed(b"second")


@pytest.mark.parametrize(
    ("situation", "is_cut"),
    [
        pytest.param("half a preface", True, id="half a preface"),
        pytest.param("half a body", True, id="half a body"),
        pytest.param("unread answer", True, id="answered, but its window stays shut"),
        pytest.param("waiting", False, id="waiting for the model"),
        pytest.param("idle", False, id="idle"),
    ],
)
async def test_a_client_that_owes_something_for_too_long_is_cut_off(
    site: Site, situation: str, is_cut: bool
) -> None:
    client = await site.bare_client()
    if situation == "half a preface":
        client.writer.write(b"PRI * HTTP/2.0\r\n")
        await until(lambda: site.board.connections)
    else:
        client.begin()
        stream_id = client.call("Echo", b"first")
        await client.response(stream_id)
    if situation == "half a body":
        client.call("Echo", b"second", end=False)
        await until(lambda: site.board.buffered_bytes)
    elif situation == "unread answer":
        client.call("Echo", bytes(200_000)[:60_000])
        client.call("Large", b"x")
        await until(lambda: len(site.service.messages) == 3)
    elif situation == "waiting":
        client.call("Wait", b"x")
        await until(lambda: site.service.waiting)
    await turn_loop(50)
    now = asyncio.get_running_loop().time()
    site.board.sweep(now)
    site.board.sweep(now + OPTIONS.stall_timeout_s + 1)
    await turn_loop(50)
    assert bool(site.board.connections) is not is_cut
    if is_cut:
        assert site.board.buffered_bytes == 0


async def test_a_client_that_is_idle_too_long_is_cut_off_if_that_is_limited() -> None:
    options = ConnectionOptions(idle_timeout_s=5)
    async with opened(options) as site:
        client = await site.connect()
        await client.response(client.call("Echo", b"x"))
        now = asyncio.get_running_loop().time()
        site.board.sweep(now)
        site.board.sweep(now + 4)
        assert site.board.connections
        site.board.sweep(now + 6)
        await client.until_closed()


GARBAGE: Sequence[Any] = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="HTTP/1"),
    pytest.param(bytes(1000), id="zeros"),
    pytest.param(b"\xff" * 1000, id="ones"),
    pytest.param(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\4\0\0\0\1" + b"\xff" * 4, id="bad HPACK"),
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_after_the_preface_closes_that_connection_alone(
    site: Site, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    other = await site.connect()
    waiting = other.call("Wait", b"x")
    await until(lambda: site.service.waiting)
    client = await site.bare_client()
    client.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + garbage)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(client.reader.read(), LIMIT_S)
    await until(lambda: len(site.board.connections) == 1)
    site.service.answer(b"x")
    assert bytes((await other.response(waiting)).body) == framed(b"answer to x")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_connect_has_no_path_and_is_an_unknown_method(site: Site) -> None:
    client = await site.connect()
    stream_id = client.connection.get_next_available_stream_id()
    client.responses[stream_id] = Response()
    headers = [(":method", "CONNECT"), (":authority", "a"), ("content-type", "application/grpc")]
    client.connection.send_headers(stream_id, headers, end_stream=True)
    client.flush()
    response = await client.response(stream_id)
    assert response.headers.get(b"grpc-status") == b"12" or response.reset is not None
    later = client.call("Echo", b"x")
    assert bytes((await client.response(later)).body) == framed(b"x")


async def test_a_message_may_be_as_large_as_the_limit_but_no_larger() -> None:
    async with opened(ConnectionOptions(max_request_bytes=100_000)) as site:
        channel = site.channel()
        assert await called(channel, "Echo", bytes(100_000)) == bytes(100_000)
        answers = [
            await refusal(called(channel, "Echo", bytes(100_001))),
            await refusal(called(channel, "Echo", bytes(4_000_000))),
            await refusal(
                called(channel, "Echo", bytes(100_001), compression=grpc.Compression.Gzip)
            ),
        ]
        assert [code for code, _ in answers] == ["RESOURCE_EXHAUSTED"] * 3
        assert answers[0][1] == "Received message larger than max (100000 bytes)"
        assert await called(channel, "Echo", b"still there") == b"still there"
        assert site.board.buffered_bytes == 0


async def test_a_rest_body_that_is_too_large_is_answered_with_413() -> None:
    async with opened(ConnectionOptions(max_request_bytes=1000)) as site:
        client = await site.connect()
        response = await client.response(client.request("/now", bytes(2000)))
        assert response.headers[b":status"] == b"413"
        assert b"413 Request Entity Too Large" in response.body
        assert not site.application.requests


async def test_unfinished_bodies_are_bounded_over_all_connections() -> None:
    async with opened(ConnectionOptions(max_buffered_bytes=60_000)) as site:
        first, second = await site.connect(), await site.connect()
        kept = first.call("Echo", bytes(40_000), end=False)
        await until(lambda: site.board.buffered_bytes == 40_005)
        second.call("Echo", bytes(40_000), end=False)
        await second.until_closed()
        assert [code for code, _ in second.goaways] == [ENHANCE_YOUR_CALM]
        await until(lambda: site.board.buffered_bytes == 40_005)
        first.connection.end_stream(kept)
        first.flush()
        response = await first.response(kept)
        assert len(response.body) == 40_005
        assert site.board.buffered_bytes == 0


async def test_a_message_of_5_mb_may_come_as_a_few_kb(site: Site) -> None:
    message = bytes(5_000_000)
    answer = await called(site.channel(), "Echo", message, compression=grpc.Compression.Gzip)
    assert answer == message
    assert site.service.messages == [message]


async def test_a_bomb_is_refused_and_others_are_answered_in_the_meantime() -> None:
    executor = gated()
    async with opened(ConnectionOptions()) as site:
        hostile, other = await site.connect(), await site.connect()
        refused = await hostile.call_packed("Echo", bomb(), GZIP)
        await until(lambda: executor.submissions)
        same = hostile.call("Echo", b"on the same connection")
        assert (await hostile.response(same)).ended
        assert (await other.response(other.call("Echo", b"on another"))).ended
        assert not hostile.responses[refused].headers
        await until(lambda: site.board.buffered_bytes > 900_000)
        executor.gate.set()
        response = await hostile.response(refused)
        assert response.headers[b"grpc-status"] == b"8"
        assert response.headers[b"grpc-message"] == b"The decompressed message is too large"
        assert site.service.messages == [b"on the same connection", b"on another"]
        await until(lambda: site.board.buffered_bytes == 0)


async def test_as_much_as_the_limit_is_unpacked() -> None:
    async with opened(ConnectionOptions()) as site:
        client = await site.connect()
        stream_id = await client.call_packed("Wait", gzip_of(*[bytes(MIB)] * 100), GZIP)
        await until(lambda: site.service.waiting)
        assert [len(name) for name in site.service.waiting] == [100 * MIB]
        [call] = site.service.waiting.values()
        call.succeed(framed(b"done"))
        assert bytes((await client.response(stream_id)).body) == framed(b"done")


@pytest.mark.parametrize("ending", ["cancelled", "lost"])
async def test_what_is_cancelled_while_it_is_unpacked_never_reaches_its_handler(
    site: Site, ending: str
) -> None:
    executor = gated()
    leaving, staying = await site.connect(), await site.connect()
    packed = gzip_of(bytes(5_000_000))
    unwanted = await leaving.call_packed("Wait", packed, GZIP)
    await until(lambda: executor.submissions == 1)
    wanted = await staying.call_packed("Echo", packed, GZIP)
    await until(lambda: executor.submissions == 2)
    await until(lambda: site.board.buffered_bytes == 2 * (len(packed) + 5))
    if ending == "lost":
        leaving.writer.transport.abort()
        await until(lambda: len(site.board.connections) == 1)
    else:
        leaving.connection.reset_stream(unwanted)
        leaving.flush()
    await until(lambda: site.board.buffered_bytes == len(packed) + 5)
    executor.gate.set()
    await staying.response(wanted)
    await turn_loop(100)
    assert site.service.messages == [bytes(5_000_000)]
    assert not site.service.waiting
    assert not site.service.cancelled
    assert site.board.buffered_bytes == 0


async def test_requests_count_as_long_as_they_wait_for_the_model(site: Site) -> None:
    client = await site.connect()
    answered = client.call("Wait", bytes(1000))
    cancelled = client.call("Wait", bytes(200))
    client.request("/later", bytes(30))
    await until(lambda: len(site.service.waiting) == 2 and site.application.waiting)
    await until(lambda: site.board.buffered_bytes == 1240)
    site.service.answer(bytes(1000))
    await client.response(answered)
    assert site.board.buffered_bytes == 235
    client.connection.reset_stream(cancelled)
    client.flush()
    await until(lambda: site.board.buffered_bytes == 30)
    client.writer.transport.abort()
    await until(lambda: not site.board.connections)
    await turn_loop()
    assert site.board.buffered_bytes == 0


async def test_requests_that_wait_are_bounded_over_all_connections() -> None:
    async with opened(ConnectionOptions(max_buffered_bytes=60_000)) as site:
        first, second = await site.connect(), await site.connect()
        kept = first.call("Wait", bytes(40_000))
        await until(lambda: site.board.buffered_bytes == 40_005)
        second.call("Wait", bytes(40_001))
        await second.until_closed()
        assert [code for code, _ in second.goaways] == [ENHANCE_YOUR_CALM]
        await until(lambda: site.board.buffered_bytes == 40_005)
        assert site.service.cancelled == [bytes(40_001)]
        site.service.answer(bytes(40_000))
        assert (await first.response(kept)).ended
        assert site.board.buffered_bytes == 0


async def test_answers_that_a_client_has_no_window_for_are_bounded() -> None:
    async with opened(ConnectionOptions(max_buffered_bytes=100_000)) as site:
        site.service.large = bytes(40_000)
        client, other = await site.connect(window=0), await site.connect()
        for number in range(3):
            client.call("Large", b"%d" % number)
            await until(lambda: len(site.service.messages) == number + 1)  # noqa: B023
        await client.until_closed()
        assert [code for code, _ in client.goaways] == [ENHANCE_YOUR_CALM]
        await until(lambda: site.board.buffered_bytes == 0)
        assert (await other.response(other.call("Large", b"x"))).ended


async def test_answers_count_until_the_client_takes_them_or_resets_them(site: Site) -> None:
    site.service.large = bytes(40_000)
    client = await site.connect(window=10_000)
    first, second = client.call("Large", b"1"), client.call("Large", b"2")
    await until(lambda: site.board.buffered_bytes == 60_000)
    client.connection.reset_stream(first)
    client.flush()
    await until(lambda: site.board.buffered_bytes == 30_000)
    assert bytes((await client.response(second)).body) == bytes(40_000)
    assert site.board.buffered_bytes == 0
    await client.response(client.call("Echo", b"x"))
    assert site.board.buffered_bytes == 0


@pytest.mark.parametrize("sign", ["ping", "settings", "nothing"])
async def test_signs_of_life_do_not_stand_for_taking_an_answer(site: Site, sign: str) -> None:
    site.service.large = bytes(40_000)
    client = await site.connect(window=0)
    client.call("Large", b"x")
    await until(lambda: site.board.buffered_bytes == 40_000)
    now = asyncio.get_running_loop().time()
    for _ in range(3):
        site.board.sweep(now)
        now += OPTIONS.stall_timeout_s * 0.6
        if sign == "ping" and not client.is_closed:
            client.connection.ping(bytes(8))
        elif sign == "settings":
            client.connection.update_settings({SettingCodes.MAX_FRAME_SIZE: 20_000})
        client.flush()
        await turn_loop(50)
        assert site.board.buffered_bytes in (0, 40_000)
    await until(lambda: not site.board.connections)
    assert site.board.buffered_bytes == 0


async def test_a_client_that_takes_its_answer_slowly_is_left_alone(site: Site) -> None:
    site.service.large = bytes(40_000)
    client = await site.connect(window=0)
    stream_id = client.call("Large", b"x")
    await until(lambda: site.board.buffered_bytes == 40_000)
    now = asyncio.get_running_loop().time()
    for number in range(1, 6):
        site.board.sweep(now)
        now += OPTIONS.stall_timeout_s * 0.6
        client.connection.increment_flow_control_window(10, stream_id)
        client.flush()
        await until(lambda: site.board.buffered_bytes == 40_000 - 10 * number)  # noqa: B023
    site.board.sweep(now)
    await turn_loop(50)
    assert len(site.board.connections) == 1


class SilentTransport(asyncio.Transport):
    """A socket to nobody."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def writelines(self, list_of_data: Any) -> None:
        pass

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def test_what_arrives_in_the_moment_of_the_loss_does_not_count_for_ever(site: Site) -> None:
    client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "http"), (":path", "/now"), (":authority", "a")]
    client.send_headers(1, headers)
    client.send_data(1, bytes(1000))
    data = client.data_to_send()
    connection = site.board.connection()
    connection.connection_made(SilentTransport())
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))
    connection.connection_lost(None)
    await turn_loop()
    assert site.board.buffered_bytes == 0
    assert not site.board.connections
