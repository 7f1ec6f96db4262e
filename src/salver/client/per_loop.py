"""What belongs to one event loop each: connections that are awaited work on no other."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class PerLoop(Generic[Kept]):
    """Makes one for each loop; what belonged to a loop that was closed is let go. On any loop."""

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._kept: dict[asyncio.AbstractEventLoop, Kept] = {}

    def get(self) -> Kept:
        """That of the running loop, made at first."""
        loop = asyncio.get_running_loop()
        found = self._kept.get(loop)
        if found is None:
            for other in [each for each in list(self._kept) if each.is_closed()]:
                self._kept.pop(other, None)
            found = self._kept[loop] = self._make()
        return found

    def pop(self) -> Kept | None:
        """That of the running loop, if it was made; it is forgotten."""
        return self._kept.pop(asyncio.get_running_loop(), None)
