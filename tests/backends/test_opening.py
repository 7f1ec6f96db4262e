"""A version opened without a server."""

from pathlib import Path

import numpy as np
import pytest

from salver.backends.registry import Backends
from salver.errors import InvalidArgument, NotFound
from salver.inspection.finding import newest_version
from salver.inspection.opening import OpenOptions, opened
from tests.saved_models import export


def test_a_version_runs_in_this_process(tmp_path: Path) -> None:
    export(["half_plus_two_2"], tmp_path)
    backends = Backends()
    with opened(
        newest_version(str(tmp_path / "half_plus_two_2"), backends), OpenOptions(), backends
    ) as model:
        assert model.run({"x": np.array([2.0, 4.0], np.float32)})["y"].tolist() == [3.0, 4.0]
        with pytest.raises(InvalidArgument, match=r"has no input 'X'.*did you mean 'x'"):
            model.run({"X": np.zeros(1, np.float32)})
        with pytest.raises(InvalidArgument, match="needs the inputs x"):
            model.run({})
        with pytest.raises(NotFound, match="did you mean 'serving_default'"):
            model.run({}, signature="serving_defaults")
