"""How the batches of one queue are formed, learned from how long requests stay.

What a batch costs does not tell all. More threads are not always better: they share the caches and
the cores with each other and with the loop that has to take in and answer the requests. Larger
batches wake the loop less often, but leave it idle while all callers wait for them. Which callers
come back together, and find which thread idle, makes some sizes settle into a rhythm and others
not. How long requests stay, in the queue and in their batch, and how many are answered, has all of
that in it: where a fixed number of callers wait for each other, a short stay brings more answers;
where requests come at a pace of their own, it is what there is to win, and a burst of them, which
makes stays longer, does not count against the policy that meets with it.

So policies are compared with the best so far by seconds of stay, divided by answers per second: by
turns of some batches each, that both meet with the same load. What was best is remembered for each
load, in steps of two.

Pure: times come from outside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log2
from statistics import median

GATHERING_S = 1e-3
"""The longest that a batch waits for company."""
_FEWEST_BATCHES, _SHORTEST_TURN_S = 16, 0.02
_SETTLING = 6
"""Batches after a change of policy that still have to do with the one before."""
_TURNS = 5
"""Of each of the two policies, in one comparison."""
_BETTER = 0.95
"""What another policy has to bring, of what it was, to be taken."""
_WORSE, _HOPELESS = 1.06, 1.4
"""With so many times the best the comparison ends early; the second is for the first turn."""
_ENOUGH_TO_SEE, _LONG_STAY = 6, 1.4
"""After so many batches with so many times the stay of the best, a turn ends early."""
_SWEEPS_OF_ALL = 8
"""Of so many times that policies are compared, once also those that were hopeless."""
_SIZES, _GATHERED_SIZES = 5, 3
"""Numbers of rows that are tried, each half of the one before; of them, to be waited for."""
_FIRST_PAUSE, _LONGEST_PAUSE = 32, 8192
"""Turns until all policies are compared again; twice as many each time, while nothing changes."""
_FIRST_CREDIT_S, _MOST_CREDIT_S, _CREDIT = 0.3, 0.5, 0.05
"""Seconds that rivals may cost, beyond what the best would have taken: at first, at most, and the
share of the time that is added."""
_LEAST_LOAD = 1.2
"""Rows that wait or run, on average, for policies to matter at all."""
_NO_LOAD = 2.0**-10
"""Stands for less than that: far from all that is searched."""
_ANOTHER_LOAD = 0.75
"""In doublings: how far the load may move before what was best there is no longer trusted."""
_MOST_PARTIAL = 0.5
"""The share of batches that may leave without the company that they waited for."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How batches are formed."""

    width: int
    """Batches that may run at the same time."""
    rows: int = 0
    """What a batch takes at most; 0: as many as get through cheapest."""
    gathers: bool = False
    """Whether a batch waits a moment until it has so many rows, though a thread is idle."""


class _LoadSearch:
    """What is known about one load, in rows that wait or run."""

    __slots__ = ("best", "hopeless", "load", "pause", "rest", "rivals", "stay_s", "sweeps")

    def __init__(self, load: float, best: BatchPolicy) -> None:
        self.load = load
        self.best = best
        self.rivals: list[BatchPolicy] = []
        """Still to be compared with the best, the last first."""
        self.hopeless: set[BatchPolicy] = set()
        self.sweeps = 0
        """Times that all rivals were compared."""
        self.stay_s = inf
        """How long requests stayed in the last turn of the best."""
        self.pause = _FIRST_PAUSE
        self.rest = 0
        """Turns until all rivals are compared again."""


