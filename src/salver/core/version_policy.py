"""Which of the versions that are present should be served: latest n, all, or a list.

These are the choices of `ServableVersionPolicy`; where versions come from and
how they are loaded is the business of others.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latest:
    """The highest numbers."""

    count: int = 1
    """How many; less than 1 counts as 1."""


@dataclass(frozen=True, slots=True)
class All:
    """Every number."""


@dataclass(frozen=True, slots=True)
class Specific:
    """Exactly these numbers, as far as they are present."""

    versions: tuple[int, ...] = ()


VersionPolicy = Latest | All | Specific


def chosen_versions(policy: VersionPolicy, present: Iterable[int]) -> tuple[int, ...]:
    """The aspired versions among those present, highest first, each once."""
    numbers = sorted(set(present), reverse=True)
    match policy:
        case Latest(count):
            return tuple(numbers[: max(count, 1)])
        case All():
            return tuple(numbers)
        case Specific(versions):
            return tuple(number for number in numbers if number in versions)


def missing_versions(policy: VersionPolicy, present: Iterable[int]) -> tuple[int, ...]:
    """The versions that a policy names and that are not present, in the order of the policy."""
    if not isinstance(policy, Specific):
        return ()
    found = set(present)
    return tuple(dict.fromkeys(v for v in policy.versions if v not in found))
