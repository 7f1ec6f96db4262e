"""How many rows a batch of one program shall have, learned from what batches cost.

A batch never waits for company: it takes what has gathered while the threads were busy. So
two choices are left. One is the size beyond which more rows make a batch longer but not
more efficient: it is climbed to in doublings, each kept only if it pays. The other is
whether idle threads share what waits: that costs throughput, and is done where one batch
would take longer than the latency that is wanted.

Pure: times come from outside.
"""

from dataclasses import dataclass

_NEW_IN_COST = 0.5
_OLD_IN_COST = 0.05
ENOUGH = 6
"""Batches of a size, before its cost is believed."""
_WORTH = 1.05
"""Rows per second that a double size must give, times those of the single, to be kept."""
_FIRST_HOLD = 200
_LONGEST_HOLD = 2000
_NEW_IN_PACE = 0.1
_TARGET_IN_SINGLES = 2.0


@dataclass(frozen=True, slots=True)
class SizeCost:
    """What is known of batches of about the same size."""

    rows: int
    """The smallest of them; the largest has less than twice as many."""
    batches: int
    """How many were measured."""
    cost_s: float
    """Seconds per row."""


class BatchControl:
    """The choices for one queue. Loop only, once its version is loaded."""

    __slots__ = (
        "_counts", "_drained_at", "_hold", "_limit", "_next_hold", "_row_costs", "_row_pace_s",
        "_target_s", "most",
    )  # fmt: skip

    def __init__(self, limit: int, latency_target_s: float = 0.0) -> None:
        """`limit` rows at the most; a target of 0 stands for twice what a single row takes."""
        self._limit = limit
        self._target_s = latency_target_s
        self.most = 1
        """Rows of a batch at the most: 1, doubled as often as it paid."""
        self._row_costs: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._hold = 0
        self._next_hold = _FIRST_HOLD
        self._drained_at: float | None = None
        self._row_pace_s = 0.0
        """Seconds from row to row, at which the queue empties while there is a backlog."""

    @property
    def has_learned(self) -> bool:
        """Whether batches of more than one row have been measured."""
        return len(self._row_costs) > 1

    @property
    def is_settled(self) -> bool:
        """Whether a larger size was tried lately, and did not pay."""
        return self._hold > 0

    @property
    def costs(self) -> list[SizeCost]:
        """What is known, by size."""
        return [
            SizeCost(1 << (size_class - 1), self._counts[size_class], cost_s)
            for size_class, cost_s in sorted(self._row_costs.items())
        ]

    @property
    def target_s(self) -> float | None:
        """The longest that a batch should take, while idle threads could share it."""
        if self._target_s:
            return self._target_s
        single_s = self._row_costs.get(1)
        return None if single_s is None else _TARGET_IN_SINGLES * single_s

    def cost_s(self, rows: int) -> float | None:
        """Seconds that a batch of so many rows takes; None where that is not known."""
        per_row = self._row_costs.get(rows.bit_length())
        return None if per_row is None else per_row * rows

    def size(self, waiting: int, idle: int) -> int:
        """Rows of the next batch, at the most, with `waiting` rows and `idle` threads."""
        rows = min(waiting, self.most)
        if idle < 2:
            return rows
        cost_s, target_s = self.cost_s(rows), self.target_s
        if cost_s is None or target_s is None or cost_s <= target_s:
            return rows
        return min(rows, -(-waiting // idle))

    def observe(self, rows: int, cost_s: float, is_full: bool) -> None:
        """A batch of so many rows took so long; `is_full` if more waited than it could hold."""
        size_class = rows.bit_length()
        per_row = cost_s / rows
        known = self._row_costs.get(size_class)
        count = self._counts.get(size_class, 0)
        if known is None:
            self._row_costs[size_class] = per_row
        elif per_row < known:
            # What else goes on in the machine makes a batch slower, never quicker; and the
            # first runs optimise graphs and fill caches.
            weight = 1.0 if count < ENOUGH else _NEW_IN_COST
            self._row_costs[size_class] = known + (per_row - known) * weight
        else:
            self._row_costs[size_class] = known + (per_row - known) * _OLD_IN_COST
        self._counts[size_class] = count + 1
        if self._hold:
            self._hold -= 1
        elif is_full and count + 1 >= ENOUGH:
            self._climb(size_class)

    def _climb(self, size_class: int) -> None:
        """Go on to the double size while it gives more; go back where it does not."""
        smaller = [known for known in self._row_costs if known < size_class]
        if smaller and self._row_costs[max(smaller)] < _WORTH * self._row_costs[size_class]:
            self.most = max(self.most // 2, 1)
            # To be measured anew when its turn comes again: the machine may be another then.
            self._counts[size_class] = 0
            self._hold = self._next_hold
            self._next_hold = min(2 * self._next_hold, _LONGEST_HOLD)
        else:
            self.most = min(2 * self.most, self._limit)

    def drained(self, rows: int, now: float, is_backlogged: bool) -> None:
        """A batch of so many rows has ended; `is_backlogged` if others wait."""
        if self._drained_at is not None:
            pace_s = (now - self._drained_at) / rows
            known = self._row_pace_s or pace_s
            self._row_pace_s = known + (pace_s - known) * _NEW_IN_PACE
        self._drained_at = now if is_backlogged else None

    def wait_s(self, rows: int) -> float:
        """How long a request behind so many rows is expected to wait; 0 where that is not known."""
        return rows * self._row_pace_s