class PolicySearch:
    """The choice for one queue. Loop only."""

    __slots__ = (
        "_batches", "_began_at", "_credit_s", "_is_short", "_most", "_partial", "_quiet",
        "_requests", "_rival", "_rows", "_scores", "_search", "_searches", "_settling",
        "_stay_s", "policy",
    )  # fmt: skip

    def __init__(self, most: int, is_short: Callable[[int], bool]) -> None:
        """Begin with `most` batches at the same time, of as many rows as get through cheapest.

        `is_short`: whether a batch of so many rows is run soon enough to be tried.
        """
        self._most = most
        self._is_short = is_short
        self.policy = BatchPolicy(most)
        """For now."""
        self._quiet = _LoadSearch(_NO_LOAD, self.policy)
        self._search = self._quiet
        self._searches: dict[int, _LoadSearch] = {}
        """By the number of doublings that lead to the load."""
        self._rival: BatchPolicy | None = None
        """What the best is compared with at present."""
        self._scores: dict[BatchPolicy, list[float]] = {}
        self._credit_s = _FIRST_CREDIT_S
        self._settling = 0
        self._began_at: float | None = None
        self._start_turn()

    @property
    def best(self) -> BatchPolicy:
        """What has turned out best so far, under the load of now."""
        return self._search.best

    def _start_turn(self) -> None:
        self._batches = self._requests = self._rows = self._partial = 0
        self._stay_s = 0.0

    def ended(self, requests: int, rows: int, stay_s: float, now: float) -> None:
        """A batch has ended.

        Args:
            requests: that it answered.
            rows: that they had.
            stay_s: how long they stayed, from when they came, all together.
            now: seconds.
        """
        if self._settling:
            self._settling -= 1
            return
        if self._began_at is None:
            self._began_at = now
            return
        self._batches += 1
        self._requests += requests
        self._rows += rows
        self._stay_s += stay_s
        self._partial += rows < self.policy.rows
        elapsed_s = now - self._began_at
        if self._has_seen_enough(elapsed_s):
            policy = self.policy
            self._end_turn(elapsed_s)
            self._start_turn()
            self._began_at = now
            if self.policy != policy:
                self._settling = _SETTLING
                self._began_at = None

    def _has_seen_enough(self, elapsed_s: float) -> bool:
        if self._batches >= _FEWEST_BATCHES and elapsed_s >= _SHORTEST_TURN_S:
            return True
        return (
            self.policy == self._rival
            and self._batches >= _ENOUGH_TO_SEE
            and self._stay_s > _LONG_STAY * self._search.stay_s * self._requests
        )

    def _end_turn(self, elapsed_s: float) -> None:
        stay_s = self._stay_s / self._requests
        if self.policy == self._search.best:
            self._search.stay_s = stay_s
            self._credit_s = min(self._credit_s + _CREDIT * elapsed_s, _MOST_CREDIT_S)
        elif stay_s > self._search.stay_s:
            self._credit_s -= elapsed_s * (1 - self._search.stay_s / stay_s)
        if self._rival is not None:
            self._compare(self._rival, stay_s * elapsed_s / self._requests)
            return
        load = self._stay_s / elapsed_s * self._rows / self._requests
        if load < _LEAST_LOAD:
            self._search = self._quiet
            self.policy = self._quiet.best
            return
        self._look_at(load)
        search = self._search
        if search.best.gathers and self._partial > _MOST_PARTIAL * self._batches:
            # The company that it waits for does not come any more.
            search.best = BatchPolicy(search.best.width, search.best.rows)
            search.rest = 0
            search.rivals = []
        self.policy = search.best
        if self._credit_s < 0:
            return
        if search.rest:
            search.rest -= 1
            if not search.rest:
                search.rivals = self._rivals(search)
            return
        if search.rivals:
            self._rival = search.rivals.pop()
            self._scores = {search.best: [], self._rival: []}
        else:
            search.rest = search.pause
            search.pause = min(2 * search.pause, _LONGEST_PAUSE)

    def _look_at(self, load: float) -> None:
        """Go on with the search that belongs to this load."""
        if abs(log2(load / self._search.load)) < _ANOTHER_LOAD:
            return
        level = round(log2(load))
        found = self._searches.get(level)
        if found is None:
            nearest = min(self._searches, key=lambda known: abs(known - level), default=None)
            best = self._quiet.best if nearest is None else self._searches[nearest].best
            found = self._searches[level] = _LoadSearch(load, best)
            found.rivals = self._rivals(found)
        self._search = found

    def _rivals(self, search: _LoadSearch) -> list[BatchPolicy]:
        """What to compare with the best, the most promising last."""
        width = search.best.width
        widths = [each for each in (width, width // 2, 2 * width) if 1 <= each <= self._most]
        whole = 2 ** round(log2(search.load))
        # The load does not tell who is being answered: there may be twice as many callers.
        sizes = [2 * whole >> halvings for halvings in range(_SIZES) if 2 * whole >> halvings > 1]
        policies: list[BatchPolicy] = []
        for wide in widths:
            policies += [BatchPolicy(wide, rows) for rows in (0, *sizes[1:])]
            policies += [BatchPolicy(wide, rows, True) for rows in sizes[:_GATHERED_SIZES]]
        policies.append(BatchPolicy(self._most, 1))
        search.sweeps += 1
        if not search.sweeps % _SWEEPS_OF_ALL:
            search.hopeless.clear()
        left_out = {*search.hopeless, search.best}
        return [s for s in reversed(policies) if s not in left_out and self._is_short(s.rows)]

    def _compare(self, rival: BatchPolicy, score: float) -> None:
        search, best = self._search, self._search.best
        self._scores[self.policy].append(score)
        if self.policy == best:
            self.policy = rival
            return
        count = len(self._scores[rival])
        ratio = median(self._scores[rival]) / median(self._scores[best])
        if ratio > _HOPELESS:
            search.hopeless.add(rival)
            self._rival = None
        elif count > 1 and ratio > _WORSE:
            self._rival = None
        elif count == _TURNS:
            self._rival = None
            if ratio < _BETTER:
                search.best = rival
                search.pause = _FIRST_PAUSE
        self.policy = search.best
