"""Listening sockets that are shared, taken over and closed while clients connect."""

import asyncio
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from salver.errors import InvalidArgument
from salver.transport import connection as connection_module
from salver.transport.connection import ConnectionOptions, Switchboard
from salver.transport.exchange import Cancel, HttpRequest, HttpResponse, Respond
from salver.transport.http1 import Http1
from salver.transport.http2 import Http2
from salver.transport.listener import Listener
from tests.fakes import turn_loop

LIMIT_S = 20
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Application:
    """Answers with a word."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        respond(HttpResponse(200, b"text/plain", self._word))
        return None


class Server:
    """A listener whose answers tell which one it is."""

    def __init__(self, word: bytes, shares_ports: bool = True) -> None:
        self.board = Switchboard(ConnectionOptions(), Application(word), {}, (Http1, Http2))
        self.listener = Listener(self.board, shares_ports)

    async def end(self) -> None:
        await self.listener.empty_queues()
        self.listener.close()
        await self.listener.wait_closed(LIMIT_S)


@pytest.fixture
async def server() -> AsyncIterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(word: bytes = b"word", shares_ports: bool = True) -> Server:
        made.append(Server(word, shares_ports))
        return made[-1]

    yield make
    for one in made:
        one.listener.close()
        one.listener.abort()


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for client in opened:
        client.close()


def ask(target: tuple[str, int] | str) -> socket.socket:
    """Connect and send a request, without a turn of the loop: the kernel alone answers."""
    client = socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
    client.settimeout(LIMIT_S)
    client.connect(target)
    client.sendall(GET)
    client.setblocking(False)
    return client


async def everything(client: socket.socket) -> bytes:
    """Read until the server closes."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(LIMIT_S):
        while data := await loop.sock_recv(client, 65536):
            received += data
    return received


@pytest.mark.parametrize("shares_ports", [False, True])
async def test_connections_that_wait_to_be_accepted_are_served_at_the_end(
    server: Callable[..., Server], clients: list[socket.socket], shares_ports: bool, tmp_path: Path
) -> None:
    one = server(shares_ports=shares_ports)
    port = await one.listener.listen_tcp("127.0.0.1", 0)
    path = str(tmp_path / "a.sock")
    await one.listener.listen_unix(path)
    clients += [ask(target) for _ in range(100) for target in (("127.0.0.1", port), path)]
    await one.end()
    answers = await asyncio.gather(*map(everything, clients))
    assert all(answer.endswith(b"\r\n\r\nword") for answer in answers)


async def test_who_has_connected_but_not_asked_yet_may_still_ask(
    server: Callable[..., Server], clients: list[socket.socket]
) -> None:
    one = server(shares_ports=False)
    port = await one.listener.listen_tcp("127.0.0.1", 0)
    client = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    clients.append(client)
    ending = asyncio.ensure_future(one.end())
    while not one.board.is_draining:
        await turn_loop(1)
    client.sendall(GET)
    client.setblocking(False)
    assert (await everything(client)).endswith(b"Connection: close\r\n\r\nword")
    await ending


async def test_who_rests_longer_is_closed(
    server: Callable[..., Server],
    clients: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "REST_S", 0.01)
    one = server(shares_ports=False)
    port = await one.listener.listen_tcp("127.0.0.1", 0)
    clients.append(socket.create_connection(("127.0.0.1", port), LIMIT_S))
    await one.end()
    assert not one.board.connections
    clients[0].setblocking(False)
    assert await everything(clients[0]) == b""


async def test_a_connection_that_comes_after_the_end_has_begun_is_served(
    server: Callable[..., Server], clients: list[socket.socket]
) -> None:
    one = server(shares_ports=False)
    port = await one.listener.listen_tcp("127.0.0.1", 0)
    # As when a handshake of TLS takes longer than everything else.
    one.board.drain()
    assert one.board.all_closed.is_set()
    clients.append(ask(("127.0.0.1", port)))
    assert (await everything(clients[0])).endswith(b"Connection: close\r\n\r\nword")
    await one.end()


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
async def test_two_servers_that_share_a_port_both_get_connections(
    server: Callable[..., Server], clients: list[socket.socket], host: str
) -> None:
    first, second = server(b"first"), server(b"second")
    port = await first.listener.listen_tcp(host, 0)
    assert await second.listener.listen_tcp(host, port) == port
    clients += [ask(("127.0.0.1", port)) for _ in range(100)]
    ending = asyncio.ensure_future(first.end())
    answers = await asyncio.gather(*map(everything_of_one_answer, clients))
    assert {answer.rpartition(b"\r\n\r\n")[2] for answer in answers} == {b"first", b"second"}
    await ending


