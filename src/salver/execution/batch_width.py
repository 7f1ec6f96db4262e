"""How many batches of one queue run side by side, learned from how long requests stay.

More threads are not always better: they share the caches and the cores with each other and with
the loop that has to take in and answer the requests, and what all of them take at once is missing
for the batches that fill up while they wait. How long requests stay, in the queue and in their
batch, tells it all: where a fixed number of callers wait for each other, the shortest stay is the
highest throughput; where requests come at a pace of their own, it is what there is to win.

Two widths are compared by turns of some batches each, so that both meet with the same load.

Pure: times come from outside.
"""

from statistics import median

_FEWEST_BATCHES, _SHORTEST_TURN_S = 16, 0.02
_TURNS = 5
"""Of each of the two widths, in one comparison."""
_BETTER = 0.95
"""The stay that another width has to bring, of what it was, to be taken."""
_HOPELESS = 1.5
"""A first turn with so many times the stay ends the comparison."""
_FIRST_PAUSE, _LONGEST_PAUSE = 32, 1024
"""Turns from one comparison to the next; twice as many each time, while nothing changes."""
_CROWDED = 0.25
"""The share of batches that had to find others running, for the width to matter at all."""


class BatchWidth:
    """The choice for one queue. Loop only."""

    __slots__ = (
        "_batches", "_began_at", "_best", "_crowded", "_is_wider_next", "_most", "_pause",
        "_requests", "_rest", "_rival", "_stay_s", "_stays", "width",
    )  # fmt: skip

    def __init__(self, most: int) -> None:
        self._most = most
        self.width = most
        """Batches that may run at the same time, for now."""
        self._best = most
        self._rival = 0
        """What the best is compared with; 0: nothing, at present."""
        self._is_wider_next = False
        self._pause = _FIRST_PAUSE
        self._rest = _FIRST_PAUSE
        """Turns until the next comparison."""
        self._stays: dict[int, list[float]] = {}
        self._batches = 0
        self._crowded = 0
        self._requests = 0
        self._stay_s = 0.0
        self._began_at: float | None = None

    @property
    def best(self) -> int:
        """What has turned out best so far."""
        return self._best

    def ended(self, requests: int, stay_s: float, others: int, now: float) -> None:
        """A batch has ended.

        Args:
            requests: that it answered.
            stay_s: how long they stayed, from when they came, all together.
            others: batches of the queue that run now.
            now: seconds.
        """
        if self._most < 2:
            return
        if self._began_at is None:
            self._began_at = now
        self._batches += 1
        self._crowded += others > 0
        self._requests += requests
        self._stay_s += stay_s
        if self._batches >= _FEWEST_BATCHES and now - self._began_at >= _SHORTEST_TURN_S:
            self._end_turn()
            self._began_at = now

    def _end_turn(self) -> None:
        stay_s = self._stay_s / self._requests
        # With a width of one nobody ever meets another.
        mattered = self.width == 1 or self._crowded >= _CROWDED * self._batches
        self._batches = self._crowded = self._requests = 0
        self._stay_s = 0.0
        if self._rival:
            self._compare(stay_s)
        elif not mattered:
            return
        elif self._rest:
            self._rest -= 1
        else:
            self._rival = self._next_rival()
            self._stays = {self._best: [], self._rival: []}

    def _next_rival(self) -> int:
        """Half as many or twice as many, in turn."""
        narrower, wider = self._best // 2, min(2 * self._best, self._most)
        self._is_wider_next = not self._is_wider_next
        if wider == self._best or (narrower and self._is_wider_next):
            return narrower
        return wider

    def _compare(self, stay_s: float) -> None:
        turns = self._stays[self.width]
        turns.append(stay_s)
        best, rival = self._stays[self._best], self._stays[self._rival]
        is_hopeless = len(rival) == 1 and rival[0] > _HOPELESS * best[0]
        if is_hopeless or len(rival) == _TURNS:
            self._decide(not is_hopeless and median(rival) < _BETTER * median(best))
            return
        self.width = self._rival if self.width == self._best else self._best

    def _decide(self, is_better: bool) -> None:
        if is_better:
            self._best = self._rival
            self._pause = _FIRST_PAUSE
        else:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self.width = self._best
        self._rival = 0
        self._rest = self._pause
