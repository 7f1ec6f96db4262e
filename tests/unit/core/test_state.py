import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.state import MOVES, State, checked_move
from salver.errors import InternalError


def test_the_numbers_are_those_of_the_protocol() -> None:
    assert {state.name: state.value for state in State} == {
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    }


@given(st.lists(st.sampled_from(State)))
def test_no_path_leaves_the_table(attempts: list[State]) -> None:
    state = State.START
    for wanted in attempts:
        before = state
        try:
            state = checked_move(state, wanted)
        except InternalError:
            assert wanted not in MOVES[before]
        else:
            assert before < state


def test_every_state_can_be_reached_and_only_the_end_is_final() -> None:
    reached = {State.START}
    while grown := {after for state in reached for after in MOVES[state]} - reached:
        reached |= grown
    assert reached == set(State)
    assert [state for state, after in MOVES.items() if not after] == [State.END]


def test_an_illegal_move_names_both_states() -> None:
    with pytest.raises(InternalError, match="from AVAILABLE to LOADING"):
        checked_move(State.AVAILABLE, State.LOADING)
