"""A race between ways to form batches: all have short turns, and the better half goes on.

That is successive halving (Karnin, Koren, Somekh: Almost Optimal Exploration in Multi-Armed
Bandits, 2013), which ends early for those who are far behind.

Of the many ways most lose by far, which one turn shows; few are close, and those are compared by
the median of several turns, between which the others had theirs, so that all meet with the same
load. Pure.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

_TURNS = 9
"""Of the last two."""
_BEHIND = (1.5, 1.2, 1.12, 1.08)
"""With so many times the score of the leader a policy is out, after one turn of each, two, three,
and more."""
_BETTER_FROM, _HARDLY_WORSE = 4, 1.02
"""Turns after which only those go on that have at most so many times the score of the policy in
use."""
_HALVED_FROM = 2
"""Turns after which no more than half of the rivals go on."""
_HOPELESS = 1.4
_BETTER = 0.97
"""What another policy has to have of the score of the one in use, to win."""
_COST_OF_BATCHES = 1.05
"""What their scores are multiplied by: without a gain that shows there shall be none."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How batches are formed."""

    width: int
    """Batches that may run at the same time."""
    rows: int = 0
    """What a batch takes at most; 0: as many as get through cheapest; 1: there are no batches."""
    gathers: bool = False
    """Whether a batch waits a moment until it has so many rows, though a thread is idle."""
    batches: bool = field(init=False, repr=False, compare=False)
    """Whether requests are put into batches at all. Asked by each of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "batches", self.rows != 1)


class PolicyRace:
    """Compares the policy in use with others; the lower a score, the better."""

    __slots__ = ("_in_use", "_round", "_scores", "hopeless", "winner")

    def __init__(self, in_use: BatchPolicy, rivals: Sequence[BatchPolicy]) -> None:
        self._in_use = in_use
        self._scores: dict[BatchPolicy, list[float]] = {each: [] for each in (in_use, *rivals)}
        self._round = deque(self._scores)
        """Who has yet to have a turn before the next ones leave."""
        self.hopeless: set[BatchPolicy] = set()
        """Those that one turn was enough for."""
        self.winner: BatchPolicy | None = None
        """Once it is over."""

    @property
    def policy(self) -> BatchPolicy:
        """Whose turn it is."""
        return self._round[0]

    def ended(self, score: float) -> None:
        """The turn of `policy` has ended."""
        self._scores[self._round.popleft()].append(score)
        if not self._round:
            self._part()

    def left(self) -> None:
        """The rival whose turn it is is no way of its own: it goes on no more."""
        rival = self._round.popleft()
        del self._scores[rival]
        self.hopeless.add(rival)
        if len(self._scores) == 1:
            self.winner = self._in_use
        elif not self._round:
            self._part()

    def _part(self) -> None:
        """Each has had as many turns as the others: some leave, or one has won."""
        turns = len(self._scores[self._in_use])
        standing = {
            policy: median(scores) * (_COST_OF_BATCHES if policy.batches else 1.0)
            for policy, scores in self._scores.items()
        }
        leader = min(standing.values())
        if turns == 1:
            self.hopeless |= {each for each in standing if standing[each] > _HOPELESS * leader}
        rivals = sorted(standing.keys() - {self._in_use}, key=standing.__getitem__)
        if turns == _TURNS:
            first = rivals[0]
            is_better = standing[first] < _BETTER * standing[self._in_use]
            self.winner = first if is_better else self._in_use
            return
        behind = _BEHIND[min(turns, len(_BEHIND)) - 1] * leader
        if turns >= _BETTER_FROM:
            behind = min(behind, _HARDLY_WORSE * standing[self._in_use])
        kept = [each for each in rivals if standing[each] <= behind]
        if turns >= _HALVED_FROM:
            kept = kept[: (len(rivals) + 1) // 2]
        if not kept:
            self.winner = self._in_use
            return
        self._scores = {each: self._scores[each] for each in (self._in_use, *kept)}
        self._round = deque(self._scores)
