"""Which way to form batches has the next turn, and which is found to be the best."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from salver.execution.policy_trials import BatchPolicy, PolicyTrials

FIRST = BatchPolicy(2)
OTHERS = [BatchPolicy(1), *(BatchPolicy(2, rows) for rows in (2, 4, 8, 16, 32, 64))]
NO_BATCHES = BatchPolicy(2, 1)
REQUESTS = 64


def trials_of(*policies: BatchPolicy) -> PolicyTrials:
    trials = PolicyTrials(FIRST)
    trials.offer(policies)
    return trials


def run(
    trials: PolicyTrials, turns: int, score: Callable[[BatchPolicy], float]
) -> Counter[BatchPolicy]:
    """So many turns; how many of them each policy had."""
    seen: Counter[BatchPolicy] = Counter()
    for _ in range(turns):
        policy = trials.next()
        seen[policy] += 1
        trials.ended(policy, score(policy), REQUESTS)
    return seen


@pytest.mark.parametrize("best", [FIRST, *OTHERS], ids=str)
@pytest.mark.parametrize("scatter", [0.0, 0.05, 0.15])
def test_the_best_is_found_and_has_most_turns_though_scores_scatter(
    best: BatchPolicy, scatter: float
) -> None:
    chance, trials = random.Random(5), trials_of(*OTHERS)

    def score(policy: BatchPolicy) -> float:
        return (1.0 if policy == best else 1.3) * chance.lognormvariate(0.0, scatter)

    run(trials, 100, score)

    assert trials.best == best
    assert run(trials, 100, score)[best] > 60


def test_whoever_is_far_behind_has_one_turn() -> None:
    seen = run(trials_of(*OTHERS), 200, lambda each: 1.0 if each == FIRST else 2.0)
    assert all(seen[each] == 1 for each in OTHERS)


def test_who_is_hardly_better_does_not_become_the_best() -> None:
    trials = trials_of(*OTHERS)
    run(trials, 200, lambda each: 1.0 if each == FIRST else 0.98)
    assert trials.best == FIRST


def test_one_lucky_turn_makes_nobody_the_best_for_long() -> None:
    trials = trials_of(*OTHERS)
    lucky = {OTHERS[2]: [0.5]}

    def score(policy: BatchPolicy) -> float:
        return lucky[policy].pop() if lucky.get(policy) else 1.0 if policy == FIRST else 1.1

    run(trials, 100, score)

    assert trials.best == FIRST


def test_the_best_has_a_turn_now_and_then_whatever_else_is_tried() -> None:
    trials = trials_of(*OTHERS, NO_BATCHES, *(BatchPolicy(1, rows) for rows in (2, 4, 8, 16)))
    seen = []
    for _ in range(32):
        best, policy = trials.best, trials.next()
        seen.append(policy == best)
        trials.ended(policy, 1.0, REQUESTS)
    assert all(any(seen[first : first + 8]) for first in range(24))


def test_batches_have_to_gain_more_than_they_cost() -> None:
    for first, other in ((NO_BATCHES, FIRST), (FIRST, NO_BATCHES)):
        trials = PolicyTrials(first)
        trials.offer([other])
        run(trials, 100, lambda each: 0.99 if each.batches else 1.0)
        assert trials.best == NO_BATCHES


def test_what_runs_alone_slowly_at_first_is_given_the_time_to_get_quick() -> None:
    trials = trials_of(*OTHERS, NO_BATCHES)
    turns = 0

    def score(policy: BatchPolicy) -> float:
        nonlocal turns
        turns += policy == NO_BATCHES
        return 1.2 if policy != NO_BATCHES else 2.0 if turns < 5 else 1.0

    run(trials, 100, score)

    assert trials.best == NO_BATCHES


def test_without_batches_too_one_turn_is_enough_where_all_others_are_far_better() -> None:
    trials = trials_of(*OTHERS, NO_BATCHES)
    seen = run(trials, 100, lambda each: 1.0 if each.batches else 9.0)
    assert seen[NO_BATCHES] == 1


def test_that_the_best_is_worse_than_it_was_shows_soon() -> None:
    trials = trials_of(*OTHERS)
    run(trials, 500, lambda each: 1.0 if each == OTHERS[3] else 1.2)
    assert trials.best == OTHERS[3]

    run(trials, 100, lambda each: 1.5 if each == OTHERS[3] else 1.2)

    assert trials.best != OTHERS[3]


def test_who_lost_is_tried_again_when_all_are() -> None:
    trials = trials_of(*OTHERS)
    run(trials, 200, lambda each: 1.0 if each == FIRST else 2.0)

    trials.offer(OTHERS, anew=True)
    run(trials, 100, lambda each: 1.0 if each == FIRST else 0.5 if each == OTHERS[4] else 2.0)

    assert trials.best == OTHERS[4]


def test_what_is_no_way_of_its_own_leaves() -> None:
    trials = trials_of(*OTHERS)
    trials.leave_out(OTHERS[0])
    assert run(trials, 100, lambda each: 1.0)[OTHERS[0]] == 0


def test_the_best_may_turn_out_to_be_another() -> None:
    trials = trials_of(*OTHERS)
    trials.replace_best(NO_BATCHES)
    assert trials.best == NO_BATCHES
    assert run(trials, 100, lambda each: 1.0 if each == NO_BATCHES else 2.0)[FIRST] == 0


def test_a_width_that_one_has_shown_to_be_far_behind_is_not_tried_by_others() -> None:
    narrow = [BatchPolicy(1), BatchPolicy(1, 8), BatchPolicy(1, 8, gathers=True)]
    wide = [BatchPolicy(2, 8), BatchPolicy(4), BatchPolicy(4, 8)]
    seen = run(trials_of(*narrow, *wide), 100, lambda each: 2.0 if each.width == 1 else 1.0)
    assert [seen[each] for each in narrow] == [1, 0, 0]
    assert all(seen[each] for each in wide)


def test_no_batches_are_tried_whatever_the_width_has_shown() -> None:
    without = BatchPolicy(4, 1)
    trials = trials_of(BatchPolicy(4), BatchPolicy(4, 8), without)
    run(trials, 100, lambda each: 1.0 if each in (FIRST, without) else 2.0)
    assert trials.best == without


def test_one_lucky_turn_of_the_first_does_not_make_a_policy_the_best() -> None:
    rival = BatchPolicy(2, 8)
    for lucky in range(3):
        trials = trials_of(rival)
        run(trials, 20, lambda each: 1.0 if each == FIRST else 2.0)
        trials.offer([rival], anew=True)
        for turn in range(3):
            trials.ended(rival, 0.5 if turn == lucky else 1.1, REQUESTS)
        assert trials.best == FIRST
