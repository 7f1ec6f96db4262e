"""Who wins a race between ways to form batches, and how many turns that takes."""

import random
from collections.abc import Callable

import pytest

from salver.execution.policy_race import BatchPolicy, PolicyRace

IN_USE = BatchPolicy(2)
RIVALS = [BatchPolicy(1), *(BatchPolicy(2, rows) for rows in (2, 4, 8, 16, 32, 64))]


def run(score: Callable[[BatchPolicy], float]) -> tuple[PolicyRace, list[BatchPolicy]]:
    """The race, and whose turns it had."""
    race = PolicyRace(IN_USE, RIVALS)
    turns = []
    while race.winner is None:
        turns.append(race.policy)
        race.ended(score(race.policy))
    return race, turns


@pytest.mark.parametrize("best", [IN_USE, *RIVALS], ids=str)
def test_the_best_wins_though_scores_scatter(best: BatchPolicy) -> None:
    chance = random.Random(5)
    race, _ = run(lambda each: (1.0 if each == best else 1.25) * chance.uniform(0.95, 1.05))
    assert race.winner == best


def test_whoever_is_far_behind_has_one_turn() -> None:
    race, turns = run(lambda each: 1.0 if each in (IN_USE, RIVALS[0]) else 2.0)
    assert race.hopeless == set(RIVALS[1:])
    assert all(turns.count(each) == 1 for each in RIVALS[1:])


def test_nobody_near_ends_the_race_after_one_turn_of_each() -> None:
    race, turns = run(lambda each: 1.0 if each == IN_USE else 2.0)
    assert race.winner == IN_USE
    assert len(turns) == 1 + len(RIVALS)


def test_who_is_hardly_better_does_not_win() -> None:
    race, turns = run(lambda each: 1.0 if each == IN_USE else 0.98)
    assert race.winner == IN_USE
    # Half of them leave each time: it is no round robin.
    assert len(turns) < 5 * len(RIVALS)


def test_who_is_not_better_after_some_turns_is_out_though_close() -> None:
    race, turns = run(lambda each: {IN_USE: 1.0, RIVALS[0]: 1.04}.get(each, 2.0))
    assert race.winner == IN_USE
    assert turns.count(RIVALS[0]) == 4


def test_batches_have_to_gain_more_than_they_cost() -> None:
    without = BatchPolicy(2, 1)
    for in_use, rival in ((without, IN_USE), (IN_USE, without)):
        race = PolicyRace(in_use, [rival])
        while race.winner is None:
            race.ended(1.0 if race.policy == without else 0.99)
        assert race.winner == without


def test_a_bad_one_in_use_does_not_spare_its_rivals() -> None:
    race, _ = run(lambda each: {IN_USE: 9.0, RIVALS[2]: 1.0}.get(each, 2.0))
    assert race.winner == RIVALS[2]
    assert IN_USE in race.hopeless


def test_rivals_that_are_no_ways_of_their_own_leave_and_do_not_win() -> None:
    race = PolicyRace(IN_USE, RIVALS)
    turns = []
    while race.winner is None:
        turns.append(race.policy)
        if race.policy in RIVALS[1:]:
            race.left()
        else:
            race.ended(1.0 if race.policy == RIVALS[0] else 1.2)
    assert race.winner == RIVALS[0]
    assert race.hopeless == set(RIVALS[1:])
    assert all(turns.count(each) == 1 for each in RIVALS[1:])


def test_a_race_whose_rivals_all_leave_is_over() -> None:
    race = PolicyRace(IN_USE, RIVALS)
    race.ended(1.0)
    for _ in RIVALS:
        assert race.winner is None
        race.left()
    assert race.winner == IN_USE
