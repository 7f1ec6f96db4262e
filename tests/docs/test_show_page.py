"""The page of `salver show` names its flags and the fields of its JSON, all of them."""

import re
from pathlib import Path

import pytest

from salver.cli.main import main
from salver.inspection.description import Description, as_json

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "show.md").read_text()


def test_the_page_names_every_flag_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--help"]) == 0
    flags = set(re.findall(r"--[a-z_]+", capsys.readouterr().out)) - {"--help"}
    assert set(re.findall(r"--[a-z_]+", PAGE)) - {"--json"} == flags - {"--json"}
    assert "--json" in PAGE


def test_the_page_names_every_field(tmp_path: Path) -> None:
    fields = as_json(Description(path="p", number=1, backend="b"))
    table = PAGE.split("## `--json`")[1]
    named = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for cell in named for name in re.findall(r"`(\w+)`", cell)} == fields.keys()
