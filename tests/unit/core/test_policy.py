import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.policy import Load, Snapshot, Unload, preserve_availability, preserve_resources
from salver.core.state import State

START, LOADING, AVAILABLE, UNLOADING, END = State


def aspired(version: int, state: State) -> Snapshot:
    return Snapshot(version, state, True)


def stale(version: int, state: State) -> Snapshot:
    return Snapshot(version, state, False)


@pytest.mark.parametrize(
    ("versions", "step"),
    [
        pytest.param([], None, id="an empty stream rests"),
        pytest.param([aspired(1, START)], Load(1), id="the first version is loaded"),
        pytest.param(
            [aspired(3, START), aspired(7, START), aspired(5, START)],
            Load(7),
            id="the highest new version is loaded first",
        ),
        pytest.param(
            [aspired(7, LOADING), aspired(5, START)],
            Load(5),
            id="a load under way does not hold up the next",
        ),
        pytest.param(
            [stale(1, AVAILABLE), aspired(2, START)],
            Load(2),
            id="the last available version stays, its successor is loaded",
        ),
        pytest.param(
            [stale(1, AVAILABLE), aspired(2, LOADING)],
            None,
            id="the last available version stays while its successor loads",
        ),
        pytest.param(
            [stale(1, AVAILABLE), aspired(2, AVAILABLE)],
            Unload(1),
            id="the old version goes when its successor is available",
        ),
        pytest.param(
            [stale(1, AVAILABLE), aspired(2, END)],
            None,
            id="the old version stays when its successor has failed",
        ),
        pytest.param(
            [stale(2, AVAILABLE), aspired(1, START)],
            Load(1),
            id="a rollback loads the lower version before the higher one goes",
        ),
        pytest.param(
            [stale(1, AVAILABLE), stale(2, AVAILABLE), aspired(3, LOADING)],
            Unload(1),
            id="of two stale versions the lower one goes at once",
        ),
        pytest.param(
            [stale(2, AVAILABLE), stale(1, AVAILABLE), stale(3, AVAILABLE)],
            Unload(1),
            id="with nothing aspired the lowest goes first",
        ),
        pytest.param(
            [stale(1, AVAILABLE)], Unload(1), id="with nothing aspired the last goes, too"
        ),
        pytest.param(
            [stale(1, AVAILABLE), aspired(2, AVAILABLE), aspired(5, START)],
            Unload(1),
            id="latest 2: the unload goes first where a wanted version is available",
        ),
        pytest.param(
            [stale(1, UNLOADING), aspired(2, AVAILABLE), aspired(5, START)],
            None,
            id="latest 2: the load waits for the unload",
        ),
        pytest.param(
            [stale(1, UNLOADING), aspired(5, START)],
            Load(5),
            id="an unload is not waited for while nothing wanted is available",
        ),
        pytest.param([stale(1, LOADING)], None, id="a load that is not wanted runs out"),
        pytest.param([aspired(1, END)], None, id="what has failed is not tried again"),
    ],
)
def test_availability_is_preserved(versions: list[Snapshot], step: Load | Unload | None) -> None:
    assert preserve_availability(versions) == step


@pytest.mark.parametrize(
    ("versions", "step"),
    [
        pytest.param([], None, id="an empty stream rests"),
        pytest.param(
            [stale(1, AVAILABLE), aspired(2, START)],
            Unload(1),
            id="the old version goes before the new one is loaded",
        ),
        pytest.param(
            [stale(1, UNLOADING), aspired(2, START)],
            None,
            id="the load waits until the old version is gone",
        ),
        pytest.param(
            [stale(1, LOADING), aspired(2, START)],
            None,
            id="the load waits for an unwanted load to run out",
        ),
        pytest.param(
            [stale(1, END), aspired(2, START), aspired(3, START)],
            Load(3),
            id="the highest new version is loaded first",
        ),
        pytest.param([aspired(2, AVAILABLE), aspired(1, END)], None, id="nothing is left to do"),
    ],
)
def test_resources_are_preserved(versions: list[Snapshot], step: Load | Unload | None) -> None:
    assert preserve_resources(versions) == step


snapshots = st.lists(
    st.builds(Snapshot, st.integers(-5, 20), st.sampled_from(State), st.booleans()),
    unique_by=lambda snapshot: snapshot.version,
)


@given(snapshots)
def test_a_step_is_always_possible_and_never_takes_the_last_wanted_answer(
    versions: list[Snapshot],
) -> None:
    for policy in (preserve_availability, preserve_resources):
        step = policy(versions)
        named = [v for v in versions if step is not None and v.version == step.version]
        if isinstance(step, Load):
            assert [(v.aspired, v.state) for v in named] == [(True, State.START)]
        if isinstance(step, Unload):
            assert [(v.aspired, v.state) for v in named] == [(False, State.AVAILABLE)]
            if policy is preserve_availability and any(v.aspired for v in versions):
                assert sum(v.state is State.AVAILABLE for v in versions) > 1
