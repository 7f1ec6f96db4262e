"""The states of a version, and which may follow which.

The numbers are those of `tensorflow.serving.ModelVersionStatus.State`, because
both wire protocols carry them. A life begins in START and ends in END; a version
that is loaded again later begins a new life.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from salver.errors import InternalError, ServingError


class State(IntEnum):
    """How far a version is. Source: tensorflow_serving/apis/get_model_status.proto."""

    START = 10
    """Known, nothing done yet."""
    LOADING = 20
    """A loader is at work, or pauses before it tries again."""
    AVAILABLE = 30
    """Answers requests."""
    UNLOADING = 40
    """Hidden from new requests; the running ones finish, then it is freed."""
    END = 50
    """Gone, or failed."""


MOVES: Mapping[State, frozenset[State]] = {
    State.START: frozenset({State.LOADING, State.END}),
    State.LOADING: frozenset({State.AVAILABLE, State.END}),
    State.AVAILABLE: frozenset({State.UNLOADING}),
    State.UNLOADING: frozenset({State.END}),
    State.END: frozenset(),
}


def checked_move(old: State, new: State) -> State:
    """`new`, if it may follow `old`.

    Raises:
        InternalError: it may not; the caller has lost track of the version.
    """
    if new not in MOVES[old]:
        raise InternalError(f"A version cannot go from {old.name} to {new.name}")
    return new


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What is told about one version: its state, and in END why, unless all went well."""

    version: int
    state: State
    error: ServingError | None = None
