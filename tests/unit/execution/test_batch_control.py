from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.execution.batch_control import ENOUGH, BatchControl, SizeCost

Cost = Callable[[int], float]


def flat(rows: int) -> float:
    """All that a batch costs is its beginning."""
    return 1e-3


def proportional(rows: int) -> float:
    """A row costs the same alone and in company."""
    return 1e-3 * rows


def keep_busy(control: BatchControl, cost: Cost, batches: int = 100) -> None:
    """Run full batches of as many rows as the control wants."""
    for _ in range(batches):
        control.observe(control.most, cost(control.most), is_full=True)


def test_nothing_is_known_at_first() -> None:
    control = BatchControl(64)
    assert control.most == 1
    assert control.cost_s(1) is None
    assert control.target_s is None
    assert control.wait_s(1000) == 0
    assert control.costs == []
    assert control.size(10, idle=2) == 1


def test_batches_grow_to_the_limit_while_rows_get_cheaper() -> None:
    control = BatchControl(64)
    keep_busy(control, flat)
    assert control.most == 64


def test_batches_stay_small_where_a_row_costs_the_same_in_company() -> None:
    control = BatchControl(64)
    keep_busy(control, proportional)
    assert control.most == 1
    assert control.is_settled


def test_batches_stop_growing_where_a_double_size_gives_hardly_more() -> None:
    control = BatchControl(1024)
    keep_busy(control, lambda rows: 1e-3 if rows <= 16 else 1e-3 * rows / 16)
    assert control.most == 16


def test_a_size_that_did_not_pay_is_tried_again_later() -> None:
    control = BatchControl(64)
    keep_busy(control, proportional)
    keep_busy(control, flat, batches=5000)
    assert control.most == 64


def test_batches_that_are_not_full_are_no_reason_to_grow() -> None:
    control = BatchControl(64)
    for _ in range(100):
        control.observe(1, 1e-3, is_full=False)
    assert control.most == 1


def test_requests_of_several_rows_grow_batches_too() -> None:
    control = BatchControl(64)
    for _ in range(100):
        rows = max(control.most // 3 * 3, 3)
        control.observe(rows, flat(rows), is_full=True)
    assert control.most == 64


def test_slow_first_runs_are_forgotten_and_quicker_ones_believed_at_once() -> None:
    control = BatchControl(64)
    control.observe(2, 5.0, is_full=False)
    control.observe(2, 0.004, is_full=False)
    assert control.cost_s(2) == pytest.approx(0.004)
    assert control.cost_s(3) == pytest.approx(0.006)
    control.observe(2, 0.4, is_full=False)
    assert control.cost_s(2) == pytest.approx(0.004 + 0.396 * 0.05)
    assert control.costs == [SizeCost(2, 3, control.costs[0].cost_s)]


def test_idle_threads_share_what_would_take_one_of_them_too_long() -> None:
    control = BatchControl(64)
    keep_busy(control, lambda rows: 1e-3 + 1e-4 * rows)
    control.observe(8, 1.8e-3, is_full=False)
    assert control.target_s == pytest.approx(2.2e-3)
    assert control.size(8, idle=4) == 8
    assert control.size(40, idle=4) == 10
    assert control.size(40, idle=1) == 40
    assert control.size(100, idle=1) == 64


def test_the_target_can_be_given() -> None:
    control = BatchControl(64, latency_target_s=1e-4)
    keep_busy(control, flat)
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
    st.lists(st.tuples(st.integers(1, 300), st.floats(1e-6, 1.0), st.booleans()), max_size=200),
    st.integers(1, 100),
)
def test_a_batch_never_has_more_rows_than_the_limit_nor_less_than_one(
    batches: list[tuple[int, float, bool]], limit: int
) -> None:
    control = BatchControl(limit)
    for rows, cost_s, is_full in batches:
        for _ in range(ENOUGH):
            control.observe(rows, cost_s, is_full)
        assert 1 <= control.most <= limit
        assert 1 <= control.size(rows, idle=2) <= limit
