"""What is known of the best way to form batches under one load. Pure."""

from collections.abc import Sequence
from math import inf

from salver.execution.policy_race import BatchPolicy, PolicyRace

_FIRST_PAUSE, _LONGEST_PAUSE = 32, 8192
"""Turns until the next race; twice as many each time, while nothing changes."""
_RACES_OF_ALL = 8
"""Of so many races, one has also those in it that were hopeless."""
_BEYOND = 2.0
"""Limits beyond so many times the largest batch that there was make no difference to each other:
of requests of many kinds, only few can be run together."""
_FADING = 0.99
"""What is left, from turn to turn, of the most answers per second."""


class LoadSearch:
    """What is known about one load, in rows that wait or run."""

    __slots__ = (
        "best", "doubts", "hopeless", "is_confirmed", "largest", "load", "pause", "race", "races",
        "rate", "rest", "stay_s", "trust",
    )  # fmt: skip

    def __init__(self, load: float, best: BatchPolicy, largest: float = inf) -> None:
        self.load = load
        self.best = best
        self.largest = largest
        """Rows of the largest batch since the last race began. Before the first one what another
        load lets expect; infinite: nothing, for the best alone does not show what could be."""
        self.hopeless: set[BatchPolicy] = set()
        self.race: PolicyRace | None = None
        """Under way; it goes on when this load comes again."""
        self.races = 0
        """That have begun."""
        self.stay_s = inf
        """How long requests stayed in the last turn of the best."""
        self.rate = 0.0
        """The most answers per second of late, without batches."""
        self.pause = _FIRST_PAUSE
        self.rest = 0
        """Turns until the next race."""
        self.is_confirmed = False
        """Whether the best has won a race since it is the best."""
        self.doubts = False
        """Whether the race is only about whether to wait for company."""
        self.trust = 0
        """Turns until waiting that is mostly in vain is doubted again."""

    def begin_race(self, policies: Sequence[BatchPolicy]) -> None:
        """Compare the best with those of these policies that are worth it, if any are."""
        self.races += 1
        most = _BEYOND * self.largest
        if not self.races % _RACES_OF_ALL:
            self.hopeless.clear()
            most = inf
        left_out = {*self.hopeless, self.best}
        rivals = [each for each in policies if each not in left_out and each.rows <= most]
        if rivals:
            self.largest = 0.0
            self.race = PolicyRace(self.best, rivals)
        else:
            self.take_rest()

    def turn_ended(self, score: float) -> None:
        """One of the race; if it was the last, use the winner."""
        assert self.race is not None
        self.race.ended(score)
        self._end_race(self.race)

    def turn_had_no_batches(self, policy: BatchPolicy, without: BatchPolicy) -> None:
        """One of a policy that batches, but the loop ran nearly all at once.

        Whether that policy is a good one did not show, and would be chance; what it came to is
        the one `without` batches.
        """
        if policy == self.best:
            self.best, self.race, self.doubts = without, None, False
            self.is_confirmed = False
            self.take_rest()
        elif self.race is not None:
            self.race.left()
            self._end_race(self.race)

    def _end_race(self, race: PolicyRace) -> None:
        if race.winner is None:
            return
        self.race = None
        # To have no batches is what others have: it must not be the better way for long.
        self.hopeless |= {each for each in race.hopeless - {race.winner} if each.batches}
        doubts, self.doubts = self.doubts, False
        if race.winner == self.best:
            if not doubts:
                self.is_confirmed = True
                self.take_rest()
        else:
            self.best, self.is_confirmed = race.winner, False
            self.rest = self.pause = _FIRST_PAUSE

    def load_without_batches(self, rate: float) -> float:
        """What a turn of the best tells of the load by its answers per second.

        What the loop runs at once waits nowhere where it could be counted: only that less is
        answered tells that less comes.
        """
        self.rate = max(_FADING * self.rate, rate)
        return self.load * rate / self.rate

    def take_rest(self) -> None:
        """Race no more for a while, and longer the next time."""
        self.rest = self.pause
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)
