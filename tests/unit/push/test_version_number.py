import pytest

from salver.errors import FailedPrecondition
from salver.push.version_number import (
    aside_name,
    aside_versions,
    claim_name,
    claimed_version,
    next_version,
)
from salver.sources.version_name import version_of

NOW = 1_700_000_000.9


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], 1_700_000_000),
        (["1", "notes", "007"], 1_700_000_000),
        (["1700000000"], 1_700_000_001),
        (["1700000003", "2"], 1_700_000_004),
        (["20260101120000"], 20260101120001),
        ([aside_name(1_700_000_009)], 1_700_000_010),
        ([claim_name(1_700_000_010, "ab12")], 1_700_000_011),
    ],
)
def test_a_new_version_is_above_all_others(names: list[str], expected: int) -> None:
    assert next_version(names, NOW) == expected


def test_there_is_a_highest_version() -> None:
    with pytest.raises(FailedPrecondition, match="none can be higher"):
        next_version([str(2**63 - 1)], NOW)


@pytest.mark.parametrize("name", [aside_name(7), claim_name(7, "ab")])
def test_no_server_takes_the_names_beside_versions_for_one(name: str) -> None:
    assert version_of(name) is None


def test_names_can_be_read_again() -> None:
    assert claimed_version(claim_name(7, "0f")) == 7
    assert claimed_version("7") is None
    assert aside_versions([aside_name(8), "8", "rolled-back-x"]) == {8: "rolled-back-8"}
