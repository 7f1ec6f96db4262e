"""How many rows a batch of one program shall have, learned from what batches cost.

Of what has gathered while the threads were busy a batch takes as many rows as get through
cheapest; whether other ways do better under load is tried by `batch_policy.py`. What a row costs
in company need not get less with more company: a library may have a quick way for up to six rows,
a slow one from seven on, and only with a hundred be quicker again. So every size is measured by
itself, small ones to the row, and sizes that lost are tried again now and then. The other choice
is whether idle threads share what waits: that costs throughput, and is done where one batch would
take longer than the latency that is wanted.

Pure: times come from outside.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import inf

ENOUGH = 3
"""Batches of a size, before its cost is believed."""
_FIRST_BATCHES = 2
_EXACT_UP_TO = 16
"""Beyond so many rows, four sizes for each doubling are told apart."""
_HAND_OVER_S = 60e-6
"""What a batch costs besides its run: a thread is woken, and then the loop."""
_SMALLNESS = 0.06
"""The exponent of what small batches are worth, because they end sooner: twice as many rows are
preferred if each then costs 4 % less."""
_HIGHER_IN_COST, _LOWER_IN_COST = 0.1, 0.3
"""What else goes on in the machine makes a batch slower, never quicker."""
_NEW_IN_PACE = 0.1
_NEW_IN_BATCH = 0.1
_FIRST_RUNS = 2
"""Of each number of rows, which say little of what the next ones cost."""
_COSTLY_START_S, _COSTLY_STARTS = 0.01, 2
"""Where so many first runs of numbers of rows have cost so much more than others, few numbers are
used."""
_ALL_OF_IT = 2.0
_SURPRISE = 3.0
"""What a batch takes beyond so many times the expected teaches no more than that."""
_FIRST_PAUSE, _LONGEST_PAUSE = 32, 4096
"""Batches until a size that lost is tried again; twice as many each time."""
_BETWEEN_TRIALS = 16
_BETWEEN_JUDGEMENTS = 8
_LIKE = 1.5
_FIRST_CREDIT_S, _MOST_CREDIT_S = 0.02, 0.1
_CREDIT = 0.01
"""The share of the time that sizes that lost may cost, beyond what the best would have taken."""
_LONG_S, _LONG_IN_SINGLES = 0.05, 4.0
"""Sizes are tried only while a batch will hardly take longer than the larger of the two."""
_TARGET_IN_SINGLES = 2.0
_GATHERING_S, _GATHERING_IN_TARGETS = 1e-3, 0.5
"""A batch may wait so long for company, or such a share of the time that it should take, but never
for long: callers of a model that takes longer have larger requests, and come back later."""
_STEP = 1.15
_SAVES = 0.97
"""What a row may cost in company, of what it costs alone, for company to be worth forming."""


@dataclass(frozen=True, slots=True)
class SizeCost:
    """What is known of batches of about the same size."""

    rows: int
    """The smallest of them."""
    to_rows: int
    """The largest."""
    batches: int
    """How many were measured."""
    cost_s: float
    """Seconds per row."""


class _Size:
    """What is known of one size."""

    __slots__ = ("batches", "next_trial", "pause", "row_s", "rows", "worth_s")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.batches = 0
        self.row_s = 0.0
        self.worth_s = 0.0
        """What a row costs, all in all: the least is the best."""
        self.pause = _FIRST_PAUSE
        self.next_trial = 0

    def learn(self, row_s: float) -> None:
        """A row took so long."""
        self.batches += 1
        known_s = self.row_s
        if self.batches == 1:
            self.row_s = row_s
        elif self.batches <= _FIRST_BATCHES:
            # The first runs optimise graphs and fill caches: the quickest is the truest.
            self.row_s = min(known_s, row_s)
        elif row_s < known_s:
            self.row_s += (row_s - known_s) * _LOWER_IN_COST
        else:
            self.row_s += (min(row_s, _SURPRISE * known_s) - known_s) * _HIGHER_IN_COST

    def judge(self, most_s: float) -> float:
        """Say what a row is worth, where a batch surely takes no longer than `most_s`."""
        batch_s = min(self.row_s * self.rows, most_s)
        self.worth_s = (batch_s + _HAND_OVER_S) / self.rows * self.rows**_SMALLNESS
        return batch_s


class BatchControl:
    """The choices for one queue. Loop only, once its version is loaded."""

    __slots__ = (
        "_batches", "_best_row_s", "_computes_itself", "_costly_starts", "_credit_s",
        "_drained_at", "_largest", "_limit", "_next_trial", "_observed", "_row_pace_s", "_seen",
        "_sizes", "_target_s", "batch_s",
    )  # fmt: skip

    def __init__(self, limit: int, latency_target_s: float = 0.0) -> None:
        """`limit` rows at the most; a target of 0 stands for twice what a single row takes."""
        self._limit = limit
        self._target_s = latency_target_s
        self._sizes: dict[int, _Size] = {}
        """By the number that `_size_class` gives; in order of size."""
        self._largest = 0
        self._best_row_s = 0.0
        self._batches = 0
        self._observed = 0
        self._next_trial = 0
        """No size is due before so many batches."""
        self._computes_itself = False
        self._credit_s = _FIRST_CREDIT_S
        """Seconds that may yet be lost by trials."""
        self._seen: dict[int, int] = {}
        """Runs of each number of rows, as far as they count as its first."""
        self._costly_starts = 0
        self.batch_s = 0.0
        """Seconds that batches have taken of late."""
        self._drained_at: float | None = None
        self._row_pace_s = 0.0
        """Seconds from row to row, at which the queue empties while there is a backlog."""

    @property
    def best(self) -> int:
        """The rows of a batch that get through cheapest, of the sizes that are known; 1 if none."""
        return self._cheapest(self._limit) or 1

    @property
    def larger_lost(self) -> bool:
        """Whether larger batches than the best were measured."""
        return self._largest > self.best

    @property
    def steps(self) -> list[int]:
        """Small sizes beyond which a library has a slower way: one row more makes all dearer."""
        known = [size for size in self._sizes.values() if size.batches >= ENOUGH]
        return [
            smaller.rows
            for smaller, larger in pairwise(known)
            if 1 < smaller.rows < larger.rows <= _EXACT_UP_TO
            and larger.row_s > _STEP * smaller.row_s
        ]

    @property
    def costs(self) -> list[SizeCost]:
        """What is known, by size."""
        return [
            SizeCost(size.rows, _next_size(size.rows) - 1, size.batches, size.row_s)
            for size in self._sizes.values()
        ]

    @property
    def target_s(self) -> float | None:
        """The longest that a batch should take, while idle threads could share it."""
        if self._target_s:
            return self._target_s
        return _TARGET_IN_SINGLES * self._single_s if self._sizes else None

    @property
    def gathering_s(self) -> float:
        """The longest that a batch waits for company, where it waits at all."""
        return min(max(_GATHERING_S, _GATHERING_IN_TARGETS * (self.target_s or 0.0)), _LONG_S)

    @property
    def _single_s(self) -> float:
        """What a single row takes: no more than any batch, if only its first run was seen."""
        return min([size.row_s * size.rows for size in self._sizes.values()])

    def cost_s(self, rows: int) -> float | None:
        """Seconds that a batch of so many rows takes; None where that is not known."""
        size = self._sizes.get(_size_class(rows))
        return None if size is None else size.row_s * rows

    def size(self, waiting: int, idle: int) -> int:
        """Rows of the next batch, at the most, with `waiting` rows and `idle` threads."""
        self._batches += 1
        waiting = min(waiting, self._limit)
        cheapest = self._cheapest(waiting)
        rows = self._on_trial(waiting, cheapest) or cheapest or 1
        if idle < 2:
            return rows
        cost_s, target_s = self.cost_s(rows), self.target_s
        if cost_s is None or target_s is None or cost_s <= target_s:
            return rows
        return min(rows, -(-waiting // idle))

    @property
    def is_choosy(self) -> bool:
        """Whether each new number of rows costs so much at first that few are to be used."""
        return self._costly_starts >= _COSTLY_STARTS

    def prepared(self, rows: int) -> int:
        """As many rows, or less if that spares the cost of a new number."""
        if not self.is_choosy or rows in self._seen:
            return rows
        doubling = 1 << (rows.bit_length() - 1)
        return max([doubling, *(seen for seen in self._seen if seen < rows)])

    def _cheapest(self, waiting: int) -> int:
        """The size at which rows get through cheapest; 0 where none so small is known."""
        chosen, worth_s = 0, inf
        for size in self._sizes.values():
            if size.rows > waiting:
                break
            if size.worth_s < worth_s:
                chosen, worth_s = size.rows, size.worth_s
        if chosen and _size_class(waiting) == _size_class(chosen):
            return waiting
        return chosen

    def _on_trial(self, waiting: int, cheapest: int) -> int:
        """A size that is to be measured: one that is not known well, or was not lately. Or 0."""
        if not self._sizes:
            return 0
        # Of the numbers that are not told apart always the same.
        doubled = _smallest_of(min(waiting, 2 * self._largest))
        beyond = _next_size(cheapest)
        # Doublings lead past sizes that lose; the next size leads to the best, to the row.
        for rows in (doubled, beyond):
            if rows <= waiting and self._may_be_good(rows, cheapest) and self.is_short(rows):
                return rows
        if self._batches < self._next_trial:
            return 0
        for size in self._sizes.values():
            if size.rows > waiting:
                break
            is_due = size.next_trial <= self._batches and self.is_short(size.rows)
            if is_due and (size.rows == beyond or self._pays_for(size)):
                size.next_trial = self._batches + size.pause
                size.pause = min(2 * size.pause, _LONGEST_PAUSE)
                return size.rows
        self._next_trial = self._batches + _BETWEEN_TRIALS
        return 0

    def _may_be_good(self, rows: int, cheapest: int) -> bool:
        """Whether this size is not known well, and larger than all others or next to a good one."""
        size = self._sizes.get(_size_class(rows))
        if size is not None:
            return size.batches < ENOUGH
        smaller = [each.row_s for each in self._sizes.values() if each.rows < rows]
        if not smaller or rows >= 2 * self._largest:
            return True
        good = self._sizes.get(_size_class(cheapest))
        return good is None or smaller[-1] <= _LIKE * good.row_s

    def is_short(self, rows: int) -> bool:
        """Whether a batch is run soon enough to be run only to learn what it costs."""
        known = [size.row_s for size in self._sizes.values() if size.rows <= rows]
        # Those who come with it must not wait for long.
        return not known or known[-1] * rows <= max(_LONG_S, _LONG_IN_SINGLES * self._single_s)

    def may_pay(self, rows: int) -> bool:
        """Whether it is worth a trial to form batches of so many rows."""
        single, size = self._sizes.get(1), self._sizes.get(_size_class(rows))
        if rows > 1 and single is not None and size is not None and size.batches >= ENOUGH:
            saves = size.row_s < _SAVES * single.row_s
        else:
            saves = True
        return saves and self.is_short(rows)

    def _pays_for(self, size: _Size) -> bool:
        """Whether there is credit for a batch of this size; then it is paid."""
        loss_s = (size.row_s - self._best_row_s) * size.rows
        if loss_s > self._credit_s:
            return False
        self._credit_s -= loss_s
        return True

    def observe(self, rows: int, elapsed_s: float, cpu_s: float = 0.0) -> bool:
        """A batch of so many rows took so long, and so much of the CPU time of its thread.

        A program that does all in the thread that runs it is measured by its CPU time, whatever
        else wants the cores. It is known by one run, most of whose time was spent there.

        Returns:
            Whether it took so long because it was the first with so many rows: a library may look
            for the best way then, or compile one, and remember that.
        """
        self._computes_itself = self._computes_itself or elapsed_s < _ALL_OF_IT * cpu_s
        self.batch_s += (elapsed_s - self.batch_s) * (_NEW_IN_BATCH if self.batch_s else 1.0)
        cost_s = cpu_s if self._computes_itself and cpu_s else elapsed_s
        seen = self._seen.get(rows, 0)
        is_first = seen < _FIRST_RUNS
        if is_first:
            self._seen[rows] = seen + 1
        row_s, known_s = cost_s / rows, self._row_s_of_smaller(rows)
        size = self._sizes.get(_size_class(rows)) or self._new_size(rows)
        is_slow_start = is_first and 0 < _SURPRISE * known_s < row_s
        if is_slow_start and cost_s - known_s * rows > _COSTLY_START_S:
            self._costly_starts += 1
        if is_first and size.batches:
            return is_slow_start
        if is_slow_start:
            # Not known yet, then. A row hardly costs more than with less company.
            size.row_s = known_s
            self._judge()
            return True
        size.next_trial = max(size.next_trial, self._batches + size.pause)
        size.learn(row_s)
        self._observed += 1
        if size.batches <= ENOUGH or not self._observed % _BETWEEN_JUDGEMENTS:
            self._judge()
        self._credit_s = min(self._credit_s + _CREDIT * cost_s, _MOST_CREDIT_S)
        return False

    def _row_s_of_smaller(self, rows: int) -> float:
        """What a row costs in the largest smaller batches that are known; 0 if none are."""
        known = [size.row_s for size in self._sizes.values() if size.rows < rows]
        return known[-1] if known else 0.0

    def _judge(self) -> None:
        """Say of each size what it is worth.

        Fewer rows take no longer than more would: sizes that are rarely run, and have met with a
        bad moment, are known by those above them.
        """
        most_s = inf
        for size in reversed(self._sizes.values()):
            most_s = size.judge(most_s)
        self._best_row_s = min([size.row_s for size in self._sizes.values()])

    def _new_size(self, rows: int) -> _Size:
        size = self._sizes[_size_class(rows)] = _Size(_smallest_of(rows))
        self._sizes = dict(sorted(self._sizes.items()))
        self._largest = next(reversed(self._sizes.values())).rows
        return size

    def drained(self, rows: int, now: float, is_backlogged: bool) -> None:
        """A batch of so many rows has ended; `is_backlogged` if others wait."""
        if self._drained_at is not None:
            pace_s = (now - self._drained_at) / rows
            known = self._row_pace_s or pace_s
            self._row_pace_s = known + (pace_s - known) * _NEW_IN_PACE
        self._drained_at = now if is_backlogged else None

    def emptied(self) -> None:
        """Nothing waits any more, though no batch was made of what did: nobody wanted it."""
        self._drained_at = None

    def wait_s(self, rows: int) -> float:
        """How long a request behind so many rows is expected to wait; 0 where that is not known."""
        return rows * self._row_pace_s


def _size_class(rows: int) -> int:
    """A number for batches of about this size, greater for larger ones."""
    if rows <= _EXACT_UP_TO:
        return rows
    bits = rows.bit_length()
    return 8 * bits + (rows >> (bits - 3))


def _step(rows: int) -> int:
    """How many sizes are not told apart from this one."""
    return 1 if rows <= _EXACT_UP_TO else 1 << (rows.bit_length() - 3)


def _smallest_of(rows: int) -> int:
    """The smallest batch of about this size."""
    return rows // _step(rows) * _step(rows)


def _next_size(rows: int) -> int:
    """The smallest batch of the next larger size."""
    return _smallest_of(rows) + _step(rows)
