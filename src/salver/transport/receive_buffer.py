"""The buffer that all connections receive into, and how much of it one may fill at a time.

A large message arrives in few reads where there is much room. But as much room takes hundreds of
small requests, and while those of one connection are handled, the others are not read, batches
that have ended are not answered, and deadlines pass unseen.
"""

_MOST_BYTES = 256 * 1024
"""As much as a socket of the kernel usually holds."""
_FEWEST_BYTES = 16 * 1024
_LONG_S = 1e-3
"""Beyond this a connection has had its turn."""
_SHORT_S = 0.2e-3


class ReceiveBuffer:
    """Memory of the loop, whose bytes are valid until the next read of any connection."""

    __slots__ = ("_whole", "room")

    def __init__(self) -> None:
        self._whole = memoryview(bytearray(_MOST_BYTES))
        self.room = self._whole
        """What the next read may fill."""

    def is_long(self, elapsed_s: float) -> bool:
        """Take in how long it took to handle all that there was room for; whether it was long."""
        size = len(self.room)
        if elapsed_s > _LONG_S:
            self.room = self._whole[: max(size // 2, _FEWEST_BYTES)]
            return True
        if elapsed_s < _SHORT_S:
            self.room = self._whole[: 2 * size]
        return False
