"""The page of `salver predict` names its flags, all of them and no others."""

import re
from pathlib import Path

import pytest

from salver.bulk.row_format import RowFormat, format_of
from salver.cli.main import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "predict.md").read_text()


def test_the_page_names_every_flag_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--help"]) == 0
    flags = set(re.findall(r"--[a-z_]+", capsys.readouterr().out)) - {"--help"}
    assert set(re.findall(r"--[a-z_]+", PAGE)) == flags


def test_the_page_names_every_ending() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.splitlines() if re.match(r"\| \w+ \| `\.", line)]
    found = {name.strip(): re.findall(r"`(.*?)`", endings) for name, endings in rows}
    assert len(found) == len(RowFormat)
    for name, endings in found.items():
        for ending in endings:
            assert format_of(f"rows{ending}") is RowFormat(name.lower())