async def everything_of_one_answer(client: socket.socket) -> bytes:
    """The answer of a server that may keep the connection."""
    received = b""
    async with asyncio.timeout(LIMIT_S):
        while not received.endswith((b"first", b"second")):
            data = await asyncio.get_running_loop().sock_recv(client, 65536)
            assert data, received
            received += data
    return received


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
async def test_a_port_is_shared_only_if_both_want_it(
    server: Callable[..., Server], host: str
) -> None:
    first, second = server(shares_ports=False), server()
    port = await first.listener.listen_tcp(host, 0)
    with pytest.raises(InvalidArgument, match=f"port {port}"):
        await second.listener.listen_tcp(host, port)


async def test_dead_peers_are_looked_for(
    server: Callable[..., Server], clients: list[socket.socket]
) -> None:
    one = server()
    port = await one.listener.listen_tcp("127.0.0.1", 0)
    clients.append(socket.create_connection(("127.0.0.1", port)))
    while not one.board.connections:
        await turn_loop(1)
    (accepted,) = (
        descriptor
        for descriptor in map(int, os.listdir("/proc/self/fd"))
        if peer_of(descriptor) == clients[0].getsockname()
    )
    with socket.socket(fileno=os.dup(accepted)) as seen:
        assert seen.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 120


def peer_of(descriptor: int) -> object:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as seen:
            return seen.getpeername()
    except OSError:
        return None


async def test_a_unix_socket_is_taken_over_and_the_old_one_serves_who_had_connected(
    server: Callable[..., Server], clients: list[socket.socket], tmp_path: Path
) -> None:
    path = str(tmp_path / "a.sock")
    first, second = server(b"first"), server(b"second")
    await first.listener.listen_unix(path)
    clients += [ask(path) for _ in range(50)]
    await second.listener.listen_unix(path)
    clients += [ask(path) for _ in range(50)]
    await first.end()
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    clients.append(ask(path))
    ending = asyncio.ensure_future(second.end())
    answers = await asyncio.gather(*map(everything, clients))
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == (
        [b"first"] * 50 + [b"second"] * 51
    )
    await ending
    assert os.listdir(tmp_path) == []


async def test_a_stale_unix_socket_is_taken_over_too(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await server().listener.listen_unix(str(path))
    ask(str(path)).close()


async def test_what_is_no_socket_is_not_taken_over(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("precious")
    with pytest.raises(InvalidArgument, match="it exists and is no socket"):
        await server().listener.listen_unix(str(path))
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["precious.txt"]


async def test_a_socket_is_left_where_it_is_while_somebody_else_is_busy_there(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    path = tmp_path / "a.sock"
    one = server()
    await one.listener.listen_unix(str(path))
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        await one.end()
    finally:
        os.close(folder)
    assert path.is_socket()
    other = server(b"", shares_ports=False)
    await other.listener.listen_unix(str(path))
    await other.end()
    assert not path.exists()


async def test_a_folder_that_is_not_there_is_said(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    for shares_ports in (False, True):
        with pytest.raises(InvalidArgument, match=r"Cannot listen on .*No such file"):
            await server(b"", shares_ports).listener.listen_unix(str(tmp_path / "none" / "a.sock"))


async def test_a_path_without_a_folder_is_one_in_the_present_folder(
    server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = server(b"first"), server(b"second")
    await first.listener.listen_unix("a.sock")
    await second.listener.listen_unix("a.sock")
    await first.end()
    assert os.listdir(tmp_path) == ["a.sock"]
    await second.end()
    assert os.listdir(tmp_path) == []
