"""How batches are formed, in a world where the shape of the moment decides how long all takes."""

from collections.abc import Callable

import pytest

from salver.execution.batch_shapes import BatchShapes, Shape

BATCH_S = 2e-3
CALLERS = 64


class World:
    """Callers who wait for each other, or come at a pace of their own."""

    def __init__(self, most: int, is_short: Callable[[int], bool] = lambda rows: True) -> None:
        self.shapes = BatchShapes(most, is_short)
        self.now = 0.0
        self.callers = CALLERS
        self.seen: list[Shape] = []

    def run(
        self,
        batches: int,
        stay_s: Callable[[Shape], float],
        rows: Callable[[Shape], int] = lambda shape: shape.rows or 8,
    ) -> Shape:
        """So many batches, under a fixed number of callers; what is best then."""
        for _ in range(batches):
            shape = self.shapes.shape
            self.seen.append(shape)
            count = rows(shape)
            self.now += count * stay_s(shape) / self.callers
            self.shapes.ended(count, count, count * stay_s(shape), self.now)
        return self.shapes.best


@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_the_width_with_the_shortest_stay_is_found_and_kept(best: int) -> None:
    world = World(8, lambda rows: rows == 0)
    assert world.shapes.shape == Shape(8)
    world.run(60_000, lambda shape: 1e-3 * (1 + 0.3 * abs(shape.width - best)))
    assert world.shapes.best == Shape(best)
    # It is compared with others now and then, and less and less often.
    assert world.seen[-10_000:].count(Shape(best)) > 9_000


@pytest.mark.parametrize("best", [Shape(2, 32), Shape(1, 64), Shape(2, 32, True)])
def test_the_size_is_found_too_and_whether_it_is_worth_waiting_for(best: Shape) -> None:
    world = World(2)
    assert world.run(60_000, lambda shape: 1e-3 if shape == best else 1.2e-3) == best


def test_what_differs_by_little_changes_nothing() -> None:
    world = World(2)
    assert world.run(20_000, lambda shape: 1e-3 if shape == Shape(2) else 0.99e-3) == Shape(2)


def test_a_hopeless_rival_gets_a_short_turn_and_is_left_out_for_long() -> None:
    world = World(2)
    world.run(20_000, lambda shape: 1e-3 if shape == Shape(2) else 2e-3)
    rivals = [shape for shape in world.seen if shape != Shape(2)]
    assert 0 < len(rivals) < 500


def test_sizes_whose_batches_would_take_too_long_are_not_tried() -> None:
    world = World(2, lambda rows: rows <= 16)
    world.run(20_000, lambda shape: 1e-3)
    assert max(shape.rows for shape in world.seen) == 16


def test_where_hardly_anybody_waits_nothing_is_tried() -> None:
    world = World(4)
    world.callers = 1
    world.run(5_000, lambda shape: 1e-3 / shape.width)
    assert set(world.seen) == {Shape(4)}


def test_the_choice_follows_the_load_and_is_remembered_for_each() -> None:
    world = World(2)

    def stay_s(shape: Shape) -> float:
        best = Shape(2, 4) if world.callers == 4 else Shape(1, 64)
        return 1e-3 if shape == best else 1.2e-3

    assert world.run(60_000, stay_s) == Shape(1, 64)
    world.callers = 4
    assert world.run(60_000, stay_s) == Shape(2, 4)
    world.callers = 64
    # As soon as what is being compared is decided.
    assert world.run(5_000, stay_s) == Shape(1, 64)


def test_company_that_does_not_come_any_more_is_not_waited_for() -> None:
    world = World(1)
    gathering = Shape(1, 64, True)
    assert world.run(60_000, lambda shape: 1e-3 if shape == gathering else 1.2e-3) == gathering
    world.run(100, lambda shape: 1e-3, rows=lambda shape: 48)
    assert not world.shapes.best.gathers


def test_at_quiet_times_nothing_of_what_was_best_under_load_is_left() -> None:
    world = World(1)
    gathering = Shape(1, 64, True)
    assert world.run(60_000, lambda shape: 1e-3 if shape == gathering else 1.2e-3) == gathering
    world.callers = 1
    assert world.run(10_000, lambda shape: 1e-3, rows=lambda shape: 1) == Shape(1)
    world.callers = CALLERS
    assert world.run(5_000, lambda shape: 1e-3) == gathering
