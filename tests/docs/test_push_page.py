"""docs/push.md: its commands do what it says, and it names all flags, fields and exit codes."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from salver.cli.main import main
from salver.push.report import Exit, Report
from tests import saved_models
from tests.running import RunningServer

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "push.md").read_text()
LIMIT_S = 60.0
# Of `salver rollback` alone.
OTHERS = {"--to", "--undo"}


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(saved_model_folder: Path, tmp_path: Path) -> None:
    model = Path(saved_models.version_path(saved_model_folder, "half_plus_two_2"))
    base_path = tmp_path / "models" / "taxi"
    shutil.copytree(model, base_path / "1")
    shutil.copytree(model, tmp_path / "candidate")
    shutil.copytree(model, tmp_path / "trainer" / "model" / "Format-Serving")
    for component, blessing in (("evaluator", "BLESSED"), ("infra_validator", "INFRA_BLESSED")):
        folder = tmp_path / component / "blessing"
        folder.mkdir(parents=True)
        (folder / blessing).touch()
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 6
    with RunningServer("--model_name=taxi", f"--model_base_path={base_path}") as server:
        program = "".join(blocks).replace("/models/", f"{tmp_path}/models/")
        program = program.replace("localhost:8500", server.grpc_address)
        done = subprocess.run(
            ["sh", "-e", "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^version \d+ is served$", done.stdout, re.MULTILINE)
    assert "blessing    passed: INFRA_BLESSED" in done.stderr
    # Four were published; one was rolled back, and is back.
    assert len([name for name in os.listdir(base_path) if name.isdecimal()]) == 1 + 4
    shown = re.search(r"```\n(scan .*?)```", PAGE, re.DOTALL)
    assert shown
    *steps, path = shown[1].replace("/models/", f"{tmp_path}/models/").splitlines()
    told = [line for line in done.stderr.splitlines() if re.match("[a-z-]+ +[a-z]+", line)]
    numbers = re.compile(r"(?<=[ /])\d+")
    assert [numbers.sub("N", line) for line in told[: len(steps)]] == [
        numbers.sub("N", line) for line in steps
    ]
    assert numbers.sub("N", done.stdout.splitlines()[0]) == numbers.sub("N", path)


@pytest.mark.parametrize("command", ["push", "rollback"])
def test_the_page_names_every_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    flags = set(re.findall(r"--[a-z_]+", capsys.readouterr().out)) - {"--help"}
    named = set(re.findall(r"--[a-z_]+", PAGE))
    assert flags - named == set()
    if command == "push":
        assert named - flags == OTHERS


def test_the_page_names_every_field_and_exit_code() -> None:
    table = PAGE.split("| field | holds |")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", table))
    assert {field.name for field in fields(Report)} <= named
    codes = PAGE.split("| exit code |")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\d) \|", codes, re.MULTILINE) == [str(int(code)) for code in Exit]
