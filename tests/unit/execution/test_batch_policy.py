"""How batches are formed, in a world where the policy of the moment decides how long all takes."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from salver.execution.batch_policy import PolicySearch
from salver.execution.policy_trials import BatchPolicy

BATCH_S = 2e-3
CALLERS = 64
NO_BATCHES = BatchPolicy(2, 1)


class Costs:
    """All sizes are worth a trial, unless it is said which are."""

    def __init__(self, may_pay: Callable[[int], bool], steps: Sequence[int] = ()) -> None:
        self.may_pay = may_pay
        self.steps = list(steps)


class World:
    """Callers who wait for each other, or come at a pace of their own."""

    def __init__(
        self,
        most: int,
        may_pay: Callable[[int], bool] = lambda rows: True,
        steps: Sequence[int] = (),
    ) -> None:
        self.policies = PolicySearch(most, most, Costs(may_pay, steps))
        self.now = 0.0
        self.callers = CALLERS
        self.seen: list[BatchPolicy] = []

    def run(
        self,
        batches: int,
        stay_s: Callable[[BatchPolicy], float],
        rows: Callable[[BatchPolicy], int] = lambda policy: policy.rows or 8,
    ) -> BatchPolicy:
        """So many batches, under a fixed number of callers; what is best then."""
        for _ in range(batches):
            policy = self.policies.policy
            self.seen.append(policy)
            count = rows(policy)
            self.now += count * stay_s(policy) / self.callers
            self.policies.ended(count, count, count * stay_s(policy), self.now)
        return self.policies.best


@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_the_width_with_the_shortest_stay_is_found_and_kept(best: int) -> None:
    world = World(8, lambda rows: rows == 0)
    assert world.policies.policy == BatchPolicy(8)
    world.run(60_000, lambda policy: 1e-3 * (1 + 0.3 * abs(policy.width - best)))
    assert world.policies.best == BatchPolicy(best)
    # It is compared with others now and then, and less and less often.
    assert world.seen[-10_000:].count(BatchPolicy(best)) > 9_000


@pytest.mark.parametrize("best", [BatchPolicy(2, 32), BatchPolicy(2, 32, True), BatchPolicy(2)])
def test_the_size_is_found_too_and_whether_it_is_worth_waiting_for(best: BatchPolicy) -> None:
    world = World(2)
    assert world.run(60_000, lambda policy: 1e-3 if policy == best else 1.2e-3) == best


def test_what_is_unlike_all_that_is_good_is_found_after_a_while() -> None:
    world, best = World(2), BatchPolicy(1, 64)

    def stay_s(policy: BatchPolicy) -> float:
        return 1e-3 if policy == best else 1.2e-3 if policy.batches else 2e-3

    assert world.run(100_000, stay_s) == best


def test_steps_in_the_costs_are_tried_beside_the_doublings() -> None:
    world = World(2, steps=[6])
    best = BatchPolicy(2, 6)
    assert world.run(60_000, lambda policy: 1e-3 if policy == best else 1.2e-3) == best


def test_what_differs_by_little_changes_nothing() -> None:
    world = World(2)

    def stay_s(policy: BatchPolicy) -> float:
        if not policy.batches:
            return 1.2e-3
        return 1e-3 if policy == BatchPolicy(2) else 0.99e-3

    assert world.run(20_000, stay_s) == BatchPolicy(2)


@pytest.mark.parametrize(("stay_s", "batches"), [(1.01e-3, False), (1.1e-3, True)])
def test_batches_that_gain_next_to_nothing_are_not_formed(stay_s: float, batches: bool) -> None:
    world = World(2)
    best = world.run(60_000, lambda policy: 1e-3 if policy.batches else stay_s)
    assert best.batches == batches


def test_no_batches_are_tried_again_however_bad_they_were() -> None:
    world = World(2)
    world.run(150_000, lambda policy: 1e-3 if policy == BatchPolicy(2) else 3e-3)
    assert turns_of(NO_BATCHES, world) > 1
    assert world.seen.count(BatchPolicy(2)) > 0.95 * len(world.seen)


def turns_of(policy: BatchPolicy, world: World) -> int:
    """How many times it came to be in use."""
    return sum(one != policy and other == policy for one, other in pairwise(world.seen))


def test_what_was_there_at_a_change_does_not_count_for_the_new_policy() -> None:
    world = World(2)
    last, since = world.policies.policy, 2 * CALLERS

    def stay_s(policy: BatchPolicy) -> float:
        # Two loads that come when batches end take three times as long.
        nonlocal last, since
        since = 0 if policy.batches != last.batches else since + (last.rows or 8)
        last = policy
        if policy.batches:
            return 15e-3
        return 30e-3 if since < 2 * CALLERS else 10e-3

    assert not world.run(60_000, stay_s).batches


def test_what_had_to_do_with_a_slow_start_does_not_count() -> None:
    world, best = World(2), BatchPolicy(2, 32)
    turns: dict[BatchPolicy, int] = {}
    waiting = 0

    def stay_s(policy: BatchPolicy) -> float:
        nonlocal waiting
        turns[policy] = turns.get(policy, 0) + 1
        # In the middle of its first turn.
        if turns[policy] == 16:
            waiting = CALLERS
            world.policies.was_disturbed(world.now)
        # Those who came meanwhile have waited, too.
        stay_s = 200e-3 if waiting > 0 else 1e-3 if policy == best else 2e-3
        waiting -= policy.rows or 8
        return stay_s

    assert world.run(20_000, stay_s) == best


def test_one_turn_under_another_load_changes_nothing() -> None:
    best = BatchPolicy(2, 32)

    def stay_s(policy: BatchPolicy) -> float:
        return 1e-3 if policy == best else 1.2e-3

    # Wherever in a turn it begins.
    for offset in range(16):
        world = World(2)
        assert world.run(80_000 + offset, stay_s) == best
        world.callers = CALLERS // 2
        world.run(16, stay_s)
        world.callers = CALLERS
        world.run(200, stay_s)
        assert set(world.seen[-200:]) == {best}, offset


def test_a_hopeless_rival_gets_a_short_turn_and_is_left_out_for_long() -> None:
    world = World(2)
    world.run(20_000, lambda policy: 1e-3 if policy == BatchPolicy(2) else 2e-3)
    rivals = [each for each in world.seen if each.batches and each != BatchPolicy(2)]
    assert 0 < len(rivals) < 500


def test_sizes_whose_batches_would_take_too_long_are_not_tried() -> None:
    world = World(2, lambda rows: rows <= 16)
    world.run(20_000, lambda policy: 1e-3)
    assert max(policy.rows for policy in world.seen) == 16


def test_where_hardly_anybody_waits_nothing_is_tried() -> None:
    world = World(4)
    world.callers = 1
    world.run(5_000, lambda policy: 1e-3 / policy.width)
    assert set(world.seen) == {BatchPolicy(4)}


def test_the_choice_follows_the_load_and_is_remembered_for_each() -> None:
    world = World(2)

    def stay_s(policy: BatchPolicy) -> float:
        best = BatchPolicy(2, 4) if world.callers == 4 else BatchPolicy(2, 32)
        return 1e-3 if policy == best else 1.2e-3

    assert world.run(60_000, stay_s) == BatchPolicy(2, 32)
    world.callers = 4
    assert world.run(60_000, stay_s) == BatchPolicy(2, 4)
    world.callers = 64
    # As soon as what is being compared is decided.
    assert world.run(5_000, stay_s) == BatchPolicy(2, 32)


@pytest.mark.parametrize(
    ("in_vain_s", "waits"),
    [pytest.param(1.3e-3, False, id="in vain"), pytest.param(1e-3, True, id="it pays")],
)
def test_company_that_does_not_come_any_more_is_not_waited_for_unless_it_pays(
    in_vain_s: float, waits: bool
) -> None:
    world = World(1)
    gathering = BatchPolicy(1, 64, True)
    assert world.run(60_000, lambda policy: 1e-3 if policy == gathering else 1.2e-3) == gathering
    world.run(
        2_000,
        lambda policy: in_vain_s if policy.gathers else 1.2e-3,
        rows=lambda policy: 48,
    )
    assert world.policies.best.gathers is waits


def test_at_quiet_times_nothing_of_what_was_best_under_load_is_left() -> None:
    world = World(1)
    gathering = BatchPolicy(1, 64, True)
    assert world.run(60_000, lambda policy: 1e-3 if policy == gathering else 1.2e-3) == gathering
    world.callers = 1
    assert world.run(10_000, lambda policy: 1e-3, rows=lambda policy: 1) == BatchPolicy(1)
    world.callers = CALLERS
    assert world.run(5_000, lambda policy: 1e-3) == gathering


@pytest.mark.parametrize("batches", range(300, 1500, 61))
def test_a_pause_is_the_end_of_a_load_and_no_fault_of_a_policy(batches: int) -> None:
    world = World(2)
    best = BatchPolicy(2, 32)

    def stay_s(policy: BatchPolicy) -> float:
        if policy == best:
            return 0.8e-3
        return 1e-3 if policy == BatchPolicy(2) else 1.3e-3

    # Whoever has its turn when the pause comes: it has cost nothing.
    world.run(batches, stay_s)
    world.now += 8 * 3600.0
    assert world.run(5_000, stay_s) == best


def test_trials_go_on_after_a_pause() -> None:
    world = World(2)
    best = BatchPolicy(2, 32)
    found = None
    # In none of these bursts there is time for all.
    for _ in range(60):
        ends_at = world.now + 0.1
        while world.now < ends_at:
            world.run(10, lambda policy: 1e-3 if policy == best else 1.1e-3)
        found = world.policies.best
        world.now += 5.0
    assert found == best


class LoopWorld(World):
    """The loop runs what comes at once, if there are no batches: nothing waits then, but unseen."""

    is_cheap = False
    """Whether it does so though there are batches: only what finds others waiting joins them."""

    def run_for(self, seconds: float, alone_s: float = 30e-6) -> BatchPolicy:
        """Batches of 8 that get 25,000 rows through a second, or single rows."""
        ends_at = self.now + seconds
        while self.now < ends_at:
            policy = self.policies.policy
            self.seen.append(policy)
            if policy.batches and not self.is_cheap:
                self.now += 8 * 40e-6
                self.policies.ended(8, 8, 8 * self.callers * 40e-6, self.now)
            else:
                self.now += 8 * alone_s
                self.policies.ended(8, 8, 8 * alone_s, self.now, at_once=True)
        return self.policies.policy


def test_what_runs_at_once_is_no_better_for_waiting_unseen() -> None:
    world = LoopWorld(2)
    world.run_for(5.0, alone_s=80e-6)
    world.seen.clear()

    world.run_for(5.0, alone_s=80e-6)

    assert sum(policy.batches for policy in world.seen) > 0.9 * len(world.seen)


@pytest.mark.parametrize("moves_for_s", [0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03])
def test_a_policy_that_leaves_nearly_all_to_run_at_once_is_none_and_never_the_best(
    moves_for_s: float,
) -> None:
    world = LoopWorld(2)
    world.run_for(0.2)
    assert world.policies.best.batches

    world.callers = CALLERS // 4
    world.run_for(moves_for_s)
    world.callers = CALLERS
    world.is_cheap = True
    world.run_for(1.0)
    world.seen.clear()
    world.run_for(20.0)

    assert world.policies.best == NO_BATCHES
    # Rivals get one turn each, and come back ever more rarely.
    assert sum(policy.batches for policy in world.seen) < 0.02 * len(world.seen)


def test_what_runs_at_once_is_put_into_batches_again_where_they_pay_again() -> None:
    world = LoopWorld(2)
    world.is_cheap = True
    world.run_for(5.0)
    world.is_cheap = False
    world.run_for(5.0, alone_s=80e-6)
    world.seen.clear()

    world.run_for(5.0, alone_s=80e-6)

    assert sum(policy.batches for policy in world.seen) > 0.9 * len(world.seen)


def test_what_runs_at_once_and_waits_unseen_is_still_the_same_load() -> None:
    world = LoopWorld(2)
    world.run_for(5.0)
    world.seen.clear()

    world.run_for(5.0)

    assert sum(not policy.batches for policy in world.seen) > 0.98 * len(world.seen)


def test_what_runs_at_once_goes_on_so_after_a_pause() -> None:
    world = LoopWorld(2)
    world.run_for(5.0)
    world.now += 3600.0
    world.seen.clear()

    world.run_for(0.2)

    assert set(world.seen) == {NO_BATCHES}


def test_without_batches_too_a_lower_load_is_seen_by_what_is_answered() -> None:
    world = LoopWorld(2)
    world.run_for(5.0)
    search = world.policies._search

    seen = []
    for _ in range(8):
        world.run_for(0.15, alone_s=1e-3)
        seen.append(world.policies._search)

    assert any(each is not search for each in seen)


def test_what_is_known_of_the_size_of_batches_is_known_under_a_new_load_too() -> None:
    world = World(2)

    def rows(policy: BatchPolicy) -> int:
        return min(policy.rows or 3, 3)

    world.run(100_000, lambda policy: 1e-3, rows)
    world.callers = 4 * CALLERS
    # Until that is noticed.
    world.run(10_000, lambda policy: 1e-3, rows)
    world.seen.clear()
    world.run(60_000, lambda policy: 1e-3, rows)
    # Four times as many callers have four times as many of a kind, at the most.
    assert NO_BATCHES in world.seen
    assert max(policy.rows for policy in world.seen) <= 2 * 4 * 3


def test_where_requests_are_refused_only_the_answers_count() -> None:
    world = World(2)
    for _ in range(60_000):
        policy = world.policies.policy
        rows = policy.rows or 8
        # More answers without batches, and a queue that is let grow three times as long.
        took_s, stay_s = (1e-3, 1e-3) if policy.batches else (0.8e-3, 3e-3)
        world.now += rows * took_s / CALLERS
        world.policies.refused()
        world.policies.ended(rows, rows, rows * stay_s, world.now)
    assert world.policies.best == NO_BATCHES


def batches_of_rivals(batches: int, stay_s: tuple[float, float], refused: tuple[int, int]) -> int:
    """How many of so many; how long is stayed and how many are refused with the best, and else."""
    world = World(2)
    for _ in range(batches):
        policy = world.policies.policy
        world.seen.append(policy)
        is_rival = policy != BatchPolicy(2)
        for _ in range(refused[is_rival]):
            world.policies.refused()
        world.now += 8 * stay_s[is_rival] / CALLERS
        world.policies.ended(8, 8, 8 * stay_s[is_rival], world.now)
    return sum(policy != BatchPolicy(2) for policy in world.seen)


def test_rivals_that_have_requests_refused_get_less_time() -> None:
    stay_s = (1e-3, 1.1e-3)
    # Those who are answered hardly notice: that others are not is what they cost.
    with_none = batches_of_rivals(4_000, stay_s, (0, 0))
    assert batches_of_rivals(4_000, stay_s, (0, 8)) < 0.5 * with_none


def test_what_the_best_refuses_too_keeps_nobody_from_a_turn() -> None:
    stay_s = (16e-3, 16.5e-3)
    with_none = batches_of_rivals(3_000, stay_s, (0, 0))
    assert batches_of_rivals(3_000, stay_s, (12, 12)) > 0.2 * with_none


def test_a_greater_load_begins_with_batches_of_any_size() -> None:
    world, small = World(2), BatchPolicy(2, 4)

    def stay_s(policy: BatchPolicy) -> float:
        return 1e-3 if policy == small else 1.3e-3

    world.callers = 8
    assert world.run(60_000, stay_s) == small
    world.callers = 512
    assert world.run(10_000, lambda policy: 1e-3) == BatchPolicy(2)
    world.callers = 8
    assert world.run(10_000, stay_s) == small
