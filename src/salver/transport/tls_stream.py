"""TLS on one socket: to the loop a protocol, to the connection above it a transport.

Not the loop's own TLS: that tells nobody of a socket whose handshake is under way, so it
could not be counted or drained; it drops answers once the client has said that it
will send no more; and it encrypts an answer of any size at once.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from salver.transport.connection import Switchboard
from salver.transport.door import Door

logger = logging.getLogger(__name__)

# What is encrypted before the socket is asked whether it takes more.
_BATCH_BYTES = 256 * 1024
# Pieces of an answer that are smaller than this together become one record.
_JOINED_BYTES = 64 * 1024
NOT_FINISHED = "NOT_FINISHED"
UNKNOWN = "UNKNOWN"


class TlsStream(asyncio.BufferedProtocol):
    """Decrypts what the socket receives, encrypts what the connection writes. Loop only.

    The connection exists from the moment the socket does: its limits on numbers and time
    hold during the handshake too.
    """

    def __init__(self, switchboard: Switchboard, door: Door) -> None:
        assert door.identity is not None
        self._handshake_failed = switchboard.handshake_failed
        self._connection = switchboard.connection(door)
        self._receiving = switchboard.receiving
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        context = door.identity.credentials.context
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._read = cast("Callable[[int, memoryview], int]", self._ssl.read)
        self._socket: asyncio.Transport
        self._is_begun = False
        self._is_established = False
        self._is_reading = True
        self._is_choked = False
        self._is_closing = False
        self._failure: ssl.SSLError | None = None
        self._backlog: deque[bytes | memoryview] = deque()
        """What the connection wrote while the socket took no more."""

    # --- from the loop -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        self._connection.connection_made(cast("asyncio.Transport", self))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._receiving.room

    def buffer_updated(self, nbytes: int) -> None:
        # Copied here, so what is decrypted may come into the same buffer.
        self._incoming.write(self._receiving.room[:nbytes])
        self._is_begun = True
        self._advance()

    def eof_received(self) -> bool:
        self._close_soon()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._failure is not None or not self._is_established:
            what = "TLS" if self._is_established else "The TLS handshake"
            why = self._failure or exc or "it was not finished"
            peer = self.get_extra_info("peername") or "a client of the UNIX socket"
            logger.debug("%s with %s failed: %s", what, peer, why)
        if self._is_begun and not self._is_established and self._handshake_failed is not None:
            # Who says nothing at all, as a probe of the port does, has not tried.
            self._handshake_failed(_reason(self._failure))
        self._is_closing = True
        self._backlog.clear()
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._is_choked = True
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._is_choked = False
        self._encrypt()
        if not self._is_choked:
            if self._is_closing:
                self._finish()
            else:
                self._connection.resume_writing()

    # --- decrypting ----------------------------------------------------------------

    def _advance(self) -> None:
        """Go as far as what has arrived reaches: through the handshake, then the requests."""
        if self._is_closing:
            return
        try:
            if not self._is_established:
                self._ssl.do_handshake()
                self._is_established = True
            self._decrypt()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._send()

    def _is_something_there(self) -> bool:
        return bool(self._incoming.pending or self._ssl.pending())

    def _decrypt(self) -> None:
        """Hand over what has arrived, as long as the connection wants it.

        Raises:
            ssl.SSLError: SSLWantReadError where the rest of a record is still to come.
        """
        while self._is_reading and not self._is_closing and self._is_something_there():
            if not self._fill_buffer():
                # The client has said that it will send no more.
                self._close_soon()
                return

    def _fill_buffer(self) -> bool:
        """Hand over as much as the buffer holds; False: there will be no more."""
        buffer = self._connection.get_buffer(-1)
        size = filled = self._read(len(buffer), buffer)
        try:
            # A record has 16 KiB at most; a large message is handed over in fewer pieces.
            while size and filled < len(buffer) and self._is_something_there():
                size = self._read(len(buffer) - filled, buffer[filled:])
                filled += size
        finally:
            if filled:
                self._connection.buffer_updated(filled)
        return bool(size)

    def _fail(self, error: ssl.SSLError) -> None:
        self._failure = error
        self._is_closing = True
        self._backlog.clear()
        self._send()  # The alert, which tells the client why.
        self._socket.close()

    # --- encrypting ----------------------------------------------------------------

    def _encrypt(self) -> None:
        """Send from the backlog as much as the socket takes."""
        backlog = self._backlog
        try:
            while backlog and not self._is_choked:
                while backlog and self._outgoing.pending < _BATCH_BYTES:
                    chunk = backlog.popleft()
                    if len(chunk) > _BATCH_BYTES:
                        chunk = memoryview(chunk)
                        backlog.appendleft(chunk[_BATCH_BYTES:])
                        chunk = chunk[:_BATCH_BYTES]
                    self._ssl.write(chunk)
                self._send()
        except ssl.SSLError as error:
            self._fail(error)

    def _send(self) -> None:
        if self._outgoing.pending:
            self._socket.write(self._outgoing.read())

    def _close_soon(self) -> None:
        # Requests that came just before the end are answered in this turn of the loop.
        asyncio.get_running_loop().call_soon(self.close)

    def _finish(self) -> None:
        if self._is_established:
            # The client's own farewell is not waited for.
            with contextlib.suppress(ssl.SSLError):
                self._ssl.unwrap()
            self._send()
        self._socket.close()

    # --- for the connection --------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        if data:
            self._backlog.append(data)
            self._encrypt()

    def writelines(self, chunks: Sequence[bytes | memoryview]) -> None:
        if sum(map(len, chunks)) <= _JOINED_BYTES:
            chunks = (b"".join(chunks),)
        self._backlog.extend(chunk for chunk in chunks if chunk)
        self._encrypt()

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if self._backlog:
            self._socket.pause_reading()
        else:
            self._finish()

    def abort(self) -> None:
        self._is_closing = True
        self._backlog.clear()
        self._socket.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._socket.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._socket.get_extra_info(name, default)

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._is_reading = False
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._is_reading = True
        self._socket.resume_reading()
        if self._is_something_there():
            asyncio.get_running_loop().call_soon(self._advance)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size() + sum(map(len, self._backlog))


def _reason(failure: ssl.SSLError | None) -> str:
    """Why a handshake failed, in OpenSSL's names, which are few; ours where it has none."""
    if failure is None:
        return NOT_FINISHED
    return failure.reason or UNKNOWN
