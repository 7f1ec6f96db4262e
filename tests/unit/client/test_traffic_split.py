from collections import Counter

import pytest

from salver.client import Arm, TrafficSplit
from salver.errors import InvalidArgument

STABLE = Arm(share=0.9, label="stable")
CANARY = Arm(share=0.1, label="canary")
KEYS = range(10_000)


def test_calls_are_dealt_out_by_share() -> None:
    split = TrafficSplit(STABLE, CANARY)
    counts = Counter(split.arm(key).label for key in KEYS)
    # Five standard deviations.
    assert abs(counts["canary"] - 1000) < 150


def test_a_key_stays_and_another_experiment_deals_anew() -> None:
    first, again = TrafficSplit(STABLE, CANARY), TrafficSplit(STABLE, CANARY)
    other = TrafficSplit(STABLE, CANARY, salt="other")
    assert all(first.arm(key) == again.arm(str(key)) for key in KEYS)
    assert any(first.arm(key) != other.arm(key) for key in KEYS)


def test_the_arm_of_a_key_is_the_same_in_every_process() -> None:
    halves = TrafficSplit(Arm(share=0.5, version=1), Arm(share=0.5, version=2))
    assert [halves.arm(key).version for key in "abcdef"] == [2, 2, 1, 1, 1, 1]


def test_a_canary_that_grows_keeps_its_keys() -> None:
    small = TrafficSplit(STABLE, CANARY)
    large = TrafficSplit(Arm(share=0.5, label="stable"), Arm(share=0.5, label="canary"))
    kept = [key for key in KEYS if small.arm(key).label == "canary"]
    assert {large.arm(key).label for key in kept} == {"canary"}


def test_without_a_key_chance_decides() -> None:
    places = iter([0.0, 0.89, 0.91, 1.0])
    split = TrafficSplit(STABLE, CANARY, chance=lambda: next(places))
    labels = [split.arm().label for _ in range(4)]
    assert labels == ["stable", "stable", "canary", "canary"]


def test_an_arm_without_a_share_gets_nothing() -> None:
    split = TrafficSplit(Arm(share=1.0, version=1), Arm(share=0.0, version=2), chance=lambda: 1.0)
    assert split.arm().choice == {"version": 1, "label": None}


def test_wrong_shares_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"0\.95 in all"):
        TrafficSplit(Arm(share=0.9), Arm(share=0.05))
    with pytest.raises(InvalidArgument, match="not from 0 to 1"):
        Arm(share=1.5)
    with pytest.raises(InvalidArgument, match="choose one"):
        Arm(share=1.0, version=1, label="stable")
