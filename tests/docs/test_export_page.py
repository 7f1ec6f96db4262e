"""The code on docs/export.md does what it says, as a reader would run it."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()
LIMIT_S = 900


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder where all snippets have been run, in one process, and what they printed."""
    for framework in ("keras", "tensorflow", "sklearn", "skops"):
        if find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    folder = tmp_path_factory.mktemp("page")
    program = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_every_model_of_the_page_is_a_version_and_nothing_else_is_there(
    printed: tuple[Path, str],
) -> None:
    folder, _ = printed
    models = folder / "models"
    assert sorted(os.listdir(models)) == ["answer", "greeter", "income", "rent", "scaled"]
    for model in models.iterdir():
        (version,) = os.listdir(model)
        assert version.isdecimal()
    (income,) = (models / "income").iterdir()
    assert (income / "assets.extra" / "tf_serving_warmup_requests").exists()


def test_the_short_way_prints_what_the_page_shows(printed: tuple[Path, str]) -> None:
    folder, output = printed
    (shown,) = re.findall(r"```\n(Exported .*?)```", PAGE, re.DOTALL)
    head, *signature = shown.splitlines()
    pattern = re.escape(head).replace("/models", re.escape(str(folder / "models")))
    pattern = re.sub(r"1764072000|21\\\.3", r"[0-9.]+", pattern)
    first, *rest = output.splitlines()
    assert re.fullmatch(pattern, first), (pattern, first)
    assert rest[: len(signature)] == signature


def test_the_signatures_are_those_of_the_table(printed: tuple[Path, str]) -> None:
    _, output = printed
    (income,) = [
        part for part in output.split("Exported ")[1:] if "/income/" in part.splitlines()[0]
    ]
    assert "  signature classify: classify\n    in  inputs: string [?]\n" in income
    assert "    out classes: string [?, 2]\n    out scores: float32 [?, 2]\n" in income
    assert "  signature regress: regress\n" in income
    assert "    out inner: float32 [?, 8]\n" in income
    assert "  signature serving_default: predict\n" in income
    assert "  warm-up requests: 2\n" in income
