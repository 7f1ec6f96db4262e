"""How long a wait is worth offering, by who stays for it, goes away, or is answered in time."""

from random import Random

import pytest

from salver.execution.patience import SPARE_OF_BATCHES, Patience, SpareTime

MOST_S = 5.0


class Clients:
    """200 of them in each second; every wait is as long as the limit allows."""

    def __init__(self, most_s: float = MOST_S) -> None:
        self.patience = Patience(most_s)
        self._random = Random(1)
        self._now = 0.0

    def come(self, seconds: float, bear_s: float = 100.0, share_gone: float = 0.0) -> float:
        """Those go away whose wait is longer than they can bear, and some for other reasons."""
        for _ in range(round(200 * seconds)):
            self._now += 1 / 200
            wait_s = self.patience.limit_s
            if wait_s > bear_s or self._random.random() < share_gone:
                self.patience.gone(wait_s, min(wait_s, bear_s), self._now)
            else:
                self.patience.stayed(wait_s, self._now)
        return self.patience.limit_s


def test_while_clients_stay_the_limit_is_what_it_was() -> None:
    assert Clients().come(10) == MOST_S


def test_a_few_that_go_away_change_little() -> None:
    assert Clients().come(10, share_gone=0.01) > MOST_S / 2


def test_the_limit_shrinks_at_once_to_less_than_clients_bear_and_stays_near_it() -> None:
    clients = Clients()
    assert 0.5 < clients.come(0.5, bear_s=1.0) < 1.0
    limits = [clients.come(0.1, bear_s=1.0) for _ in range(300)]
    assert sum(limit < 1.0 for limit in limits) > 270
    assert min(limits) > 0.3


def test_who_has_waited_nearly_as_long_as_clients_bear_is_hopeless() -> None:
    clients = Clients()
    assert not clients.patience.is_hopeless(1e9)
    clients.come(0.5, bear_s=1.0)
    assert clients.patience.is_hopeless(1.0)
    assert not clients.patience.is_hopeless(0.8)
    clients.come(120)
    assert not clients.patience.is_hopeless(1e9)


def test_when_clients_stay_again_it_grows_again() -> None:
    clients = Clients()
    clients.come(2, bear_s=1.0)
    assert clients.come(120) == MOST_S


def test_the_workers_always_have_something_to_do() -> None:
    assert Clients().come(60, bear_s=0.001) == 0.05
    assert Clients(0.01).come(60, bear_s=0.001) == 0.01


def test_clients_that_end_all_at_once_do_not_close_the_door() -> None:
    clients = Clients()
    clients.come(1)
    for number in range(1000):
        wait_s = MOST_S * (1 - number / 1000)
        clients.patience.gone(wait_s, wait_s, now=1.1)
    assert clients.come(1) > 1.0


def test_one_client_that_goes_away_changes_nothing() -> None:
    patience = Patience(MOST_S)
    patience.gone(MOST_S, 0.001, now=1.0)
    assert patience.limit_s == MOST_S


def test_where_no_wait_is_too_long_nothing_is_learned() -> None:
    assert Clients(0.0).come(1, share_gone=0.5) == 0.0


@pytest.mark.parametrize("crowd", [30, 64, 1000])
@pytest.mark.parametrize("longer_s", [0.0, 0.1], ids=["as ever", "in a slow moment"])
def test_a_crowd_that_ends_shows_nothing_of_how_long_it_would_have_waited(
    crowd: int, longer_s: float
) -> None:
    patience = Patience(MOST_S)
    for end in range(1, 10):
        for number in range(1000):
            patience.stayed(0.02, end + number / 2000)
        for number in range(crowd):
            # The first would have been answered next, the last had just come.
            patience.gone(0.02, longer_s + 0.02 * (1 - number / crowd), end + 0.5)
    assert patience.limit_s == MOST_S


LEFT_S = 0.05


def answer(spare: SpareTime, seconds: float, needed: float, since: float = 0.0) -> float:
    """1000 in each second; those are late that were given less than they needed."""
    chance = Random(1)
    for number in range(round(1000 * seconds)):
        took_s = LEFT_S / spare.times * needed * chance.uniform(0.8, 1.0)
        spare.learn(LEFT_S, took_s, since + number / 1000, is_answered=took_s < LEFT_S)
    return spare.times


@pytest.mark.parametrize("needed", [1.2, 1.5, 1.8])
def test_no_more_time_is_spared_than_answers_need_to_come_in_time(needed: float) -> None:
    assert needed - 0.2 < answer(SpareTime(), 10, needed) < needed + 0.3


def test_the_spare_has_bounds_and_grows_again_when_many_are_late() -> None:
    spare = SpareTime()
    assert 1.0 < answer(spare, 10, 0.5) < 1.2
    assert answer(spare, 10, 10.0, since=10.0) == SPARE_OF_BATCHES


def test_who_went_away_in_good_time_says_nothing_of_the_spare() -> None:
    spare = SpareTime()
    known = answer(spare, 10, 1.2)
    for number in range(1000):
        spare.learn(LEFT_S, LEFT_S / 2, 100 + number, is_answered=False)
    assert spare.times == known


def test_only_who_is_taken_with_little_to_spare_tells_of_it() -> None:
    spare = SpareTime()
    assert spare.is_told_by(0.4 * LEFT_S, LEFT_S)
    assert not spare.is_told_by(0.1 * LEFT_S, LEFT_S)
