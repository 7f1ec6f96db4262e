from collections.abc import Callable

import pytest

from salver.execution.batch_width import BatchWidth

BATCH_S, REQUESTS = 2e-3, 6


def fed(
    width: BatchWidth, batches: int, stay_s: Callable[[int], float], crowd: bool = True
) -> list[int]:
    """Run batches whose requests stay as long as the width of the moment makes them."""
    widths = []
    for number in range(batches):
        now = number * BATCH_S
        others = width.width - 1 if crowd else 0
        width.ended(REQUESTS, REQUESTS * stay_s(width.width), others, now)
        widths.append(width.width)
    return widths


@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_the_width_with_the_shortest_stay_is_found_and_kept(best: int) -> None:
    width = BatchWidth(8)
    assert width.width == 8
    widths = fed(width, 40_000, lambda wide: 1e-3 * (1 + 0.3 * abs(wide - best)))
    assert width.best == best
    # It is compared with others now and then, and less and less often.
    assert widths[-10_000:].count(best) > 9_000


def test_what_differs_by_little_changes_nothing() -> None:
    width = BatchWidth(2)
    fed(width, 10_000, lambda wide: 1e-3 if wide == 2 else 0.97e-3)
    assert width.best == 2


def test_a_hopeless_rival_gets_one_turn_only() -> None:
    width = BatchWidth(2)
    widths = fed(width, 3_000, lambda wide: 1e-3 if wide == 2 else 2e-3)
    assert 0 < widths.count(1) <= 2 * 16


def test_where_batches_do_not_meet_nothing_is_tried() -> None:
    width = BatchWidth(4)
    assert set(fed(width, 5_000, lambda wide: 1e-3 / wide, crowd=False)) == {4}


def test_with_one_thread_there_is_no_choice() -> None:
    width = BatchWidth(1)
    assert set(fed(width, 5_000, lambda wide: 1e-3)) == {1}


def test_the_choice_follows_when_the_load_changes() -> None:
    width = BatchWidth(2)
    fed(width, 20_000, lambda wide: 1e-3 * wide)
    assert width.best == 1
    fed(width, 40_000, lambda wide: 1e-3 / wide)
    assert width.best == 2
