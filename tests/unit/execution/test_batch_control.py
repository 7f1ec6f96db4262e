import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.execution.batch_control import ENOUGH, BatchControl

Cost = Callable[[int], float]


def flat(rows: int) -> float:
    """All that a batch costs is its beginning."""
    return 1e-3


def proportional(rows: int) -> float:
    """A row costs the same alone and in company."""
    return 1e-3 * rows


def keep_busy(
    control: BatchControl, cost: Cost, batches: int = 300, waiting: int = 64, seed: int = 0
) -> list[int]:
    """Have batches run while so many rows wait, whose times scatter a little; their sizes."""
    chance = random.Random(seed)
    sizes = []
    for _ in range(batches):
        sizes.append(control.size(waiting, idle=1))
        control.observe(sizes[-1], cost(sizes[-1]) * chance.uniform(0.97, 1.1))
    return sizes


def share(sizes: Sequence[int], wanted: Callable[[int], bool]) -> float:
    return sum(map(wanted, sizes)) / len(sizes)


def test_nothing_is_known_at_first() -> None:
    control = BatchControl(64)
    assert control.best == 1
    assert control.cost_s(1) is None
    assert control.target_s is None
    assert control.wait_s(1000) == 0
    assert control.costs == []
    assert not control.larger_lost
    assert control.size(10, idle=2) == 1


def test_batches_take_all_that_waits_where_rows_get_cheaper() -> None:
    control = BatchControl(64)
    keep_busy(control, flat)
    assert control.best == 64
    assert share(keep_busy(control, flat, waiting=40), lambda rows: rows == 40) > 0.9
    assert max(keep_busy(control, flat, waiting=1000)) == 64


def test_batches_stay_small_where_a_row_costs_the_same_in_company() -> None:
    control = BatchControl(64)
    keep_busy(control, proportional)
    assert control.best <= 8
    assert control.larger_lost
    assert max(keep_busy(control, proportional)) <= 64
    assert share(keep_busy(control, proportional, batches=1000), lambda rows: rows <= 8) > 0.8


def test_batches_stop_growing_where_more_rows_give_hardly_more() -> None:
    control = BatchControl(1024)
    sizes = keep_busy(control, lambda n: 1e-2 if n <= 16 else 1e-2 * n / 16, waiting=1024)
    assert 12 <= control.best <= 20
    assert share(sizes[-100:], lambda rows: 12 <= rows <= 20) > 0.7


def cliff(rows: int) -> float:
    """Quick up to six rows, slow from seven on, and quicker than ever with very many."""
    if rows <= 6:
        return 1e-4
    return 6e-4 + 3e-5 * rows if rows < 96 else 1.5e-3


def test_the_best_size_is_found_to_the_row() -> None:
    control = BatchControl(1024)
    sizes = keep_busy(control, cliff, waiting=40)
    assert control.best == 6
    assert share(sizes[-100:], lambda rows: rows == 6) > 0.8


def test_the_best_size_is_found_beyond_worse_ones() -> None:
    control = BatchControl(1024)
    sizes = keep_busy(control, cliff, waiting=200)
    assert control.best >= 160
    assert share(sizes[-100:], lambda rows: rows >= 128) > 0.8
    assert share(keep_busy(control, cliff, waiting=20), lambda rows: rows == 6) > 0.8


def test_no_batch_is_so_long_only_to_learn_what_it_costs() -> None:
    control = BatchControl(1024)
    sizes = keep_busy(control, lambda rows: 0.02 * rows, waiting=1000)
    assert max(sizes) <= 4


def test_a_size_that_lost_is_tried_again_now_and_then() -> None:
    control = BatchControl(64)
    keep_busy(control, proportional)
    keep_busy(control, flat, batches=20_000)
    assert control.best >= 32


def test_trials_of_sizes_that_lost_become_rare() -> None:
    control = BatchControl(64)
    keep_busy(control, cliff, batches=5000, waiting=40)
    assert share(keep_busy(control, cliff, waiting=40), lambda rows: rows != 6) < 0.05


def test_a_machine_that_gets_slower_makes_no_size_look_better() -> None:
    control = BatchControl(64)
    keep_busy(control, flat)
    sizes = keep_busy(control, lambda rows: 2 * flat(rows), batches=1000)
    assert share(sizes, lambda rows: rows >= 56) > 0.9


def test_one_bad_moment_changes_little() -> None:
    control = BatchControl(64)
    keep_busy(control, flat)
    control.observe(64, 1.0)
    assert share(keep_busy(control, flat), lambda rows: rows == 64) > 0.9


