"""How the batches of one queue are formed, learned from how long requests stay.

What a batch costs does not tell all. More threads are not always better: they share the caches and
the cores with each other and with the loop that has to take in and answer the requests. Larger
batches wake the loop less often, but leave it idle while all callers wait for them. Which callers
come back together, and find which thread idle, makes some sizes settle into a rhythm and others
not. How long requests stay, in the queue and in their batch, and how many are answered, has all of
that in it: where a fixed number of callers wait for each other, a short stay brings more answers;
where requests come at a pace of their own, it is what there is to win, and a burst of them, which
makes stays longer, does not count against the policy that meets with it.

So policies are compared by the root of the seconds of stay, divided by answers per second: the
root, because the time that callers spend on the way is not seen, and batches for which all wait
together have more of it. While requests are refused, only the answers count: who refuses decides
how long the others stay. Policies are compared by turns of some batches each (see
`policy_trials.py`), at first those that are like the best, and ever more rarely all that there
are. What is known is remembered for each load, in steps of about two.

Pure: times come from outside.
"""

from math import inf, log2, sqrt
from typing import Protocol

from salver.execution.load_search import LoadSearch
from salver.execution.policy_trials import BatchPolicy

_FEWEST_BATCHES, _FEWEST_LOADS, _SHORTEST_TURN_S = 16, 3, 0.02
"""What a turn has to see: so many batches, or so many times the rows that are there, which a few
large ones may have; and how long it takes at least."""
_LONG_S = 0.1
"""After that neither a change of policy nor a turn has to see as many requests as are there."""
_SETTLING, _SETTLING_LOADS, _SETTLING_THREADS = 6, 1, 3
"""After a change of policy so many batches still have to do with the one before, and as many
requests as were there then; more where other threads run what comes, because there are batches no
more or again: those that came while both ran are slow, too."""
_ENOUGH_TO_SEE, _SHORTEST_GLANCE_S, _LONG_STAY = 6, 0.005, 2.0
"""After so many batches and seconds, and as many requests as are there, with so many times the
stay of the best, a turn ends early."""
_COMING_S = 0.03
"""It takes so long until all who come at the same time have come."""
_PAUSE_S, _PAUSE_IN_STAYS = 0.25, 4
"""So long without a batch, and so many times what requests stay, is the end of a load."""
_SIZES, _STEPS, _GATHERED_SIZES = 5, 2, 3
"""Numbers of rows that are tried, each half of the one before; of them, to be waited for."""
_MOST_CREDIT_S = 0.3
"""Seconds that rivals may cost, beyond what the best would have taken: so many are there at first,
and at most."""
_CREDIT, _CREDIT_AGAIN = 0.05, 0.015
"""The share of the time that is added, while the best is in doubt and later."""
_LEAST_LOAD = 1.2
"""Rows that wait or run, on average, for policies to matter at all."""
_NO_LOAD = 2.0**-10
"""Stands for less than that: far from all that is searched."""
_ANOTHER_LOAD, _QUITE_ANOTHER_LOAD = 1.2, 1.5
"""In doublings: how far the load may move before what was best there is no longer trusted, and
before a search is left that has hardly begun."""
_SAME_LOAD = 0.6
"""In doublings: how close two loads may come to each other before they are one."""
_MOST_AT_ONCE = 0.5
"""The share of a policy's requests that the loop may run at once, before they say nothing of it."""
_FEW_REFUSED, _MANY_REFUSED = 0.02, 0.1
"""For each that is answered: with fewer, how long requests stay is a matter of the policy; and the
share more than in turns of the best with which the turn of a rival ends early."""


class _Settling:
    """What ends after a change of policy and still has to do with the one before."""

    __slots__ = ("_batches", "_most_rows", "_rows", "_until")

    def __init__(self) -> None:
        self._batches, self._rows, self._most_rows, self._until = 0, 0.0, 0.0, 0.0

    def begin(self, rows: float, now: float) -> None:
        """So many rows do, or less if they take long; more if they are in few batches."""
        self._batches, self._rows, self._until = _SETTLING, rows, now + _LONG_S
        self._most_rows = _FEWEST_LOADS * rows

    def begin_new(self, now: float) -> None:
        """The first batches of a load do, while all who come are yet to come."""
        self._batches, self._rows, self._until = _SETTLING, inf, now + _COMING_S
        self._most_rows = inf

    def includes(self, rows: int, now: float) -> bool:
        """Whether the batch does that has ended, of so many rows."""
        are_few = self._batches > 0 and self._most_rows > 0
        included = are_few or (self._rows > 0 and now < self._until)
        if included:
            self._batches -= 1
            self._rows -= rows
            self._most_rows -= rows
        return included


class KnowsCosts(Protocol):
    """As `BatchControl`."""

    @property
    def steps(self) -> list[int]: ...

    def may_pay(self, rows: int) -> bool: ...


