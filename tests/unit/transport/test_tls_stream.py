"""What is hard to bring about on a real socket: the rest is in tests/wire/test_tls_stream.py."""

import contextlib
import ssl
from typing import Any, cast

from salver.transport.connection import Switchboard
from salver.transport.door import Door
from salver.transport.receive_buffer import ReceiveBuffer
from salver.transport.tls import ServerIdentity, TlsMaterial, server_credentials
from salver.transport.tls_stream import TlsStream
from tests.certificates import Authority, client_context
from tests.fakes import turn_loop

AUTHORITY = Authority()
PAIR = AUTHORITY.issue()
IDENTITY = ServerIdentity("f", server_credentials(TlsMaterial(PAIR.key, PAIR.certificates), ()))


class Connection:
    """Pauses after each piece it is handed."""

    def __init__(self, buffer: memoryview) -> None:
        self.received: list[bytes] = []
        self._buffer = buffer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received.append(bytes(self._buffer[:nbytes]))
        self.transport.pause_reading()


class Board:
    """Stands for the switchboard."""

    def __init__(self) -> None:
        self.receiving = ReceiveBuffer()
        self.opened = Connection(self.receiving.room)
        self.handshake_failed = None

    def connection(self, door: Door) -> Connection:
        return self.opened


class Socket:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def test_what_arrives_while_reading_is_paused_is_handed_over_when_it_goes_on() -> None:
    board, socket = Board(), Socket()
    stream = TlsStream(cast(Switchboard, board), Door(IDENTITY))
    stream.connection_made(cast(Any, socket))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(AUTHORITY).wrap_bio(incoming, outgoing, server_hostname="localhost")

    def arrive(data: bytes) -> None:
        board.receiving.room[: len(data)] = data
        stream.buffer_updated(len(data))

    for _ in range(2):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        arrive(outgoing.read())
        incoming.write(socket.written)
        socket.written = b""

    for part in (b"one", b"two", b"three"):
        client.write(part)
        arrive(outgoing.read())
    await turn_loop()
    assert board.opened.received == [b"one"]
    stream.resume_reading()
    await turn_loop()
    assert board.opened.received == [b"one", b"twothree"]
