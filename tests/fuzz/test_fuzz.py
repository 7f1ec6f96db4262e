"""A short turn of every fuzzer, always the same; `make fuzz` takes its time."""

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.border import Codec, Plan, require
from tests.fuzz.registry import BORDERS
from tests.fuzz.trial import Trial
from tests.fuzz.worker import Note, read_input

_INPUTS = {"server": 1500, "config": 400}


@pytest.mark.parametrize("name", BORDERS)
def test_no_input_does_harm(name: str, tmp_path: Path) -> None:
    trial = Trial(BORDERS[name](), Random(7), tmp_path)
    most = len(trial.border.plan.seeds) + _INPUTS.get(name, 1500)
    trial.run(lambda tried: tried < most)
    assert trial.broken == {}
    # The inputs are neither all refused at the door nor all alike.
    assert name == "server" or len(trial.outcomes) > 8


def test_a_law_that_breaks_is_reported_with_the_input_that_broke_it(tmp_path: Path) -> None:
    def check(data: bytes) -> str:
        require(b"\xff" not in data, "all is well")
        return str(len(data))

    trial = Trial(Codec(Plan([b"good"]), check), Random(1), tmp_path)
    trial.run(lambda tried: not trial.broken)
    (found,) = tmp_path.iterdir()
    assert b"\xff" in (found / "input-0").read_bytes()
    assert "all is well" in (found / "what.txt").read_text()


def test_what_is_tried_is_known_to_others(tmp_path: Path) -> None:
    note = Note(tmp_path / "input")
    note(b"first")
    note(b"second")
    assert read_input(tmp_path / "input") == (2, b"second")
