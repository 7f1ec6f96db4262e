"""How the cases of the contract are made."""

from pathlib import Path

import pytest

from tests.backends.made import Maker, NotMadeError


def test_a_case_that_cannot_be_made_fails_each_test_for_the_same_reason(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    reasons = []
    for _ in range(2):
        with pytest.raises(NotMadeError) as raised:
            maker("no_such_case")
        reasons.append(str(raised.value))

    assert "KeyError: 'no_such_case'" in reasons[0]
    assert reasons[1] == reasons[0]
