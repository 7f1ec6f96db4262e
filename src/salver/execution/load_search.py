"""What is known of the best way to form batches under one load. Pure."""

from collections.abc import Sequence
from math import inf

from salver.execution.policy_trials import BatchPolicy, PolicyTrials

_FIRST_PAUSE, _LONGEST_PAUSE = 512, 8192
"""Turns until all kinds of policies are offered again; twice as many each time."""
_SETTLED = 100
"""Turns of the best, after which it is hardly in doubt."""
_BEYOND = 2.0
"""Limits beyond so many times the largest batch that there was make no difference to each other:
of requests of many kinds, only few can be run together."""
_NEW_IN_LOAD, _NEW_IN_STAY, _NEW_IN_REFUSED = 0.1, 0.2, 0.1
_FADING = 0.99
"""What is left, from turn to turn, of the most answers per second."""


class LoadSearch:
    """What is known about one load, in rows that wait or run."""

    __slots__ = (
        "_next_offer", "_offered_to", "_pause", "largest", "load", "rate", "refused_share",
        "stay_s", "trials", "turns",
    )  # fmt: skip

    def __init__(self, load: float, best: BatchPolicy, largest: float = inf) -> None:
        self.load = load
        self.trials = PolicyTrials(best)
        self.largest = largest
        """Rows of the largest batch. Before the first one what another load lets expect; infinite:
        nothing, for the best alone does not show what could be."""
        self.stay_s = inf
        """How long requests stay in turns of the best."""
        self.refused_share = 0.0
        """Of the requests that come in turns of the best."""
        self.rate = 0.0
        """The most answers per second of late, without batches."""
        self.turns = 0
        self._pause = _FIRST_PAUSE
        self._next_offer = 0
        """No policies are offered anew before so many turns, unless there is another best."""
        self._offered_to: BatchPolicy | None = None
        """What was the best when policies were offered last."""

    @property
    def best(self) -> BatchPolicy:
        """So far."""
        return self.trials.best

    @property
    def is_settled(self) -> bool:
        """Whether the best is hardly in doubt any more."""
        return self.trials.turns_of_best >= _SETTLED

    @property
    def looks_far(self) -> bool:
        """Whether policies of all kinds are to be offered next, and not those like the best."""
        return self.turns >= self._next_offer

    @property
    def looks_everywhere(self) -> bool:
        """Whether that is all that there are; at first they would take too long."""
        return self.looks_far and self.turns > 0

    @property
    def wants_rivals(self) -> bool:
        """Whether policies are to be offered."""
        return self.looks_far or self._offered_to != self.best

    def offer(self, policies: Sequence[BatchPolicy]) -> None:
        """Try those of these policies that are worth it."""
        most = _BEYOND * self.largest
        worth = [each for each in policies if each.rows <= most]
        self.trials.offer(worth, anew=self.looks_far)
        if self.largest == inf:
            self.largest = 0.0
        if self.looks_far:
            self._next_offer = self.turns + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._offered_to = self.best

    def turn_ended(self, policy: BatchPolicy, score: float, requests: int) -> None:
        """One of this policy, in which so many requests were answered."""
        self.turns += 1
        self.trials.ended(policy, score, requests)

    def turn_had_no_batches(self, policy: BatchPolicy, without: BatchPolicy) -> None:
        """One of a policy that batches, but the loop ran nearly all at once.

        Whether that policy is a good one did not show, and would be chance; what it came to is
        the one `without` batches.
        """
        self.turns += 1
        if policy == self.best:
            self.trials.replace_best(without)
            self._offered_to = without
        else:
            self.trials.leave_out(policy)

    def stayed(self, stay_s: float, refused_share: float) -> None:
        """A turn of the best came to this."""
        is_new = self.stay_s == inf
        known_share = refused_share if is_new else self.refused_share
        self.refused_share = known_share + (refused_share - known_share) * _NEW_IN_REFUSED
        known_s = stay_s if is_new else self.stay_s
        self.stay_s = known_s + (stay_s - known_s) * _NEW_IN_STAY

    def follow(self, load: float) -> None:
        """A turn of the best was under this load, which is about the same."""
        self.load *= (load / self.load) ** _NEW_IN_LOAD

    def load_without_batches(self, rate: float) -> float:
        """What a turn of the best tells of the load by its answers per second.

        What the loop runs at once waits nowhere where it could be counted: only that less is
        answered tells that less comes.
        """
        self.rate = max(_FADING * self.rate, rate)
        return self.load * rate / self.rate
