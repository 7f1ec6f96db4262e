"""Which number a pushed version gets, and names beside it that no server takes for a version."""

import re
from collections.abc import Iterable

from salver.export import publishing
from salver.sources.version_name import version_of

_ASIDE = "rolled-back-"
_CLAIMS = ".salver-push-"
_CLAIM = re.compile(r"\.salver-push-([0-9]+)-[0-9a-f]+")


def next_version(names: Iterable[str], now_s: float) -> int:
    """The time in Unix seconds, or more: above every version that is, was or will be there.

    Args:
        names: all names under the base path, those of rolled back versions and claims included.
        now_s: Unix time.

    Raises:
        FailedPrecondition: there is no higher number.
    """
    return publishing.next_version(map(_as_version, names), now_s)


def _as_version(name: str) -> str:
    claimed = claimed_version(name)
    return name.removeprefix(_ASIDE) if claimed is None else str(claimed)


def claim_name(version: int, token: str) -> str:
    """The name of a file that says who uploads a version."""
    return f"{_CLAIMS}{version}-{token}"


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
