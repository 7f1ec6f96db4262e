"""Retries and deadlines, with a clock and a server that are lists."""

import pytest

from salver.client.exchange import Answer, Ask, Call, Operation, Pause, steps_of
from salver.client.options import Retries, RetryBudget
from salver.errors import DeadlineExceeded, InvalidArgument, NotFound, ServingError, Unavailable

CALL = Call("/path", b"body")
BUSY = Unavailable("busy")


def operation(call: Call = CALL) -> Operation[bytes]:
    answer = yield call
    return answer.body


class Site:
    """Carries out steps: answers come from a list, each takes a second, pauses are kept."""

    def __init__(
        self,
        *outcomes: ServingError | bytes,
        call: Call = CALL,
        retries: Retries | None = None,
        timeout_s: float | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.timeouts: list[float | None] = []
        self._outcomes = list(outcomes)
        options = retries or Retries()
        self._steps = steps_of(
            operation(call),
            options,
            budget or RetryBudget(options),
            timeout_s,
            lambda: self.now,
            lambda: 0.5,
        )

    def run(self) -> bytes:
        try:
            step = next(self._steps)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = self._steps.send(None)
                    continue
                assert isinstance(step, Ask)
                self.timeouts.append(step.timeout_s)
                self.now += 1
                outcome = self._outcomes.pop(0)
                if isinstance(outcome, bytes):
                    step = self._steps.send(Answer(outcome))
                else:
                    step = self._steps.throw(outcome)
        except StopIteration as end:
            result: bytes = end.value
            return result


def test_pauses_grow_up_to_their_limit() -> None:
    retries = Retries(attempts=5, first_pause_s=1.0, factor=4.0, longest_pause_s=10.0)
    site = Site(BUSY, BUSY, BUSY, BUSY, b"done", retries=retries)
    assert site.run() == b"done"
    assert site.pauses == [0.5, 2.0, 5.0, 5.0]


def test_after_the_last_attempt_the_error_comes_out() -> None:
    site = Site(BUSY, BUSY, retries=Retries(attempts=2))
    with pytest.raises(Unavailable, match="busy"):
        site.run()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(CALL, NotFound("no"), id="another error"),
        pytest.param(
            Call("/path", b"", may_repeat=False), BUSY, id="a call that changes something"
        ),
    ],
)
def test_one_attempt_is_made_of(call: Call, error: ServingError) -> None:
    site = Site(error, b"too late", call=call)
    with pytest.raises(type(error)):
        site.run()
    assert site.pauses == []


def test_every_attempt_has_the_time_that_is_left() -> None:
    retries = Retries(first_pause_s=1.0)
    site = Site(BUSY, b"done", retries=retries, timeout_s=10.0)
    site.run()
    assert site.timeouts == [10.0, 8.5]


def test_a_pause_beyond_the_deadline_is_not_begun() -> None:
    site = Site(BUSY, b"too late", retries=Retries(first_pause_s=10.0), timeout_s=3.0)
    with pytest.raises(Unavailable):
        site.run()


def test_without_time_nothing_is_sent() -> None:
    site = Site(b"too late", timeout_s=0.0)
    with pytest.raises(DeadlineExceeded, match="/path"):
        site.run()
    assert site.timeouts == []


def test_calls_that_fail_use_up_what_all_may_try_again() -> None:
    retries = Retries(attempts=2, budget=4)
    budget = RetryBudget(retries)
    for tried in (2, 1, 1):
        site = Site(BUSY, BUSY, retries=retries, budget=budget)
        with pytest.raises(Unavailable):
            site.run()
        assert len(site.timeouts) == tried
    for _ in range(40):
        Site(b"done", budget=budget).run()
    assert Site(BUSY, b"done", retries=retries, budget=budget).run() == b"done"


def test_no_attempts_at_all_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="attempts is 0"):
        Retries(attempts=0)
