import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.execution.batch_control import BatchControl
from salver.execution.batch_options import BatchOptions


def control(limit: int = 1024) -> BatchControl:
    return BatchControl(BatchOptions(limit, max_execution_batch_size=limit, is_automatic=True))


def run_at_most(control: BatchControl, fixed_s: float, per_row_s: float, times: int) -> None:
    """So many batches of the size that was chosen last, of a program of that cost."""
    for _ in range(times):
        rows = control.most
        control.observe(rows, fixed_s + rows * per_row_s, is_backlogged=True)


def test_nothing_is_known_at_first() -> None:
    fresh = control()
    assert fresh.most == 1
    assert fresh.cost_s(1) is None
    assert fresh.fixed_cost_s() == 0.0


def test_the_quickest_of_the_first_runs_is_believed() -> None:
    learning = control()
    for seconds in (0.5, 0.01, 0.02):
        learning.observe(1, seconds, is_backlogged=False)
    assert learning.cost_s(1) == pytest.approx(0.01, rel=0.1)


def test_one_slow_run_changes_little_and_many_change_all() -> None:
    learning = control()
    for _ in range(5):
        learning.observe(1, 0.01, is_backlogged=False)
    learning.observe(1, 0.1, is_backlogged=False)
    known = learning.cost_s(1)
    assert known is not None
    assert known < 0.02
    for _ in range(200):
        learning.observe(1, 0.1, is_backlogged=False)
    assert learning.cost_s(1) == pytest.approx(0.1, rel=0.01)


def test_sizes_of_one_power_of_two_share_a_cost() -> None:
    learning = control()
    learning.observe(5, 0.01, is_backlogged=False)
    assert learning.cost_s(4) == learning.cost_s(7) == 0.01
    assert learning.cost_s(8) is None


def test_batches_grow_to_the_limit_while_rows_get_cheaper() -> None:
    learning = control(limit=48)
    run_at_most(learning, fixed_s=1.0, per_row_s=1e-6, times=100)
    assert learning.most == 48


def test_batches_stay_small_where_a_row_costs_the_same_in_company() -> None:
    learning = control()
    run_at_most(learning, fixed_s=0.0, per_row_s=1e-3, times=50)
    assert learning.most <= 2


def test_batches_grow_only_while_more_is_waiting() -> None:
    learning = control()
    for _ in range(100):
        learning.observe(learning.most, 1.0, is_backlogged=False)
    assert learning.most == 1


@given(
    st.lists(st.tuples(st.integers(1, 200), st.floats(1e-7, 10.0), st.booleans()), max_size=200),
    st.sampled_from([1, 2, 7, 64, 1024]),
)
def test_a_batch_never_has_more_rows_than_the_limit_nor_less_than_one(
    runs: list[tuple[int, float, bool]], limit: int
) -> None:
    learning = control(limit)
    for rows, seconds, is_backlogged in runs:
        learning.observe(min(rows, limit), seconds, is_backlogged)
        assert 1 <= learning.most <= limit
        assert learning.fixed_cost_s() >= 0.0


def test_the_fixed_cost_is_what_a_batch_costs_before_its_first_row() -> None:
    learning = control()
    for rows in (1, 1, 1, 6, 6, 6):
        learning.observe(rows, 0.010 + rows * 0.001, is_backlogged=False)
    assert learning.fixed_cost_s() == pytest.approx(0.010, rel=0.1)


def costly(gap_s: float) -> BatchControl:
    """One with a fixed cost of 10 ms, after arrivals so far apart; the last at time 0."""
    learning = control()
    run_at_most(learning, fixed_s=0.010, per_row_s=1e-5, times=60)
    for arrival in range(50, -1, -1):
        learning.arrived(-arrival * gap_s)
    return learning


def test_an_idle_worker_waits_for_more_where_they_come_quickly() -> None:
    waiting = costly(gap_s=1e-4)
    assert waiting.gathers(2, now=1e-5)
    assert waiting.waits == 1


def test_an_idle_worker_does_not_wait_without_a_reason() -> None:
    assert not control().gathers(1, now=0.0)
    quick, slow = costly(gap_s=1e-4), costly(gap_s=1.0)
    assert not slow.gathers(1, now=0.1)
    assert not quick.gathers(quick.most, now=1e-5)
    assert not quick.gathers(2, now=1.0)
    assert quick.waits == slow.waits == 0
