"""Listening sockets: TCP ports and UNIX sockets, each for every protocol."""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Sequence

from salver.errors import InvalidArgument
from salver.transport.connection import Switchboard
from salver.transport.door import OPEN, Door
from salver.transport.handshakes import finish_handshakes
from salver.transport.listening_socket import (
    SocketFile,
    has_waiting,
    unix_socket,
    watch_for_dead_peers,
)
from salver.transport.tls_stream import TlsStream

_BACKLOG = 1024
_MAX_PORT = 65535
_SWEEP_S = 1.0
# So long at most are connections accepted that waited when the end came; more may keep coming.
_EMPTYING_S = 1.0


class Listener:
    """Some sockets that lead to one switchboard. Loop only."""

    def __init__(self, switchboard: Switchboard, shares_ports: bool = False) -> None:
        """Store what is needed; `shares_ports`: with other servers that do, UNIX sockets too."""
        self._switchboard = switchboard
        self._shares_ports = shares_ports
        self._servers: list[asyncio.Server] = []
        self._socket_files: list[SocketFile] = []
        self._sweeping: asyncio.TimerHandle | None = None

    async def listen_tcp(self, host: str, port: int, door: Door = OPEN) -> int:
        """Listen on a TCP port of `host` and return it; port 0 takes a free one.

        An empty `host` stands for every address, of IPv6 and IPv4 where the machine has both.

        Raises:
            InvalidArgument: the port cannot be had; the message says why.
        """
        if not 0 <= port <= _MAX_PORT:
            raise InvalidArgument(f"Cannot listen on port {port}: ports end at {_MAX_PORT}")
        loop = asyncio.get_running_loop()
        try:
            if host:
                server = await loop.create_server(
                    self._entrance(door),
                    host,
                    port,
                    backlog=_BACKLOG,
                    reuse_address=True,
                    reuse_port=self._shares_ports,
                )
            else:
                sock = _any_address(port, self._shares_ports)
                server = await loop.create_server(self._entrance(door), sock=sock, backlog=_BACKLOG)
        except OSError as error:
            where = host or "any address"
            raise InvalidArgument(f"Cannot listen on {where}, port {port}: {error}") from error
        self._add(server)
        bound: Sequence[socket.socket] = server.sockets
        for listening in bound:
            watch_for_dead_peers(listening)
        return int(bound[0].getsockname()[1])

    async def listen_unix(self, path: str, door: Door = OPEN) -> None:
        """Listen on a UNIX socket, in the place of a stale one or, sharing ports, of any.

        Raises:
            InvalidArgument: the socket cannot be made, or a server still listens on it.
        """
        if not self._shares_ports:
            _remove_stale(path)
        loop = asyncio.get_running_loop()
        try:
            sock, file = unix_socket(path, _BACKLOG, takes_over=self._shares_ports)
        except OSError as error:
            raise InvalidArgument(f"Cannot listen on {path}: {error}") from error
        self._socket_files.append(file)
        self._add(await loop.create_unix_server(self._entrance(door), sock=sock, backlog=_BACKLOG))

    def _entrance(self, door: Door) -> Callable[[], asyncio.BaseProtocol]:
        board = self._switchboard
        if door.identity is None:
            return lambda: board.connection(door)
        return lambda: TlsStream(board, door)

    def _add(self, server: asyncio.Server) -> None:
        self._servers.append(server)
        if self._sweeping is None:
            self._sweep()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._switchboard.sweep(loop.time())
        self._sweeping = loop.call_later(_SWEEP_S, self._sweep)

    async def empty_queues(self) -> None:
        """Before the end: accept what waits for it, for `close` resets what is not accepted."""
        self._remove_files()
        listening = [sock for server in self._servers for sock in server.sockets]
        loop = asyncio.get_running_loop()
        if self._shares_ports:
            await finish_handshakes([s for s in listening if s.family != socket.AF_UNIX])
        limit = loop.time() + _EMPTYING_S
        while any(map(has_waiting, listening)) and loop.time() < limit:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def close(self) -> None:
        """Accept no more connections; those there are come to their end by themselves."""
        self._remove_files()
        for server in self._servers:
            server.close()
        self._switchboard.drain()

    def _remove_files(self) -> None:
        for file in self._socket_files:
            file.remove()
        self._socket_files.clear()

    async def wait_closed(self, grace_s: float) -> None:
        """Wait until every connection has ended, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._switchboard.all_closed.wait()

    def abort(self) -> None:
        """Cut off what is still open."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._switchboard.connections):
            connection.abort()


def _any_address(port: int, shares_port: bool) -> socket.socket:
    """A socket bound on every address; of IPv4 alone where there is no IPv6."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("::", port),
            family=socket.AF_INET6,
            dualstack_ipv6=True,
            backlog=_BACKLOG,
            reuse_port=shares_port,
        )
    return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG, reuse_port=shares_port)


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on any more."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise InvalidArgument(f"Cannot listen on {path}: it exists and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise InvalidArgument(f"Cannot listen on {path}: {error}") from error
        else:
            raise InvalidArgument(f"Cannot listen on {path}: another server listens there")
