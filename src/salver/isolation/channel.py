"""One end of the line between server and worker: messages over a socket, large arrays beside it.

Small arrays travel in the message itself, because a system call that copies some
kilobytes is cheaper than what shared memory needs to be kept in order.
"""

import os
import socket
import struct
from struct import Struct

import numpy as np

from salver.isolation.message import Kind, Message
from salver.isolation.shared_memory import Inbox, Outbox
from salver.isolation.tensor_layout import Part, part_of, read, room_for, write

INLINE_BYTES = 32 * 1024
"""Arrays of more bytes, all together, go through shared memory."""

_HEAD = Struct("<IBBBxiIII")
"""Bytes in all, kind, regions set free, region, number, bytes of the text and of the
descriptions, arrays."""
_INLINE = 254
"""In the place of a region: the arrays are in the message."""
_RECEIVED_AT_ONCE = 2 * INLINE_BYTES
_TIMEVAL = Struct("@ll")


class Channel:
    """Sends and receives, one thread at a time.

    Every method raises EOFError if the other end is gone, and ValueError if it talks nonsense.
    """

    def __init__(self, sock: socket.socket, *, writable: bool) -> None:
        """Take the socket over.

        Args:
            sock: a connected stream socket.
            writable: whether received arrays may be written to by whoever gets them.
        """
        self._socket = sock
        self._writable = writable
        self._outbox = Outbox()
        self._inbox = Inbox(writable=writable)

    def limit(self, seconds: float | None) -> None:
        """From now on raise TimeoutError where the other end lets one wait for so long."""
        # The kernel's own timeout costs no further call for each message.
        whole, rest = divmod(seconds or 0.0, 1.0)
        limit = _TIMEVAL.pack(int(whole), int(rest * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def hang_up(self) -> None:
        """Let both ends find that it is over, from any thread; what was sent is still read."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other end was first

    def close(self) -> None:
        """Give the socket back, when no thread uses it any more."""
        self._socket.close()

    def send(self, message: Message) -> None:
        """Say it.

        Raises:
            InternalError: an array cannot be sent; nothing was.
            OSError: the system has no more memory; nothing was sent.
            TimeoutError: the other end does not read.
        """
        parts = [part_of(array) for array in message.arrays]
        specs = b"".join([part.spec for part in parts])
        size = room_for(parts)
        descriptor: int | None = None
        if size <= INLINE_BYTES:
            region, content = _INLINE, _inline(parts, size)
        else:
            region, memory, descriptor = self._outbox.room(size)
            write(parts, memory)
            content = b""
        head = _HEAD.pack(
            _HEAD.size + len(message.text) + len(specs) + len(content),
            message.kind,
            self._inbox.take_freed(),
            region,
            message.number,
            len(message.text),
            len(specs),
            len(parts),
        )
        try:
            self._send(b"".join((head, message.text, specs, content)), descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _send(self, data: bytes, descriptor: int | None) -> None:
        try:
            sent = 0
            if descriptor is not None:
                sent = socket.send_fds(self._socket, [data], [descriptor])
            if sent < len(data):
                self._socket.sendall(data[sent:] if sent else data)
        except BlockingIOError as error:
            raise TimeoutError from error
        except (BrokenPipeError, ConnectionError) as error:
            raise EOFError from error

    def receive(self) -> Message:
        """Wait for what the other end says next.

        Raises:
            TimeoutError: it says nothing.
            OSError: the system has no more memory.
        """
        data, descriptor = self._received()
        try:
            (_, kind, freed, region, number, text_size, specs_size, count) = _HEAD.unpack_from(data)
        except struct.error as error:
            raise ValueError("a message is cut short") from error
        view = memoryview(data)
        specs_at = _HEAD.size + text_size
        content_at = specs_at + specs_size
        self._outbox.freed(freed)
        if region == _INLINE:
            own = bytearray(view[content_at:]) if self._writable else view[content_at:]
            memory = np.frombuffer(own, np.uint8)
        else:
            memory = self._inbox.memory(region, descriptor)
        arrays = read(view[specs_at:content_at], count, memory) if count else ()
        return Message(Kind(kind), number, bytes(view[_HEAD.size : specs_at]), arrays)

    def _received(self) -> tuple[bytes | bytearray, int | None]:
        """One message, and the descriptor that came with it."""
        space = socket.CMSG_SPACE(4)
        try:
            first, ancillary, _, _ = self._socket.recvmsg(
                _RECEIVED_AT_ONCE, space, socket.MSG_CMSG_CLOEXEC
            )
            descriptor = int.from_bytes(ancillary[0][2], "little") if ancillary else None
            if len(first) >= 4 and len(first) == int.from_bytes(first[:4], "little"):
                return first, descriptor
            return self._rest(bytearray(first)), descriptor
        except BlockingIOError as error:
            raise TimeoutError from error
        except ConnectionError as error:
            raise EOFError from error

    def _rest(self, data: bytearray) -> bytearray:
        """Receive until the message is whole."""
        while len(data) < 4 or len(data) < int.from_bytes(data[:4], "little"):
            more = self._socket.recv(_RECEIVED_AT_ONCE)
            if not more:
                raise EOFError
            data += more
        return data


def _inline(parts: list[Part], size: int) -> bytes:
    if len(parts) == 1:
        return parts[0].content.tobytes()
    memory = np.empty(size, np.uint8)
    write(parts, memory)
    return memory.tobytes()
