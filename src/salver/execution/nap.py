"""A rest of the loop, while threads compute and more comes than can be served.

Where requests are refused they come at any moment, and each wakes the loop: beside a run that has
emptied the caches, that costs many times what the refusal itself does, and is missing for the
runs. After a rest, many of them are handled together.
"""

from queue import Empty, SimpleQueue


class Nap:
    """What ends it early: a thread that has nothing more to do. Shared by all `Workers`."""

    __slots__ = ("_bell", "_is_taken", "idle", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        """Jobs that were handed to threads and are not finished. Loop only."""
        self.idle: set[object] = set()
        """Those of whose threads one has had nothing to do since the loop last looked."""
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_taken = False

    def ring(self, workers: object) -> None:
        """A thread of these workers has nothing more to do. From that thread."""
        # In this order, and below in the other: one of the two sees what the other did.
        self.idle.add(workers)
        if self._is_taken:
            self._bell.put(None)

    def take(self, seconds: float) -> None:
        """Do nothing for so long, or until a thread has nothing to do. On the loop."""
        if not self.under_way:
            return
        self._is_taken = True
        try:
            if not self.idle:
                self._bell.get(timeout=seconds)
            while True:
                self._bell.get_nowait()
        except Empty:
            pass
        finally:
            self._is_taken = False
