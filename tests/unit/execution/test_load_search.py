"""Which ways to form batches are compared under one load."""

from salver.execution.load_search import LoadSearch
from salver.execution.policy_race import BatchPolicy

BEST = BatchPolicy(1)
POLICIES = [BatchPolicy(1, rows) for rows in (64, 32, 16, 8, 4)]


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
