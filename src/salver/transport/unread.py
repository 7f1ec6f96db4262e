"""How long what is read now has waited in its socket: where the loop cannot keep up, for long.

The kernel does not tell when bytes came. But they came after the socket was last seen empty, and
the loop sees all sockets in each of its turns. Times are those of `perf_counter`, in seconds.
Source of the bytes that wait: ioctl_tcp(2), SIOCINQ.
"""

import fcntl
import sys
import termios

_REST_S = 0.2e-3
"""If so long nothing was done, the loop has waited for something to come."""
_LONG_S = 2e-3
_MANY = 2
"""Long turns, one after the other. After one, a single request may have held up the others, and
the next turn is short again: what it kept waiting is best answered at once."""


class Turns:
    """The turns of the loop: in each the sockets are read that something has come on."""

    __slots__ = ("_began_at", "_came_after", "_ended_at", "_is_open", "_long_turns")

    def __init__(self) -> None:
        self._is_open = False
        self._long_turns = 0
        self._began_at = self._came_after = self._ended_at = 0.0

    def came_after(self, now: float) -> float:
        """Something is read now: the time after which it came, if its socket was empty before.

        `now` where that says nothing of the load.
        """
        if not self._is_open:
            self._is_open = True
            if now - self._ended_at > _REST_S:
                self._came_after = self._began_at = now
            else:
                self._came_after = self._began_at
                self._began_at = self._ended_at
        return now if self._long_turns < _MANY else self._came_after

    def end(self, now: float) -> None:
        """All that had come has been read."""
        self._is_open = False
        self._ended_at = now
        self._long_turns = self._long_turns + 1 if now - self._began_at > _LONG_S else 0


class Leftover:
    """Of one socket that held more than was read."""

    __slots__ = ("_came_after", "_left", "_marked_at")

    def __init__(self, came_after: float, now: float, left: int) -> None:
        """`left`: so many bytes wait yet; as those before them, they came after `came_after`."""
        self._came_after = came_after
        self._marked_at = now
        self._left = left

    def came_after(self, size: int) -> float:
        """So many bytes are read: the time after which they came."""
        self._left -= size
        return self._came_after

    def look(self, now: float, left: int) -> None:
        """After a read: `left` bytes wait, some of which may have waited at the last look, too."""
        if self._left <= 0:
            self._came_after, self._marked_at, self._left = self._marked_at, now, left


def unread_bytes(fileno: int) -> int:
    """Bytes that wait in a socket; 0 where the system does not tell.

    Raises:
        OSError: it is closed.
    """
    if fileno < 0:
        return 0
    return int.from_bytes(fcntl.ioctl(fileno, termios.FIONREAD, bytes(4)), sys.byteorder)
