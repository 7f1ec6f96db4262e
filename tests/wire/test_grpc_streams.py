"""gRPC calls with streams of messages, on a real socket."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from salver.errors import NotFound
from salver.telemetry.request_record import RequestRecord
from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.exchange import StreamCall, StreamHandler
from salver.transport.grpc_stream import MAX_MESSAGE_BYTES
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.listener import Listener
from tests.fakes import turn_loop
from tests.wire.test_http2_engine import (
    LIMIT_S,
    OPTIONS,
    Client,
    Site,
    framed,
    gzip_of,
    until,
)

METHOD = "/test.Service/Talk"
GRPC = (("te", "trailers"), ("content-type", "application/grpc"))
STATUS = b"grpc-status"


class Talk:
    """One call: says each message again; some messages mean something."""

    def __init__(self, call: StreamCall, large: bytes) -> None:
        self.call = call
        self.heard: list[bytes] = []
        self.events: list[str] = []
        self._large = large

    def message(self, message: bytes) -> None:
        self.heard.append(message)
        match message:
            case b"fail":
                raise NotFound("no größe")
            case b"crash":
                raise ZeroDivisionError
            case b"finish":
                self.call.finish()
            case b"silence":
                pass
            case b"three":
                for number in (b"1", b"2", b"3"):
                    self.call.send(framed(number))
            case b"large":
                self.call.send(framed(self._large))
            case _:
                self.call.send(framed(message))

    def half_closed(self) -> None:
        self.events.append("half closed")
        self.call.finish()

    def caught_up(self) -> None:
        self.events.append("caught up")

    def ended(self) -> None:
        self.events.append("ended")


class StreamSite(Site):
    """A site whose only gRPC methods are Talk, which is a stream, and those of `Service`."""

    def __init__(self, options: ConnectionOptions) -> None:
        super().__init__(options)
        self.talks: list[Talk] = []
        self.large = bytes(10_000)
        streams: dict[bytes, StreamHandler] = {METHOD.encode(): self.talk}
        handlers = self.service.handlers()
        self.board = Switchboard(options, self.application, handlers, (Http1, Http2), streams)
        self.listener = Listener(self.board)
        self.records: list[RequestRecord] = []

    def add(self, record: RequestRecord) -> None:
        """Of calls that are over, as a `RecordSink`, if a test makes it one."""
        self.records.append(record)

    def talk(self, call: StreamCall) -> Talk:
        self.talks.append(Talk(call, self.large))
        return self.talks[-1]

    @property
    def last(self) -> Talk:
        return self.talks[-1]

    async def talking(self, window: int = 65_535) -> tuple[Client, int]:
        """A client of raw frames that has begun a call."""
        client = await self.connect(window)
        stream_id = client.request(METHOD, b"", *GRPC, end=False)
        await until(lambda: self.talks)
        return client, stream_id


def say(client: Client, stream_id: int, *messages: bytes, end: bool = False) -> None:
    say_raw(client, stream_id, b"".join(map(framed, messages)), end=end)


def say_raw(client: Client, stream_id: int, data: bytes, *, end: bool = False) -> None:
    client.connection.send_data(stream_id, data, end_stream=end)
    client.flush()


def messages_in(body: bytes | bytearray) -> list[bytes]:
    found = []
    while body:
        size = 5 + int.from_bytes(body[1:5], "big")
        found.append(bytes(body[5:size]))
        body = body[size:]
    return found


@contextlib.asynccontextmanager
async def opened(options: ConnectionOptions = OPTIONS) -> AsyncIterator[StreamSite]:
    site = StreamSite(options)
    site.port = await site.listener.listen_tcp("127.0.0.1", 0)
    try:
        yield site
    finally:
        await site.close()


@pytest.fixture
async def site() -> AsyncIterator[StreamSite]:
    async with opened() as site:
        yield site


async def test_answers_come_while_the_client_still_asks(site: StreamSite) -> None:
    call = site.channel().stream_stream(METHOD)()
    for message in (b"one", b"", b"x" * 100_000):
        await call.write(message)
        assert await asyncio.wait_for(call.read(), LIMIT_S) == message
    await call.done_writing()
    assert await asyncio.wait_for(call.read(), LIMIT_S) is grpc.aio.EOF
    assert (await call.code()).name == "OK"
    assert site.last.events == ["half closed", "ended"]


async def test_one_question_may_have_many_answers(site: StreamSite) -> None:
    call = site.channel().unary_stream(METHOD)(b"three")
    assert [answer async for answer in call] == [b"1", b"2", b"3"]
    assert (await call.code()).name == "OK"


async def test_answers_come_when_there_are_some(site: StreamSite) -> None:
    call = site.channel().stream_stream(METHOD)()
    await call.write(b"silence")
    await until(lambda: site.talks and site.last.heard)
    for number in range(5):
        site.last.call.send(framed(b"%d" % number))
        assert await asyncio.wait_for(call.read(), LIMIT_S) == b"%d" % number
    site.last.call.finish()
    assert await asyncio.wait_for(call.read(), LIMIT_S) is grpc.aio.EOF


async def test_messages_arrive_whole_however_they_are_cut(site: StreamSite) -> None:
    client, stream_id = await site.talking()
    for byte in framed(b"abc") + framed(b"") + framed(b"de"):
        say_raw(client, stream_id, bytes((byte,)))
        await turn_loop(2)
    say(client, stream_id, b"f", b"g", end=True)
    response = await client.response(stream_id)
    assert site.last.heard == [b"abc", b"", b"de", b"f", b"g"]
    assert messages_in(response.body) == site.last.heard
    assert response.trailers == {STATUS: b"0"}


async def test_compressed_messages_are_unpacked(site: StreamSite) -> None:
    call = site.channel().stream_stream(METHOD)(compression=grpc.Compression.Gzip)
    message = b"much of the same " * 1000
    await call.write(message)
    assert await asyncio.wait_for(call.read(), LIMIT_S) == message
    assert site.last.heard == [message]
    call.cancel()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    ("message", "status", "details"),
    [
        (b"finish", b"0", None),
        (b"fail", b"5", b"no gr%C3%B6%C3%9Fe"),
        (b"crash", b"13", b"Unexpected error in the server; its log has the details"),
    ],
)
async def test_a_call_ends_with_a_status_before_and_after_answers(
    site: StreamSite,
    answered: bool,
    message: bytes,
    status: bytes,
    details: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, stream_id = await site.talking()
    if answered:
        say(client, stream_id, b"first")
    say(client, stream_id, message, b"never heard")
    response = await client.response(stream_id)
    ending = response.trailers or response.headers
    assert (ending[STATUS], ending.get(b"grpc-message")) == (status, details)
    assert messages_in(response.body) == ([b"first"] if answered else [])
    assert b"never heard" not in site.last.heard
    assert site.last.events == ["ended"]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert bool(errors) is (message == b"crash")
    # Nothing of what comes late does any harm.
    site.last.call.send(framed(b"late"))
    site.last.call.finish()
    assert (await client.response(client.call("Echo", b"x"))).ended


BAD: Sequence[Any] = [
    pytest.param(b"\2\0\0\0\0", False, b"13", b"Invalid gRPC message flags: 2", id="flags"),
    pytest.param(
        b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"),
        False,
        b"8",
        b"Received message larger than max (262144 bytes)",
        id="a message that is too large",
    ),
    pytest.param(
        framed(b"abc")[:-1],
        True,
        b"13",
        b"The request ended before its message was complete",
        id="half a message",
    ),
    pytest.param(
        b"\1" + framed(b"no gzip")[1:],
        False,
        b"12",
        b"Compressed message with grpc-encoding identity; try gzip or deflate",
        id="compressed, nobody knows how",
    ),
]


@pytest.mark.parametrize(("data", "end", "status", "details"), BAD)
async def test_what_is_no_message_ends_the_call_alone(
    site: StreamSite, data: bytes, end: bool, status: bytes, details: bytes
) -> None:
    client, stream_id = await site.talking()
    say_raw(client, stream_id, data, end=end)
    response = await client.response(stream_id)
    assert (response.headers[STATUS], response.headers[b"grpc-message"]) == (status, details)
    assert site.last.events == ["ended"]
    assert (await client.response(client.call("Echo", b"x"))).ended
    assert site.board.buffered_bytes == 0


@pytest.mark.parametrize(
    ("packed", "status"),
    [(gzip_of(bytes(MAX_MESSAGE_BYTES + 1)), b"8"), (b"garbage", b"13")],
    ids=["a bomb", "garbage"],
)
async def test_compressed_messages_that_cannot_be_unpacked_end_the_call(
    site: StreamSite, packed: bytes, status: bytes
) -> None:
    client = await site.connect()
    stream_id = client.request(METHOD, b"", *GRPC, ("grpc-encoding", "gzip"), end=False)
    say_raw(client, stream_id, b"\1" + framed(packed)[1:])
    assert (await client.response(stream_id)).headers[STATUS] == status
    assert site.last.heard == []


@pytest.mark.parametrize("ending", ["reset", "connection lost"])
async def test_a_client_that_goes_away_ends_the_call_once(site: StreamSite, ending: str) -> None:
    client, stream_id = await site.talking()
    say(client, stream_id, b"hello")
    say_raw(client, stream_id, framed(b"half of it")[:8])
    await until(lambda: site.last.heard)
    if ending == "reset":
        client.connection.reset_stream(stream_id)
        client.flush()
    else:
        client.writer.transport.abort()
    await until(lambda: site.last.events)
    assert site.last.events == ["ended"]
    site.last.call.send(framed(b"late"))
    site.last.call.finish(NotFound("late"))
    await turn_loop(20)
    assert site.last.events == ["ended"]
    assert site.board.buffered_bytes == 0
    assert len(site.board.connections) == (ending == "reset")


@pytest.mark.parametrize(
    ("ending", "status", "code", "answered"),
    [
        pytest.param(b"finish", 200, 0, 8, id="finished"),
        pytest.param(b"fail", 200, 5, 8, id="failed"),
        pytest.param(b"crash", 200, 13, 8, id="crashed"),
        pytest.param(None, 499, 1, 8, id="the client has gone away"),
    ],
)
async def test_a_call_has_one_record_when_it_is_over(
    site: StreamSite, ending: bytes | None, status: int, code: int, answered: int
) -> None:
    site.board.records = site
    client, stream_id = await site.talking()
    say(client, stream_id, b"one")
    await until(lambda: site.last.heard)
    assert site.records == []
    sent = 8
    if ending is None:
        client.connection.reset_stream(stream_id)
        client.flush()
    else:
        say(client, stream_id, ending, b"late")
        sent += 14 + len(ending)
    await until(lambda: site.records)
    client.writer.transport.abort()
    await until(lambda: not site.board.connections)
    (record,) = site.records
    assert (record.protocol, record.path) == ("gRPC", METHOD.encode())
    assert (record.status, record.grpc_status) == (status, code)
    assert (record.request_bytes, record.response_bytes) == (sent, answered)


async def test_a_deadline_ends_the_call_even_if_the_client_does_not(site: StreamSite) -> None:
    client = await site.connect()
    stream_id = client.request(METHOD, framed(b"x"), *GRPC, ("grpc-timeout", "20m"), end=False)
    response = await client.response(stream_id)
    assert messages_in(response.body) == [b"x"]
    assert response.trailers == {STATUS: b"4", b"grpc-message": b"Deadline Exceeded"}
    assert site.last.events == ["ended"]


async def test_a_timeout_that_is_none_is_refused(site: StreamSite) -> None:
    client = await site.connect()
    stream_id = client.request(METHOD, framed(b"x"), *GRPC, ("grpc-timeout", "soon"), end=False)
    assert (await client.response(stream_id)).headers[STATUS] == b"13"
    assert site.talks == []


async def test_plain_http_on_the_path_of_a_stream_is_the_business_of_the_application(
    site: StreamSite,
) -> None:
    client = await site.connect()
    response = await client.response(client.request(METHOD, b"body"))
    assert response.headers[b":status"] == b"200"
    assert bytes(response.body) == METHOD.encode() + b":"
    assert site.talks == []


async def test_streams_and_calls_share_a_connection(site: StreamSite) -> None:
    client, first = await site.talking()
    second = client.request(METHOD, framed(b"2"), *GRPC, end=False)
    for number in range(20):
        unary = client.call("Echo", b"%d" % number)
        say(client, first, b"%d" % number)
        assert bytes((await client.response(unary)).body) == framed(b"%d" % number)
    say(client, second, end=True)
    assert messages_in((await client.response(second)).body) == [b"2"]
    say(client, first, end=True)
    assert len(messages_in((await client.response(first)).body)) == 20


async def test_a_client_that_asks_without_reading_is_answered_up_to_a_limit(
    site: StreamSite,
) -> None:
    client, stream_id = await site.talking(window=0)
    say(client, stream_id, *[b"large"] * 50)
    await until(lambda: len(site.last.heard) == 7)
    await turn_loop(50)
    # Seven times 10,000 are more than 64 KiB; the other messages wait.
    assert len(site.last.heard) == 7
    assert site.last.call.is_behind
    assert site.board.buffered_bytes == 7 * 10_005 + 43 * 10
    client.connection.increment_flow_control_window(2**20, stream_id)
    client.flush()
    response = client.responses[stream_id]
    await client.until(lambda: len(response.body) == 50 * 10_005)
    await until(lambda: not site.board.buffered_bytes)
    assert site.last.events == ["caught up"]
    say(client, stream_id, end=True)
    assert (await client.response(stream_id)).trailers == {STATUS: b"0"}


async def test_a_client_that_goes_on_asking_without_reading_is_refused(site: StreamSite) -> None:
    client, stream_id = await site.talking(window=0)
    site.service.large = framed(b"x")
    for _ in range(MAX_MESSAGE_BYTES // 10_000 + 2):
        say(client, stream_id, *[b"large"] * 1000)
        unary = client.call("Echo", b"")
        await client.until(lambda: client.responses[unary].headers)  # noqa: B023
        client.connection.reset_stream(unary)
        if client.responses[stream_id].ended or site.last.events:
            break
    assert site.last.events == ["ended"]
    client.connection.increment_flow_control_window(2**20, stream_id)
    client.flush()
    response = await client.response(stream_id)
    assert response.trailers[STATUS] == b"8"
    assert len(messages_in(response.body)) == 7
    await until(lambda: not site.board.buffered_bytes)


@pytest.mark.parametrize(
    ("situation", "is_cut"),
    [
        pytest.param("silent", False, id="nobody has anything to say"),
        pytest.param("half a message", True, id="the client owes the rest of a message"),
        pytest.param("unread", True, id="the client does not read"),
        pytest.param("finished, unread", True, id="the client does not read the end"),
    ],
)
async def test_a_client_that_stalls_in_a_stream_is_cut_off(
    site: StreamSite, situation: str, is_cut: bool
) -> None:
    client, stream_id = await site.talking(window=0 if "unread" in situation else 1000)
    if situation == "half a message":
        say_raw(client, stream_id, framed(b"half")[:7])
        await until(lambda: site.board.buffered_bytes)
    else:
        say(client, stream_id, b"hello", *[b"finish"] * (situation == "finished, unread"))
        await until(lambda: site.last.heard)
    await turn_loop(50)
    now = asyncio.get_running_loop().time()
    site.board.sweep(now)
    site.board.sweep(now + OPTIONS.stall_timeout_s + 1)
    await turn_loop(50)
    assert bool(site.board.connections) is not is_cut
    if is_cut:
        assert site.last.events == ["ended"]
        assert site.board.buffered_bytes == 0


async def test_an_idle_limit_leaves_a_stream_alone() -> None:
    async with opened(ConnectionOptions(idle_timeout_s=5)) as site:
        client, stream_id = await site.talking()
        now = asyncio.get_running_loop().time()
        site.board.sweep(now)
        site.board.sweep(now + 100)
        say(client, stream_id, b"still there", end=True)
        assert messages_in((await client.response(stream_id)).body) == [b"still there"]


async def test_draining_ends_streams_old_and_new_with_a_status(site: StreamSite) -> None:
    client, stream_id = await site.talking()
    say(client, stream_id, b"hello")
    await client.until(lambda: client.responses[stream_id].body)
    site.listener.close()
    new = client.request(METHOD, framed(b"late"), *GRPC, end=False)
    response = await client.response(stream_id)
    assert messages_in(response.body) == [b"hello"]
    unavailable = {STATUS: b"14", b"grpc-message": b"The server is shutting down"}
    assert response.trailers == unavailable
    late = await client.response(new)
    assert {name: late.headers[name] for name in unavailable} == unavailable
    assert len(site.talks) == 1
    await client.until_closed()
    await site.listener.wait_closed(LIMIT_S)
    assert not site.board.connections


async def test_a_message_beyond_the_limit_of_the_server_ends_the_call() -> None:
    async with opened(ConnectionOptions(max_request_bytes=1000)) as site:
        client, stream_id = await site.talking()
        say(client, stream_id, bytes(1000))
        await client.until(lambda: len(client.responses[stream_id].body) == 1005)
        say_raw(client, stream_id, framed(bytes(1100)))
        response = await client.response(stream_id)
        assert response.trailers[STATUS] == b"8"
        assert (await client.response(client.call("Echo", b"x"))).ended


async def test_thousands_of_streams_leave_nothing_behind(site: StreamSite) -> None:
    client = await site.connect()
    for _ in range(30):
        ids = [client.request(METHOD, framed(b"x"), *GRPC, end=False) for _ in range(100)]
        await client.until(lambda: all(client.responses[id].body for id in ids))  # noqa: B023
        for number, stream_id in enumerate(ids):
            if number % 2:
                client.connection.reset_stream(stream_id)
            else:
                client.connection.end_stream(stream_id)
        client.flush()
        for stream_id in ids[::2]:
            await client.response(stream_id)
        client.responses.clear()
    assert len(site.talks) == 3000
    await until(lambda: all(talk.events[-1:] == ["ended"] for talk in site.talks))
    assert site.board.buffered_bytes == 0
    assert not client.goaways
