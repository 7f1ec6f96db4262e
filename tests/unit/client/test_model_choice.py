"""Which model a call is for: what no server could understand is refused."""

from typing import Any

import numpy as np
import pytest

from salver.client.model_choice import ModelChoice
from salver.errors import InvalidArgument


@pytest.mark.parametrize(
    "given",
    [{}, {"version": 0}, {"version": 2**63 - 1}, {"version": np.int64(3)}, {"label": "st/able %ü"}],
)
def test_a_choice_is_made(given: dict[str, Any]) -> None:
    ModelChoice("a/b %ü", **given)


@pytest.mark.parametrize("version", [-1, 2**63, True, "1", 1.0])
def test_what_is_no_version_is_refused(version: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"version is .*, and must be a whole number"):
        ModelChoice("m", version)


@pytest.mark.parametrize(
    "given",
    [{"model": "\ud800"}, {"model": b"m"}, {"label": "\ud800"}, {"label": 1}, {"signature": 1}],
)
def test_what_is_no_name_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="is no name"):
        ModelChoice(**{"model": "m", **given})
