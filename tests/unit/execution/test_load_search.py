"""Which ways to form batches are compared under one load."""

from collections.abc import Callable

from salver.execution.load_search import LoadSearch
from salver.execution.policy_race import BatchPolicy

BEST = BatchPolicy(1)
POLICIES = [BatchPolicy(1, rows) for rows in (64, 32, 16, 8, 4)]
OTHER, NO_BATCHES = BatchPolicy(BEST.width, 7), BatchPolicy(BEST.width, 1)


def compared(search: LoadSearch) -> list[BatchPolicy]:
    """Begin a race and have the best win it; who was in it."""
    search.begin_race(POLICIES)
    seen = []
    while search.race is not None:
        seen.append(search.race.policy)
        search.turn_ended(1.0 if search.race.policy == BEST else 1.3)
    return [policy for policy in POLICIES if policy in seen]


def test_as_long_as_nothing_is_known_of_batches_all_are_compared() -> None:
    assert compared(LoadSearch(16.0, BEST)) == POLICIES


def test_limits_that_no_batch_comes_near_are_not_compared_with_each_other() -> None:
    search = LoadSearch(16.0, BEST)
    for race in range(1, 17):
        search.largest = 4.0
        # Now and then all the same: other requests may come by now.
        assert compared(search) == (POLICIES if race % 8 == 0 else POLICIES[3:])


def test_what_batches_were_before_a_race_is_forgotten_when_it_begins() -> None:
    search = LoadSearch(16.0, BEST, largest=4.0)
    assert compared(search) == POLICIES[3:]
    assert search.largest == 0.0


def race(search: LoadSearch, score: Callable[[BatchPolicy], float]) -> BatchPolicy:
    """One between the best and another, from its beginning to its end; the best then."""
    search.largest = 8.0
    search.begin_race([OTHER])
    while search.race is not None:
        search.turn_ended(score(search.race.policy))
    return search.best


def test_the_best_is_confirmed_by_a_race_that_it_wins_as_the_best() -> None:
    search = LoadSearch(8.0, BEST)
    confirmed = [search.is_confirmed]
    for better in (BEST, OTHER):
        scores = {BEST: 1.3, OTHER: 1.3, better: 1.0}
        assert race(search, scores.__getitem__) == better
        confirmed.append(search.is_confirmed)
    assert confirmed == [False, True, False]


def test_what_came_to_no_batches_without_a_race_is_not_confirmed() -> None:
    search = LoadSearch(8.0, BEST)
    race(search, lambda policy: 1.0 if policy == BEST else 1.3)
    search.turn_had_no_batches(BEST, NO_BATCHES)
    assert search.best == NO_BATCHES
    assert not search.is_confirmed
