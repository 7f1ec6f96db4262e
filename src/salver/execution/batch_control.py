"""How many rows a batch of one program shall have, and whether waiting for more pays.

Learned from what batches cost: nobody tunes anything. Pure: times come from outside.
"""

from salver.execution.batch_options import BatchOptions

_NEW_IN_COST = 0.5
_OLD_IN_COST = 0.05
_ENOUGH = 3
"""Batches of a size, before its cost is believed."""
_WORTH = 1.05
"""Rows per second that a double size must give, times those of the single, to be kept."""
_FIRST_HOLD = 200
_LONGEST_HOLD = 100_000
_GAP_SMOOTHING = 0.1
_QUIET_GAPS = 3


class BatchControl:
    """The choices for one queue. Loop only."""

    __slots__ = ("_costs", "_counts", "_gap_s", "_hold", "_last_arrival", "_limit", "_next_hold",
                 "most", "waits")  # fmt: skip

    def __init__(self, options: BatchOptions) -> None:
        self._limit = options.max_execution_batch_size
        self.most = 1
        """Rows of a batch at the most, a power of two or the limit."""
        self.waits = 0
        """How often an idle worker waited for more rows."""
        self._costs: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._hold = 0
        self._next_hold = _FIRST_HOLD
        self._gap_s = float("inf")
        self._last_arrival = float("-inf")

    def arrived(self, now: float) -> None:
        """A request came."""
        gap = now - self._last_arrival
        self._last_arrival = now
        known = self._gap_s
        self._gap_s = gap if known == float("inf") else known + (gap - known) * _GAP_SMOOTHING

    def cost_s(self, rows: int) -> float | None:
        """Seconds that a batch of about so many rows takes; None where that is not known."""
        return self._costs.get(rows.bit_length())

    def observe(self, rows: int, cost_s: float, is_backlogged: bool) -> None:
        """A batch of so many rows took so long, while more than it could hold did wait or not."""
        size_class = rows.bit_length()
        # What else goes on in the machine makes a batch slower, never quicker.
        known = self._costs.get(size_class)
        if known is None:
            self._costs[size_class] = cost_s
        else:
            # The first runs optimise graphs and fill caches: the quickest is the truest.
            is_new = self._counts[size_class] < _ENOUGH
            weight = (1.0 if is_new else _NEW_IN_COST) if cost_s < known else _OLD_IN_COST
            self._costs[size_class] = known + (cost_s - known) * weight
        self._counts[size_class] = self._counts.get(size_class, 0) + 1
        if self._hold:
            self._hold -= 1
        elif is_backlogged and size_class == self.most.bit_length():
            self._climb(size_class)

    def _climb(self, size_class: int) -> None:
        """Go on to the double size while it gives more; go back where it does not."""
        if self._counts[size_class] < _ENOUGH:
            return
        half = self._costs.get(size_class - 1)
        if half is not None and self.most > 1:
            gain = 2 * half / max(self._costs[size_class], 1e-9)
            if gain < _WORTH:
                self.most //= 2
                self._counts[size_class] = 0
                self._hold = self._next_hold
                self._next_hold = min(2 * self._next_hold, _LONGEST_HOLD)
                return
        self.most = min(2 * self.most, self._limit)

    def fixed_cost_s(self) -> float:
        """What a batch costs before its first row, as far as is known."""
        one = self._costs.get(1)
        largest = max(self._costs, default=1)
        if one is None or largest == 1:
            return 0.0
        rows = 1.5 * (1 << (largest - 1))
        per_row = max(self._costs[largest] - one, 0.0) / (rows - 1)
        return max(one - per_row, 0.0)

    def gathers(self, rows: int, now: float) -> bool:
        """Whether an idle worker should still wait, with so many rows there.

        One more row in this batch saves its share of the fixed cost; the wait for it costs
        the time between two arrivals. Once they stop coming, nothing is waited for.
        """
        if rows >= self.most:
            return False
        quiet_s = _QUIET_GAPS * self._gap_s
        if self._gap_s * (rows + 1) >= self.fixed_cost_s() or now - self._last_arrival >= quiet_s:
            return False
        self.waits += 1
        return True
