"""How long clients wait before they give up, as far as it shows.

A client with a time limit of its own, which it does not tell, goes away when that is over. Where
more come than can be served, each then waits in the queue until it has just given up, and all
work is in vain. So the longest wait that is offered shrinks to less than what clients bear while
many go away from the queue, and grows again while they stay. Pure: times come from outside.
"""

_WINDOW_S = 0.05
_ENOUGH = 20
"""Clients that stay or go away before anything follows from it."""
_MANY = 0.05
"""Of them, the share that goes away before the limit shrinks."""
_SPARE = 0.7
"""Of the time after which clients go away, what is offered as a wait."""
_SHRINK, _GROW = 0.9, 1.005
_LEAST_S = 0.05
"""Enough to keep the workers busy."""


class Patience:
    """The longest wait that is worth offering. Loop only."""

    __slots__ = ("_disappointed", "_gone", "_gone_after_s", "_most_s", "_stayed", "_window_ends_at",
                 "limit_s")  # fmt: skip

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self.limit_s = most_s
        """Seconds."""
        self._window_ends_at = 0.0
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._stayed = self._gone = self._disappointed = 0
        self._gone_after_s = 0.0
        self._window_ends_at = now + _WINDOW_S

    def stayed(self, now: float) -> None:
        """One that had waited was run."""
        self._stayed += 1
        self._look(now)

    def gone(self, expected_wait_s: float, waited_s: float, now: float) -> None:
        """One has gone away from the queue, which had been expected to wait so long."""
        self._gone += 1
        self._gone_after_s += waited_s
        # Others were let in before the limit shrank to what it is now.
        self._disappointed += expected_wait_s <= self.limit_s
        self._look(now)

    def _look(self, now: float) -> None:
        count = self._gone + self._stayed
        if count < _ENOUGH or now < self._window_ends_at:
            return
        if self._gone <= _MANY * count:
            self.limit_s = min(self.limit_s * _GROW, self._most_s)
        else:
            limit_s = _SPARE * self._gone_after_s / self._gone
            if self._disappointed > _MANY * count:
                limit_s = min(limit_s, _SHRINK * self.limit_s)
            self.limit_s = min(self.limit_s, max(limit_s, _LEAST_S))
        self._begin(now)
