"""TCP handshakes with a socket that is about to close, and the kernel that completes them."""

import asyncio
import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from salver.transport.handshakes import (
    begun_handshakes,
    drop_new_connections,
    finish_handshakes,
)

LIMIT_S = 20
BOTH = pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        pytest.param(
            "::1",
            marks=pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here"),
        ),
    ],
)


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def listening_socket(
    opened: contextlib.ExitStack, host: str, port: int = 0, *, waits_for_data: bool = False
) -> socket.socket:
    """A socket that shares its port. Waiting for data, its handshakes stay incomplete till then."""
    listening = opened.enter_context(socket.socket(family_of(host)))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if waits_for_data:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
    listening.bind((host, port))
    listening.listen(100)
    listening.settimeout(LIMIT_S)
    return listening


def connecting_socket(opened: contextlib.ExitStack, to: socket.socket) -> socket.socket:
    """A client that is not waited for."""
    client = opened.enter_context(socket.socket(to.family))
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect(to.getsockname())
    return client


@BOTH
def test_whoever_connects_while_a_shared_socket_closes_reaches_the_other(
    opened: contextlib.ExitStack, host: str
) -> None:
    old = listening_socket(opened, host)
    drop_new_connections(old)
    new = listening_socket(opened, host, old.getsockname()[1])
    clients = [connecting_socket(opened, new) for _ in range(40)]
    assert not select.select([old], [], [], 0)[0]
    old.close()
    for _ in clients:
        new.accept()[0].close()
    for client in clients:
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@BOTH
def test_what_had_connected_before_goes_on(opened: contextlib.ExitStack, host: str) -> None:
    listening = listening_socket(opened, host)
    client = connecting_socket(opened, listening)
    drop_new_connections(listening)
    accepted = opened.enter_context(listening.accept()[0])
    client.send(b"there")
    assert accepted.recv(100) == b"there"
    accepted.sendall(b"back")
    assert select.select([client], [], [], LIMIT_S)[0]
    assert client.recv(100) == b"back"


@BOTH
def test_a_handshake_is_seen_until_it_is_complete(opened: contextlib.ExitStack, host: str) -> None:
    listening = listening_socket(opened, host, waits_for_data=True)
    port = listening.getsockname()[1]
    assert begun_handshakes({port}) == frozenset()
    client = connecting_socket(opened, listening)
    begun = begun_handshakes({port})
    assert begun is not None
    assert len(begun) == 1
    assert begun_handshakes({port + 1 if port < 65535 else 1}) == frozenset()
    client.send(b"now")
    listening.accept()[0].close()
    assert begun_handshakes({port}) == frozenset()


async def test_handshakes_that_have_begun_are_waited_for(opened: contextlib.ExitStack) -> None:
    listening = listening_socket(opened, "127.0.0.1", waits_for_data=True)
    early = connecting_socket(opened, listening)
    finishing = asyncio.ensure_future(finish_handshakes([listening]))
    await asyncio.sleep(0)
    late = connecting_socket(opened, listening)
    early.send(b"now")
    await asyncio.wait_for(finishing, LIMIT_S)
    listening.accept()[0].close()
    with pytest.raises(OSError, match="not connected"):
        late.getpeername()


async def test_a_handshake_that_never_ends_is_not_waited_for(
    opened: contextlib.ExitStack,
) -> None:
    listening = listening_socket(opened, "127.0.0.1", waits_for_data=True)
    connecting_socket(opened, listening)
    await asyncio.wait_for(finish_handshakes([listening]), LIMIT_S)
