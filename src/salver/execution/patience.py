"""How long clients wait before they give up, as far as it shows, and how long they have to.

A client with a time limit of its own, which it does not tell, goes away when that is over. Where
more come than can be served, each then waits in the queue until it has just given up, and all
work is in vain. So while many go away from the queue, the longest wait that is offered is less
than what clients bear, and who has waited nearly that long already is refused rather than run.
Clients also go away because they end, many at once, whatever they wait for: then they have mostly
waited for less than those who stay, and it is over soon; those with a time limit have waited longer
than all others, and go on going away.
What was learned so is forgotten with time. Pure: times come from outside.
"""

from math import inf

from salver.errors import Unavailable

_WINDOW_S = 0.05
_ENOUGH = 20
"""Clients that stay or go away before anything follows from it."""
_MANY = 0.05
"""Of them, the share that goes away before it matters."""
_OFFERED = 0.7
"""Of the time after which clients go away, what is offered as a wait."""
_HOPELESS = 0.9
"""Of that time, what one may have waited and still be run: it has to be answered, too."""
_SHRINK = 0.9
_DOUBLES_S = 30.0
"""Time in which what clients are thought to bear doubles, unless they show otherwise."""
_LEAST_S = 0.05
"""Enough to keep the workers busy."""
_STAY_SMOOTHING = 0.05
_IN_A_ROW = 3
"""Windows in which many have to go away before it matters, so that it is more than one crowd; and
in which all do, before it does not matter how long others once stayed."""
_SPARE = 1.25
"""Times the expected wait that a request is given until its deadline: a wait is never known
exactly, and one that ends a little too late was in vain."""
SPARE_OF_BATCHES, _LEAST_SPARE = 2.0, 1.1
"""As above, of what is run in batches: which requests share one, and how long it takes, is not
known before it is formed. A queue that is half as long as it might be keeps threads as busy, and
answers in half the time. But of requests of many kinds, the more can be run together the more there
are to choose from: with those less is tried, down to the least."""
_LESS_SPARE, _MORE_SPARE = 0.03, 1.1
"""What is taken off where hardly any come too late, and what it is multiplied by where many do."""
_SPARE_WINDOW_S = 0.1
_HARDLY_LATE, _OFTEN_LATE = 0.01, 0.02
_TO_ANSWER_S = 1e-3
"""An answer that is ready so shortly before the deadline is there too late."""
_ON_THE_EDGE = 0.5
"""Of the longest wait with which requests are taken: those with less say nothing of the spare."""
_PACE_SMOOTHING = 0.05
_SLOWEST_PACE = 8.0


class Patience:
    """The longest wait that is worth offering. Loop only, but for `is_hopeless`."""

    __slots__ = (
        "_bears_s", "_disappointed", "_gone", "_gone_after_s", "_learned_at", "_most_s", "_stay_s",
        "_stayed", "_window_ends_at", "_windows_with_many", "_windows_without", "limit_s",
    )  # fmt: skip

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self.limit_s = most_s
        """Seconds."""
        self._bears_s = inf
        self._learned_at = 0.0
        self._stay_s = 0.0
        self._windows_with_many = self._windows_without = 0
        self._window_ends_at = 0.0
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._stayed = self._gone = self._disappointed = 0
        self._gone_after_s = 0.0
        self._window_ends_at = now + _WINDOW_S

    def is_hopeless(self, waited_s: float) -> bool:
        """Whether one that has waited so long will most likely be gone before it is answered."""
        return waited_s > _HOPELESS * self._bears_s

    def stayed(self, stay_s: float, now: float) -> None:
        """One that had waited was run, and has been here for so long."""
        self._stayed += 1
        self._stay_s += (stay_s - self._stay_s) * _STAY_SMOOTHING
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
        self._forget(now)
        self._windows_without = 0 if self._stayed else self._windows_without + 1
        has_many_gone = self._gone > _MANY * count and self._have_lost_patience
        self._windows_with_many = self._windows_with_many + 1 if has_many_gone else 0
        if self._windows_with_many >= _IN_A_ROW:
            bears_s = self._gone_after_s / self._gone
            if self._disappointed > _MANY * count:
                bears_s = min(bears_s, _SHRINK * self._bears_s)
            self._bears_s = min(self._bears_s, max(bears_s, _LEAST_S / _OFFERED))
        self.limit_s = min(self._most_s, _OFFERED * self._bears_s)
        self._begin(now)

    @property
    def _have_lost_patience(self) -> bool:
        """Whether those who went away waited for as long as others, or there are no others."""
        is_long = self._gone_after_s >= self._stay_s * self._gone
        return is_long or self._windows_without >= _IN_A_ROW

    def _forget(self, now: float) -> None:
        doublings = (now - self._learned_at) / _DOUBLES_S
        self._learned_at = now
        if _OFFERED * self._bears_s >= self._most_s or doublings > 1.0:
            self._bears_s = inf
        else:
            self._bears_s *= 2.0**doublings


class WaitPace:
    """How much longer than expected waits turn out. Loop only."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self.times = 1.0
        """So many times, of late."""

    def learn(self, waited_s: float, expected_s: float) -> None:
        """Take in how long a request has waited."""
        # What others ahead of it gave up is no sign that waits are short.
        times = min(max(waited_s / expected_s, 1.0), _SLOWEST_PACE)
        self.times += (times - self.times) * _PACE_SMOOTHING


class SpareTime:
    """How many times its expected wait a request needs, where kinds vary: learned. Loop only."""

    __slots__ = ("_count", "_late", "_window_ends_at", "times")

    def __init__(self) -> None:
        self.times = SPARE_OF_BATCHES
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._count = self._late = 0
        self._window_ends_at = now + _SPARE_WINDOW_S

    def is_told_by(self, expected_wait_s: float, left_s: float) -> bool:
        """Whether one that is taken with such a wait, and so long to its deadline, tells of it."""
        return expected_wait_s * self.times > _ON_THE_EDGE * left_s

    def learn(self, left_s: float, took_s: float, now: float, *, is_answered: bool) -> None:
        """One that had so long to its deadline was answered after so long, or given up."""
        is_late = took_s > left_s - _TO_ANSWER_S
        if not is_late and not is_answered:
            return
        self._count += 1
        self._late += is_late
        if self._count < _ENOUGH or now < self._window_ends_at:
            return
        if self._late > _OFTEN_LATE * self._count:
            self.times = min(_MORE_SPARE * self.times, SPARE_OF_BATCHES)
        elif self._late < _HARDLY_LATE * self._count:
            self.times = max(self.times - _LESS_SPARE, _LEAST_SPARE)
        self._begin(now)


def time_left_s(deadline: float, now: float, run_s: float, spare: float = _SPARE) -> float:
    """How long a request may be expected to wait whose run takes `run_s`, to be answered in time.

    `spare`: so many times as long its wait and run may turn out.
    """
    return (deadline - now) / spare - run_s


def gave_up_soon(waited_s: float) -> Unavailable:
    """What one hears of which `Patience.is_hopeless`."""
    return Unavailable(
        f"The server is overloaded: the wait was {waited_s:.1f} s already, and clients have shown "
        "that they do not wait much longer"
    )
