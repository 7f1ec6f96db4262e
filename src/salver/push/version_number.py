"""Which number a pushed version gets, and names beside it that no server takes for a version."""

import re
from collections.abc import Iterable

from salver.errors import OutOfRange
from salver.sources.version_name import version_of

_ASIDE = "rolled-back-"
_UNFINISHED = ".salver-push-"
_CLAIM = re.compile(r"\.salver-push-([0-9]+)-[0-9a-f]+")
_MAX_VERSION = 2**63 - 1


def next_version(names: Iterable[str], now_s: float) -> int:
    """The time in Unix seconds, or more: above every version that is, was or will be there.

    Args:
        names: all names under the base path, those of rolled back versions and claims included.
        now_s: Unix time.

    Raises:
        OutOfRange: there is no higher number.
    """
    taken = [number for name in names if (number := _number(name)) is not None]
    version = max([int(now_s), *(number + 1 for number in taken)])
    if version > _MAX_VERSION:
        raise OutOfRange(f"Version {max(taken)} is there: no version can have a higher number")
    return version


def _number(name: str) -> int | None:
    claimed = claimed_version(name)
    return version_of(name.removeprefix(_ASIDE)) if claimed is None else claimed


def unfinished_name(token: str) -> str:
    """The name of a folder that is being filled, or emptied."""
    return f"{_UNFINISHED}{token}"


def is_unfinished(name: str) -> bool:
    """Whether a push uses this name while it lasts."""
    return name.startswith(_UNFINISHED)


def claim_name(version: int, token: str) -> str:
    """The name of a file that says who uploads a version."""
    return f"{_UNFINISHED}{version}-{token}"


def claimed_version(name: str) -> int | None:
    """The version that a claim is for, None if the name is not that of a claim."""
    match = _CLAIM.fullmatch(name)
    return int(match[1]) if match else None


def aside_name(version: int) -> str:
    """The name under which a version that was rolled back is kept."""
    return f"{_ASIDE}{version}"


def aside_versions(names: Iterable[str]) -> dict[int, str]:
    """The versions that were rolled back and are kept, with their names."""
    return {
        number: name
        for name in names
        if name.startswith(_ASIDE)
        if (number := version_of(name.removeprefix(_ASIDE))) is not None
    }
