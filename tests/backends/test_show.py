"""`salver show` beside TensorFlow's own program, and for the models of every framework."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from salver.cli.main import main
from tests.backends.made import Made
from tests.original_saved_model_cli import original_show
from tests.saved_models import MAKERS, version_path

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "models"
Shown = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Shown:
    """Runs `salver show`: its exit code, and what it printed."""

    def shown(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["show", *arguments])
        output, errors = capfd.readouterr()
        return code, output, errors

    return shown


def _folders(saved_models: Path) -> list[str]:
    made = [version_path(saved_models, name) for name in MAKERS if name != "heavy"]
    published = [str(path.parent) for path in sorted(PUBLISHED.glob("*/*/saved_model.pb"))]
    return made + published


def _questions(folder: str) -> list[list[str]]:
    there = [f"--dir={folder}"]
    _, text = _signatures_of(folder)
    named = [f"--signature_def={name}" for name in re.findall('key: "(.*)"', text)]
    serve = [*there, "--tag_set=serve"]
    return [
        there,
        [*there, "-all"],
        serve,
        [*serve, "--list_ops"],
        [*there, "--list_ops"],
        *([*serve, name] for name in named),
        [*serve, "--list_ops", *named[:1]],
    ]


def _signatures_of(folder: str) -> tuple[int, str]:
    from contextlib import redirect_stdout
    from io import StringIO

    output = StringIO()
    with redirect_stdout(output):
        code = main(["show", f"--dir={folder}", "--tag_set=serve"])
    return code, output.getvalue()


def _sorted_sets(text: str) -> list[str]:
    """The lines of the original, with what stands there in the order of a hash table sorted."""

    def in_order(match: re.Match[str]) -> str:
        return "{" + ", ".join(sorted(match[1].split(", "))) + "}"

    return [re.sub(r"(?<=ops: )\{(.*)\}$", in_order, line) for line in text.splitlines()]


def test_the_original_prints_nothing_that_is_not_printed_here_byte_for_byte(
    saved_model_folder: Path, shown: Shown
) -> None:
    questions = [each for folder in _folders(saved_model_folder) for each in _questions(folder)]
    compared = 0
    for question, original in zip(questions, original_show(questions), strict=True):
        code, ours, errors = shown(*question)
        assert (code, errors) == (0, "")
        expected = _sorted_sets(original)
        if "N/A (could not be listed due to the existence of custom ops" in original:
            continue
        found = ours.splitlines()[: len(expected)]
        assert found == expected, question
        compared += len(expected)
        if "--tag_set=serve" in question:
            assert ours.splitlines() == expected
    assert compared > 2000
