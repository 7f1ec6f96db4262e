import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.sources.version_name import Duplicate, version_of, versions_by_number


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("7", 7),
        ("0", 0),
        ("00000123", 123),
        ("08", 8),
        ("7 ", 7),
        ("\t7\n", 7),
        ("-5", -5),
        ("+5", 5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0" * 5000 + "1", 1),
        ("9223372036854775808", None),
        ("99999999999999999999", None),
        ("9" * 5000, None),
        ("", None),
        (" ", None),
        ("-", None),
        ("- 5", None),
        ("+-5", None),
        ("9x", None),
        ("v1", None),
        ("1.0", None),
        ("0x1", None),
        ("1_0", None),
        ("1_", None),
        ("1 2", None),
        ("٣", None),
        ("\xa07", None),
        (".7", None),
    ],
)
def test_a_version_is_a_signed_decimal_of_64_bits(name: str, version: int | None) -> None:
    assert version_of(name) == version


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_number_of_64_bits_is_found_again(version: int) -> None:
    assert version_of(str(version)) == version


@given(st.text())
def test_any_name_is_a_version_or_none(name: str) -> None:
    version = version_of(name)
    assert version is None or int(name) == version


def test_of_two_names_for_a_number_the_last_in_byte_order_is_used() -> None:
    found, duplicates = versions_by_number(["1", "readme", "001", "2", "01"])
    assert found == {1: "1", 2: "2"}
    assert duplicates == [
        Duplicate(1, used="01", ignored="001"),
        Duplicate(1, used="1", ignored="01"),
    ]
