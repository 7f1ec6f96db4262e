"""Trials of ways to form batches: who may be the best has the next turn.

That is the rule of upper confidence bounds (Auer, Cesa-Bianchi, Fischer: Finite-time Analysis of
the Multiarmed Bandit Problem, 2002): a policy is as good as it may be, by what its turns came to,
how many they were, and how far turns scatter. What is far behind has few turns; what is close has
many, and costs little for the same reason. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, log, sqrt
from statistics import median_low

_MOST_TURNS = 20
"""So many turns are all that a policy is judged by: that it is worse than it was must show soon."""
_BELIEVED_FROM = 3
"""Turns that a policy has to have before it can be the best."""
_WARM_FROM = 256
"""So many requests without batches have to be answered before that counts, unless the first show
it to be hopeless: what has not run alone yet is slow at first, for each shape of inputs."""
_HOPELESS, _FAR_BEHIND = log(3.0), log(1.5)
"""Behind the best: what is not tried again while it is cold; and what shows that others with as
many batches at a time are, too."""
_SCATTER, _NEW_IN_SCATTER, _MOST_IN_SCATTER = 0.15, 0.03, 3.0
"""By how much turns of one policy are expected to differ, in natural logarithms; how fast that is
learned; and what is no more than an accident, in multiples of it."""
_LEAST_SCATTER = 0.03
_SURPRISE = 2.0
"""A turn that differs by so many times that from those before makes them count half."""
_CONFIDENCE = 0.5
"""Of the bound: it was made for rewards that may scatter as far as they can."""
_BEST_AGAIN = 8
"""Of so many turns the best has one at least: only its turns tell of the load, and it must not stay
the best for what it was once."""
_GAIN = -log(0.97)
"""What another policy has to be better by than the best, to be that."""
_COST_OF_BATCHES = log(1.05)
"""Is added to their scores: without a gain that shows there shall be none."""


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


class _Record:
    """What the turns of one policy came to."""

    __slots__ = ("count", "first", "is_cold", "requests", "score", "turns")

    def __init__(self) -> None:
        self.first: list[float] = []
        """The logarithms, until there are enough."""
        self.count = 0
        """Turns."""
        self.requests = 0
        """Requests in them."""
        self.is_cold = False
        """Whether too few requests had been answered before the last turn."""
        self.turns = 0
        """Those that count."""
        self.score = inf
        """The mean of the logarithms; at first the median, which one slow start does not shift."""


class PolicyTrials:
    """Compares policies under one load; the lower a score, the better."""

    __slots__ = ("_records", "_turns_of_others", "_variance", "best")

    def __init__(self, best: BatchPolicy) -> None:
        self.best = best
        """So far."""
        self._records = {best: _Record()}
        self._variance = _SCATTER**2
        self._turns_of_others = 0
        """Since the best had one."""

    def offer(self, policies: Iterable[BatchPolicy], *, anew: bool = False) -> None:
        """Try these too; `anew`: whatever is known of them, and no others."""
        if anew:
            self._records = {self.best: self._records[self.best]}
        for policy in policies:
            self._records.setdefault(policy, _Record())

    def leave_out(self, policy: BatchPolicy) -> None:
        """It turned out to be no way of its own."""
        self._records.pop(policy, None)

    def replace_best(self, policy: BatchPolicy) -> None:
        """The best turned out to be no other way than this one."""
        self.leave_out(self.best)
        self.best = policy
        self.offer([policy])

    @property
    def turns_of_best(self) -> int:
        """All that it has had, whether it was the best then or not."""
        return self._records[self.best].count

    def ended(self, policy: BatchPolicy, score: float, requests: int) -> None:
        """A turn of this policy has ended, in which so many requests were answered."""
        self._turns_of_others = 0 if policy == self.best else self._turns_of_others + 1
        record = self._records.setdefault(policy, _Record())
        record.count += 1
        record.is_cold = not policy.batches and record.requests < _WARM_FROM
        record.requests += requests
        if record.is_cold or not record.turns:
            record.turns, record.first = 0, []
        if record.turns < _BELIEVED_FROM:
            record.turns += 1
            record.first.append(log(score))
            record.score = median_low(record.first)
        else:
            self._learn(record, log(score) - record.score)
        self._choose()

    def _learn(self, record: _Record, difference: float) -> None:
        """Of a turn whose score differs so much from that of the turns before."""
        variance = difference**2 * record.turns / (record.turns + 1)
        if variance > _SURPRISE**2 * self._variance:
            # It may be another one by now: then it has to be known soon.
            record.turns = max(record.turns // 2, _BELIEVED_FROM)
        self._learn_scatter(variance)
        record.turns = min(record.turns + 1, _MOST_TURNS)
        record.score += difference / record.turns

    def _learn_scatter(self, variance: float) -> None:
        variance = max(min(variance, _MOST_IN_SCATTER**2 * self._variance), _LEAST_SCATTER**2)
        self._variance += (variance - self._variance) * _NEW_IN_SCATTER

    def _choose(self) -> None:
        standing = {
            policy: self._standing(policy)
            for policy, record in self._records.items()
            if record.turns >= _BELIEVED_FROM
        }
        first = min(standing, key=standing.__getitem__, default=self.best)
        if first != self.best and standing[first] < self._standing(self.best) - _GAIN:
            self.best = first

    def _standing(self, policy: BatchPolicy) -> float:
        record = self._records.get(policy)
        if record is None or not record.turns:
            return inf
        return record.score + _COST_OF_BATCHES * policy.batches

    def next(self) -> BatchPolicy:
        """Who has the next turn."""
        if self._turns_of_others >= _BEST_AGAIN - 1:
            return self.best
        for policy, record in self._records.items():
            if not record.turns:
                if self._is_known_by_width(policy):
                    continue
                return policy
            is_hopeless = self._standing(policy) > self._standing(self.best) + _HOPELESS
            if record.is_cold and not is_hopeless:
                return policy
        total = sum([record.turns for record in self._records.values()])
        room = _CONFIDENCE * self._variance * log(total + 1)
        return min(
            [policy for policy, record in self._records.items() if record.turns],
            key=lambda each: self._standing(each) - sqrt(room / self._records[each].turns),
        )

    def _is_known_by_width(self, policy: BatchPolicy) -> bool:
        """Whether others of as many batches at a time have shown that this one is far behind, too.

        What a core that is idle costs does not depend on how many rows the others have.
        """
        known = [
            self._standing(each)
            for each, record in self._records.items()
            if record.turns and each.width == policy.width and each.batches and policy.batches
        ]
        return min(known, default=-inf) > self._standing(self.best) + _FAR_BEHIND
