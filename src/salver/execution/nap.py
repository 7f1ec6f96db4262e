"""A rest of the loop, while threads compute and more waits for them than they can begin.

What comes, and what is done, wakes the loop at any moment: that throws a run off its core, and what
the loop itself needs is no longer in the caches. It costs many times what there is to do, and is
missing for the runs. After a rest, much of it is done together. Measured on two cores, with 64
callers and runs of half a millisecond: a sixth more answers.
"""

import asyncio
from queue import Empty, SimpleQueue
from time import perf_counter

_BETWEEN_RESULTS_S, _LONGEST_BETWEEN_RESULTS_S, _IN_WAITS = 2e-3, 8e-3, 1 / 16
"""So long what has been computed waits for more of it, at most: the first, or such a share of what
it waited for a thread, up to the second. Long runs leave little of the loop in the caches: several
that are answered together share what it costs to have it back."""
_HELD_OFF_S = 1.0
"""After a run on the loop itself another one is expected so soon, for which a rest is long."""


class Nap:
    """What ends it early: a thread that has nothing more to do. Shared by all `Workers`."""

    __slots__ = ("_bell", "_has_waited", "_is_taken", "_none_until", "idle", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        """Jobs that were handed to threads and are not finished. Loop only."""
        self.idle: set[object] = set()
        """Those of whose threads one has had nothing to do since the loop last looked."""
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_taken = False
        self._has_waited = False
        self._none_until = 0.0

    def ring(self, workers: object) -> None:
        """A thread of these workers has nothing more to do. From that thread."""
        # In this order, and below in the other: one of the two sees what the other did.
        self.idle.add(workers)
        if self._is_taken:
            self._bell.put(None)

    def await_more(self, waited_s: float) -> None:
        """Rest before what a thread has done is answered, once in a turn of the loop. On the loop.

        For threads each of which has more to do. `waited_s`: how long it waited for its thread.
        """
        if self._has_waited or perf_counter() < self._none_until:
            return
        self._has_waited = True
        asyncio.get_running_loop().call_soon(self._turn_ends)
        long_s = min(_IN_WAITS * waited_s, _LONGEST_BETWEEN_RESULTS_S)
        self.take(max(_BETWEEN_RESULTS_S, long_s))

    def _turn_ends(self) -> None:
        self._has_waited = False

    def hold_off(self) -> None:
        """Do not wait for results for a while: the loop itself runs something. On the loop."""
        self._none_until = perf_counter() + _HELD_OFF_S

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
