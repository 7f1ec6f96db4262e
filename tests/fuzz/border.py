"""What all harnesses have in common: a border takes bytes, and laws hold whatever they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.fuzz.mutation import MAX_BYTES, Structured


class Broken(AssertionError):
    """A law of a border does not hold; the text says which."""


class Border(Protocol):
    """A place where bytes of strangers come in."""

    @property
    def plan(self) -> "Plan":
        """How inputs are made."""

    def check(self, data: bytes) -> str:
        """Take `data` in and say in a few words what came of it: new words lead to new inputs.

        Raises:
            Broken: an answer was wrong. Any other exception is as bad.
        """

    def close(self) -> None:
        """Check what must hold in the end, and let everything go."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Valid inputs of one border, and how they are damaged."""

    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = ()
    structured: Structured | None = None
    most_bytes: int = MAX_BYTES
    """Longer inputs are cut: length is tried elsewhere, here it costs time."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A border that is one function without state."""

    plan: Plan
    check: Callable[[bytes], str]
    close: Callable[[], None] = field(default=lambda: None)


def require(holds: bool, law: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(law)
