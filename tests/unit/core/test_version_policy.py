import pytest

from salver.core.version_policy import (
    All,
    Latest,
    Specific,
    VersionPolicy,
    chosen_versions,
    missing_versions,
)


@pytest.mark.parametrize(
    ("policy", "present", "chosen"),
    [
        pytest.param(Latest(), [1, 7, 3], (7,), id="the latest by default"),
        pytest.param(Latest(2), [1, 7, 3], (7, 3), id="the latest two"),
        pytest.param(Latest(0), [1, 7], (7,), id="latest zero counts as one"),
        pytest.param(Latest(5), [1, 2], (2, 1), id="fewer than asked for"),
        pytest.param(Latest(2), [-5, 0, -7], (0, -5), id="negative numbers are versions"),
        pytest.param(All(), [1, 10, 5, 5], (10, 5, 1), id="all, each once"),
        pytest.param(Specific((2, 5)), [1, 2, 10], (2,), id="the listed ones that are there"),
        pytest.param(Specific(()), [1, 2], (), id="an empty list"),
        pytest.param(All(), [], (), id="nothing there"),
    ],
)
def test_the_policy_chooses(
    policy: VersionPolicy, present: list[int], chosen: tuple[int, ...]
) -> None:
    assert chosen_versions(policy, present) == chosen


def test_only_listed_versions_can_be_missing() -> None:
    assert missing_versions(Specific((9, 2, 7, 9)), [2]) == (9, 7)
    assert missing_versions(Latest(3), [2]) == ()
    assert missing_versions(All(), []) == ()
