"""What a server does with its listening sockets so that another one can take its place.

Processes share a TCP port by `SO_REUSEPORT`: the kernel spreads new connections over
them. A UNIX socket has one owner; the newcomer's file is moved over the old one, and
whoever has connected before stays with the old owner. In both cases connections wait
in the queue of a socket that is about to close, and would be reset with it.
"""

import contextlib
import fcntl
import os
import secrets
import select
import socket
import stat
from collections.abc import Iterator
from typing import Any

from salver.errors import InvalidArgument

# A client that vanished without a word is noticed after about four minutes.
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 120), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4))


def watch_for_dead_peers(listening: Any) -> None:
    """Have the kernel look after the connections that this TCP socket accepts, when they rest."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        listening.setsockopt(socket.IPPROTO_TCP, option, value)


def has_waiting(listening: Any) -> bool:
    """Whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(listening.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class SocketFile:
    """The file of a UNIX socket of ours, as long as nobody has put another in its place."""

    def __init__(self, path: str, bound_at: str) -> None:
        self._path = path
        self._inode = _inode(bound_at)

    def remove(self) -> None:
        """Remove it, if it is ours still."""
        with contextlib.suppress(OSError), _locked(os.path.dirname(self._path)) as is_locked:
            # Without the lock a newcomer's file could be taken for ours: better none is removed.
            if is_locked and _inode(self._path) == self._inode:
                os.unlink(self._path)


def unix_socket(path: str, backlog: int, takes_over: bool) -> tuple[socket.socket, SocketFile]:
    """A socket that listens at `path`; `takes_over`: in the place of whoever listens there.

    Raises:
        OSError: it cannot be made.
        InvalidArgument: what lies in its place is no socket.
    """
    listening = socket.socket(socket.AF_UNIX)
    try:
        if not takes_over:
            listening.bind(path)
            listening.listen(backlog)
            return listening, SocketFile(path, path)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise InvalidArgument(f"Cannot listen on {path}: it exists and is no socket")
        # It listens before it has the name: at no time does a client find nobody there.
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, f".{secrets.token_hex(4)}")
        listening.bind(temporary)
        try:
            listening.listen(backlog)
            file = SocketFile(path, temporary)
            with _locked(folder):
                os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        return listening, file
    except BaseException:
        listening.close()
        raise


def _inode(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[bool]:
    """Keep others that use this function out of a folder for a moment; tells whether it worked."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_locked = True
        except OSError:
            is_locked = False
        yield is_locked
