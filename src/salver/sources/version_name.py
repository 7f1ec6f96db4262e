"""Which names under a base path are versions, and which numbers they stand for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from os import fsencode

_SPACE = "[ \\t\\n\\v\\f\\r]*"
_NUMBER = re.compile(f"{_SPACE}([+-]?)0*([0-9]{{1,19}}){_SPACE}")
_MIN_VERSION = -(2**63)
_MAX_VERSION = 2**63 - 1


def version_of(name: str) -> int | None:
    """The number that a name stands for, None if it is not the name of a version.

    A version is a signed decimal of 64 bits; white space around it and leading
    zeros do not count: `7`, `00000123`, `-5`, `8 `, but not `v1`, `1.0` or `1_0`.
    """
    match = _NUMBER.fullmatch(name)
    if match is None:
        return None
    number = int(match[1] + match[2])
    return number if _MIN_VERSION <= number <= _MAX_VERSION else None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two names for one number."""

    version: int
    used: str
    ignored: str


def versions_by_number(names: Iterable[str]) -> tuple[dict[int, str], list[Duplicate]]:
    """Each version that is present, with its name.

    Of several names for one number the last in byte order is used, so that `1`
    beats `001`.
    """
    found: dict[int, str] = {}
    duplicates = []
    for name in sorted(names, key=fsencode):
        version = version_of(name)
        if version is None:
            continue
        if version in found:
            duplicates.append(Duplicate(version, used=name, ignored=found[version]))
        found[version] = name
    return found, duplicates