class PolicySearch:
    """The choice for one queue. Loop only."""

    __slots__ = (
        "_at_once", "_batches", "_began_at", "_costs", "_credit_s", "_has_moved",
        "_most", "_quiet", "_refused", "_requests", "_rows", "_search", "_searches", "_settling",
        "_since", "_stay_s", "_told_at", "_width", "policy",
    )  # fmt: skip

    def __init__(self, width: int, most: int, costs: KnowsCosts) -> None:
        """Begin with batches of as many rows as get through cheapest.

        Args:
            width: so many of them at the same time, at first.
            most: so many at the most.
            costs: of batches, as far as they are known.
        """
        self._width = width
        self._most = most
        self._costs = costs
        self.policy = BatchPolicy(width)
        """For now."""
        self._quiet = LoadSearch(_NO_LOAD, self.policy)
        self._search = self._quiet
        self._searches: list[LoadSearch] = []
        """Of the loads that were met with; they are not close to each other."""
        self._has_moved = False
        """Whether the last turn was under another load than this search is about."""
        self._credit_s = _MOST_CREDIT_S
        self._settling = _Settling()
        self._told_at: float | None = None
        self._began_at: float | None = None
        self._since = 0.0
        """When the turn before this one ended: what settles after a change costs, too."""
        self._start_turn()

    @property
    def best(self) -> BatchPolicy:
        """What has turned out best so far, under the load of now."""
        return self._search.best

    def _start_turn(self) -> None:
        self._batches = self._requests = self._rows = self._at_once = 0
        self._refused = 0
        self._stay_s = 0.0

    def refused(self) -> None:
        """A request was not taken, because it would have waited too long."""
        self._refused += 1

    def ended(
        self, requests: int, rows: int, stay_s: float, now: float, *, at_once: bool = False
    ) -> None:
        """A batch has ended.

        Args:
            requests: that it answered.
            rows: that they had.
            stay_s: how long they stayed, from when they came, all together.
            now: seconds.
            at_once: whether the loop ran it as soon as it had read it: the wait for that is unseen.
        """
        if self._told_at is None:
            self._settling.begin_new(now)
        idle_s = 0.0 if self._told_at is None else now - self._told_at
        self._told_at = now
        # What the turn was under way for is lost; what is known is not.
        if idle_s > _PAUSE_S and idle_s > _PAUSE_IN_STAYS * stay_s / requests:
            self._forget_load(now)
            return
        if self._settling.includes(rows, now):
            return
        if self._began_at is None:
            self._began_at = now
            return
        self._batches += 1
        self._requests += requests
        self._rows += rows
        self._stay_s += stay_s
        if self.policy.batches and rows > self._search.largest:
            self._search.largest = rows
        self._at_once += requests * at_once
        elapsed_s = now - self._began_at
        if self._has_seen_enough(elapsed_s):
            policy = self.policy
            self._end_turn(elapsed_s, now)
            self._start_turn()
            self._began_at = self._since = now
            if self.policy != policy:
                is_elsewhere = self.policy.batches != policy.batches
                loads = _SETTLING_THREADS if is_elsewhere else _SETTLING_LOADS
                self._settling.begin(loads * self._search.load, now)
                self._began_at = None

    def was_disturbed(self, now: float) -> None:
        """A batch took longer than such batches will: its turn begins anew, when that is over."""
        self._told_at = now
        self._start_turn()
        self._settling.begin(self._search.load, now)
        self._began_at = None

    def _forget_load(self, now: float) -> None:
        """Nothing came for a while: what went on before is over, and no fault of a policy."""
        # Whatever comes now need not prove that it is another load.
        self._has_moved = True
        if self._search.best.batches:
            # Else it does no harm to whatever comes now, and is right at once if it is the same.
            self._search = self._quiet
        self.policy = self._search.best
        self._settling.begin_new(now)
        self._start_turn()
        self._began_at, self._since = None, now

    def _has_seen_enough(self, elapsed_s: float) -> bool:
        load = self._search.load
        many = self._batches >= _FEWEST_BATCHES or self._rows >= _FEWEST_LOADS * load
        if many and elapsed_s >= _SHORTEST_TURN_S:
            return self._rows >= load or elapsed_s >= _LONG_S
        if self.policy == self._search.best or elapsed_s < _SHORTEST_GLANCE_S:
            return False
        if self._refused_share > self._search.refused_share + _MANY_REFUSED:
            return True
        return (
            self._batches >= _ENOUGH_TO_SEE or self._rows >= load
        ) and self._stay_s > _LONG_STAY * self._search.stay_s * self._requests

    @property
    def _refused_share(self) -> float:
        return self._refused / (self._refused + self._requests)

    def _end_turn(self, elapsed_s: float, now: float) -> None:
        search = self._search
        had_no_batches = search is not self._quiet and self._had_no_batches
        stay_s = self._stay_s / self._requests
        # What so many rows would stay if all were taken, by Little's law.
        all_taken_s = search.load * elapsed_s / self._rows
        if self._refused > _FEW_REFUSED * self._requests:
            # How long the others stay is then a choice of those who refuse, not of a policy.
            stay_s = all_taken_s
        else:
            # While the loop runs them, others wait to be read: about as many as wait elsewhere.
            stay_s = max(stay_s, all_taken_s * self._at_once / self._requests)
        if self.policy == search.best:
            search.stayed(stay_s, self._refused_share)
            share = _CREDIT_AGAIN if search.is_settled else _CREDIT
            self._credit_s = min(self._credit_s + share * elapsed_s, _MOST_CREDIT_S)
            load = self._stay_s / elapsed_s * self._rows / self._requests
            if not self.policy.batches:
                load = max(load, search.load_without_batches(self._requests / elapsed_s))
            if had_no_batches:
                # What the loop runs at once waits unseen: it is no sign of another load.
                self._has_moved = False
            else:
                self._look_at(load)
        elif stay_s > search.stay_s:
            self._credit_s -= (now - self._since) * (1 - search.stay_s / stay_s)
        # Also in a turn of the best: a rival may have left a queue that is too long for it.
        more_refused = self._refused_share - search.refused_share
        self._credit_s -= (now - self._since) * max(more_refused, 0.0)
        if self._search is search and not self._has_moved:
            if had_no_batches:
                search.turn_had_no_batches(self.policy, BatchPolicy(self._most, 1))
            elif search is not self._quiet:
                score = sqrt(stay_s) * elapsed_s / self._requests
                search.turn_ended(self.policy, score, self._requests)
        self.policy = self._next_policy()

    def _next_policy(self) -> BatchPolicy:
        search = self._search
        if self._has_moved or search is self._quiet:
            return search.best
        if search.wants_rivals:
            search.offer(self._rivals(search))
        # Who has cost too much already has to wait.
        return search.trials.next() if self._credit_s >= 0 else search.best

    @property
    def _had_no_batches(self) -> bool:
        """Whether the turn was hardly one of its policy, because single runs were so cheap."""
        return self.policy.batches and self._at_once > _MOST_AT_ONCE * self._requests

    def _look_at(self, load: float) -> None:
        """Go on with the search that belongs to this load."""
        found = self._search_at(load)
        # One turn may be the end of a load, or a moment without a core.
        self._has_moved = found is not self._search and not self._has_moved
        if self._has_moved:
            return
        if found is not self._quiet:
            found.follow(load)
            found = self._known_best(found)
        self._search = found

    def _known_best(self, search: LoadSearch) -> LoadSearch:
        """Of the searches about this load, which may have come to each other, the only one left."""
        alike = [
            each
            for each in self._searches
            if each is search or _doublings(each.load, search.load) < _SAME_LOAD
        ]
        kept = max(alike, key=lambda each: each.turns)
        self._searches = [each for each in self._searches if each is kept or each not in alike]
        return kept

    def _search_at(self, load: float) -> LoadSearch:
        """The search that belongs to this load."""
        if load < _LEAST_LOAD:
            return self._quiet
        far = _ANOTHER_LOAD if self._search.is_settled else _QUITE_ANOTHER_LOAD
        if _doublings(load, self._search.load) < far:
            return self._search
        nearest = min(
            self._searches, key=lambda each: _doublings(load, each.load), default=self._quiet
        )
        if _doublings(load, nearest.load) < _ANOTHER_LOAD:
            return nearest
        largest = inf
        if nearest is not self._quiet and nearest.largest:
            largest = nearest.largest * max(load / nearest.load, 1.0)
        best = nearest.best
        if best.rows > 1 and load > nearest.load:
            # What was enough for fewer rows may not be for more, which would then be refused.
            best = BatchPolicy(best.width)
        found = LoadSearch(load, best, largest)
        self._searches.append(found)
        return found

    def _rivals(self, search: LoadSearch) -> list[BatchPolicy]:
        """What to compare with the best: what is like it, and at times all kinds of policies."""
        best, most = search.best, self._most
        width = best.width if best.batches else self._width
        whole = 2 ** round(log2(search.load))
        # The load does not tell who is being answered: there may be twice as many callers.
        sizes = [2 * whole >> halvings for halvings in range(_SIZES) if 2 * whole >> halvings > 1]
        numbers, gathered = [0, *sizes[1:]], sizes[1:_GATHERED_SIZES]
        if search.looks_far:
            steps = [rows for rows in self._costs.steps if rows not in sizes and rows < sizes[0]]
            numbers += steps[:_STEPS]
        elif best.rows > 1:
            # Half as many, and twice as many; to wait, or not to.
            close = [each for each in (best.rows // 2, best.rows, 2 * best.rows) if each > 1]
            numbers, gathered = [0, *close], [each for each in close if each <= sizes[0]]
        ways = [(rows, False) for rows in numbers] + [(rows, True) for rows in gathered]
        policies = [BatchPolicy(most, 1)]
        policies += [BatchPolicy(width, rows, gathers) for rows, gathers in ways]
        if not search.looks_everywhere:
            ways = [(best.rows, best.gathers)] if best.batches else []
        for wide in dict.fromkeys((width // 2, 2 * width, 1)):
            if 1 <= wide <= most:
                policies += [BatchPolicy(wide, rows, gathers) for rows, gathers in ways]
        return [each for each in policies if self._costs.may_pay(each.rows)]


def _doublings(load: float, other: float) -> float:
    """How far two loads are from each other."""
    return abs(log2(load / other))
