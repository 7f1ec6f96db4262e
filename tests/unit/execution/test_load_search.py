"""Which ways to form batches are offered under one load, and when."""

from salver.execution.load_search import LoadSearch
from salver.execution.policy_trials import BatchPolicy

BEST = BatchPolicy(1)
POLICIES = [BatchPolicy(1, rows) for rows in (64, 32, 16, 8, 4)]
NO_BATCHES = BatchPolicy(BEST.width, 1)
REQUESTS = 64


def turns(search: LoadSearch, count: int, best: BatchPolicy = BEST) -> list[BatchPolicy]:
    """Who had so many turns, all of which but those of one policy come to the same."""
    seen = []
    for _ in range(count):
        policy = search.trials.next()
        seen.append(policy)
        search.turn_ended(policy, 1.0 if policy == best else 1.3, REQUESTS)
    return seen


def offered(search: LoadSearch) -> list[BatchPolicy]:
    """Of those that could be, who is tried."""
    search.offer(POLICIES)
    seen = turns(search, 20)
    return [policy for policy in POLICIES if policy in seen]


def test_as_long_as_nothing_is_known_of_batches_all_are_offered() -> None:
    assert offered(LoadSearch(16.0, BEST)) == POLICIES


def test_limits_that_no_batch_comes_near_are_not_offered() -> None:
    assert offered(LoadSearch(16.0, BEST, largest=4.0)) == POLICIES[3:]


def test_policies_are_offered_when_the_best_is_another_and_else_ever_more_rarely() -> None:
    search = LoadSearch(16.0, BEST)
    at = []
    for turn in range(4000):
        if search.wants_rivals:
            at.append(turn)
            search.offer(POLICIES)
        turns(search, 1, BEST if turn < 100 else POLICIES[1])
    assert at[0] == 0
    # As soon as it is the best; then after pauses that are twice as long each time.
    assert 100 < at[1] < 512
    assert at[2:] == [512, 512 + 1024, 512 + 1024 + 2048]


def test_at_first_not_everything_is_tried_and_later_it_is() -> None:
    search = LoadSearch(16.0, BEST)
    looks = [(search.looks_far, search.looks_everywhere)]
    for count in (1, 511):
        search.offer(POLICIES)
        turns(search, count)
        looks.append((search.looks_far, search.looks_everywhere))
    assert looks == [(True, False), (False, False), (True, True)]


def test_the_best_is_settled_after_many_turns_of_it() -> None:
    search = LoadSearch(8.0, BEST)
    turns(search, 10)
    assert not search.is_settled
    turns(search, 200)
    assert search.is_settled


def test_what_came_to_no_batches_is_that_and_others_that_do_leave() -> None:
    search = LoadSearch(8.0, BEST)
    search.offer(POLICIES)
    search.turn_had_no_batches(BEST, NO_BATCHES)
    search.turn_had_no_batches(POLICIES[0], NO_BATCHES)
    assert search.best == NO_BATCHES
    seen = turns(search, 20, NO_BATCHES)
    assert POLICIES[0] not in seen
    assert BEST not in seen


def test_the_load_is_followed() -> None:
    search = LoadSearch(8.0, BEST)
    search.follow(12.0)
    assert 8.0 < search.load < 9.0
    for _ in range(100):
        search.follow(12.0)
    assert round(search.load, 2) == 12.0