def test_requests_of_several_rows_make_larger_batches_too() -> None:
    control = BatchControl(64)
    for _ in range(100):
        rows = max(control.size(60, idle=1) // 3 * 3, 3)
        control.observe(rows, flat(rows))
    assert control.best >= 48


def test_slow_first_runs_are_forgotten() -> None:
    control = BatchControl(64)
    control.observe(2, 5.0)
    control.observe(2, 3.0)
    control.observe(2, 0.004)
    control.observe(2, 0.005)
    assert control.cost_s(2) == pytest.approx(0.0041)
    [cost] = control.costs
    assert (cost.rows, cost.to_rows, cost.batches) == (2, 2, 3)
    assert cost.cost_s == pytest.approx(0.00205)


def test_the_first_runs_of_each_number_of_rows_say_nothing_about_others_like_it() -> None:
    control = BatchControl(64)
    for _ in range(5):
        control.observe(32, 0.01)
    for rows in range(33, 40):
        control.observe(rows, 1.0)
    assert control.cost_s(32) == pytest.approx(0.01)


class Preparing:
    """A library that prepares itself for each number of rows, and remembers that."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self.prepared: set[int] = set()

    def __call__(self, rows: int) -> float:
        start_s = 0.0 if rows in self.prepared else self._start_s
        self.prepared.add(rows)
        return start_s + 3e-3 + 1e-4 * rows


def keep_busy_choosing(control: BatchControl, cost: Cost) -> list[bool]:
    """Have batches run while ever other numbers of rows wait; which of them were slow starts."""
    chance = random.Random(0)
    for _ in range(3):
        control.observe(1, cost(1))
    slow = []
    for _ in range(1000):
        rows = control.size(chance.randint(1, 64), idle=1)
        rows = control.prepared(rows)
        slow.append(control.observe(rows, cost(rows) * chance.uniform(0.97, 1.1)))
    return slow


def test_a_slow_start_of_each_number_of_rows_does_not_end_the_search() -> None:
    control, cost = BatchControl(64), Preparing(0.15)

    slow = keep_busy_choosing(control, cost)

    assert control.best >= 48
    assert control.cost_s(32) == pytest.approx(cost(32), rel=0.1)
    # The first of all has none to be compared with.
    assert sum(slow) == len(cost.prepared) - 1


def test_where_numbers_of_rows_start_slowly_few_are_used() -> None:
    costly, cheap = Preparing(0.15), Preparing(0.005)

    choosy, free = BatchControl(64), BatchControl(64)
    keep_busy_choosing(choosy, costly)
    keep_busy_choosing(free, cheap)

    assert choosy.is_choosy
    assert len(costly.prepared) < 16
    assert not free.is_choosy
    assert len(cheap.prepared) > 32
    assert [choosy.prepared(rows) for rows in (1, 2, 3, 5, 64)] == [1, 2, 2, 4, 64]


def test_idle_threads_share_what_would_take_one_of_them_too_long() -> None:
    control = BatchControl(64)
    keep_busy(control, lambda rows: 1e-3 + 1e-4 * rows, batches=2000)
    for rows in (8, 40):
        keep_busy(control, lambda rows: 1e-3 + 1e-4 * rows, batches=ENOUGH, waiting=rows)
    single_s = control.cost_s(1)
    assert single_s is not None
    assert control.target_s == pytest.approx(2 * single_s)
    assert control.size(8, idle=4) == 8
    assert control.size(40, idle=4) == 10
    assert control.size(40, idle=1) >= 32


@pytest.mark.parametrize(
    ("single_s", "target_s", "gathering_s"),
    [
        pytest.param(1e-4, 0.0, 1e-3, id="a quick model"),
        pytest.param(5e-3, 0.0, 5e-3, id="a slow one"),
        pytest.param(5e-3, 4e-3, 2e-3, id="as the operator wants it"),
        pytest.param(1.0, 0.0, 0.05, id="not for long"),
    ],
)
def test_company_is_waited_for_as_long_as_the_target_leaves_room(
    single_s: float, target_s: float, gathering_s: float
) -> None:
    control = BatchControl(64, target_s)
    keep_busy(control, lambda rows: single_s, waiting=1)
    assert control.gathering_s == pytest.approx(gathering_s, rel=0.1)


def test_a_single_row_takes_no_longer_than_more_of_them() -> None:
    control = BatchControl(64)
    # The only one, before a crowd came: a library has prepared itself.
    control.observe(1, 0.7)
    assert control.target_s == pytest.approx(1.4)
    for _ in range(8):
        control.observe(2, 6e-3)
        control.observe(8, 8e-3)
    assert control.target_s == pytest.approx(12e-3)
    assert control.gathering_s == pytest.approx(6e-3)
    assert not control.is_short(128)


def test_the_target_can_be_given() -> None:
    control = BatchControl(64, latency_target_s=1e-4)
    keep_busy(control, flat)
    for waiting in range(1, 9):
        keep_busy(control, flat, waiting=waiting, batches=ENOUGH)
    assert control.size(8, idle=4) == 2


def test_the_wait_is_told_by_the_pace_at_which_a_backlog_goes() -> None:
    control = BatchControl(64)
    control.drained(8, 10.0, is_backlogged=True)
    control.drained(8, 10.4, is_backlogged=True)
    assert control.wait_s(100) == pytest.approx(5.0)
    control.drained(8, 10.8, is_backlogged=False)
    # In between nothing waited: that time tells nothing.
    control.drained(8, 99.0, is_backlogged=True)
    assert control.wait_s(100) == pytest.approx(5.0)


@given(
    st.lists(st.tuples(st.integers(1, 300), st.floats(1e-6, 1.0)), max_size=200),
    st.integers(1, 100),
)
def test_a_batch_never_has_more_rows_than_wait_or_than_the_limit_nor_less_than_one(
    batches: list[tuple[int, float]], limit: int
) -> None:
    control = BatchControl(limit)
    for rows, cost_s in batches:
        control.observe(rows, cost_s)
        assert control.best >= 1
        assert 1 <= control.size(rows, idle=2) <= min(limit, rows)


def test_steps_in_the_costs_are_told_of() -> None:
    control = BatchControl(1024)
    assert control.steps == []
    keep_busy(control, cliff, batches=2000, waiting=10)
    assert control.steps == [6]
    smooth = BatchControl(1024)
    keep_busy(smooth, flat, batches=2000, waiting=256)
    assert smooth.steps == []


def test_rows_that_save_nothing_are_not_worth_a_trial() -> None:
    control = BatchControl(64)
    assert control.may_pay(4)
    for rows in (1, 2) * 10:
        control.observe(rows, proportional(rows))
    assert control.may_pay(0)
    assert control.may_pay(1)
    assert not control.may_pay(2)
    cheaper = BatchControl(64)
    keep_busy(cheaper, flat)
    assert cheaper.may_pay(2)
    assert cheaper.may_pay(64)
