"""What each check lets through and refuses, by the command itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.cli.main import main
from tests import saved_models

Push = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def push(saved_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Push:
    """Pushes a model by its name; the exit code and the report."""

    def run(name: str, *flags: str) -> tuple[int, dict[str, Any]]:
        folder = saved_models.version_path(saved_model_folder, name)
        capsys.readouterr()
        code = main(["push", folder, str(tmp_path / "base"), "--json", *flags])
        told = capsys.readouterr()
        report = json.loads(told.out)
        assert code == report["exit_code"]
        assert report["error"] in told.err
        assert (code == 0) == (report["error"] == "")
        return code, report

    return run


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in report["checks"]}


def request(tmp_path: Path, name: str, *lines: Any) -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_signatures_of_the_version_that_is_there_count(push: Push, tmp_path: Path) -> None:
    assert push("half_plus_two_2")[0] == 0
    code, report = push("keras")
    assert code == 1
    assert report["error"].startswith("not compatible with version")
    assert "input 'x' is gone; there are: 'image'" in report["checks"][-1]["details"][0]
    assert len(list((tmp_path / "base").iterdir())) == 1
    code, report = push("keras", "--allow_incompatible_signatures")
    assert (code, outcomes(report)["signatures"]) == (0, "allowed")


def test_answers_must_be_as_expected(push: Push, tmp_path: Path) -> None:
    right = {"instances": [1.0, 2.0], "predictions": [2.5, 3.0]}
    code, report = push("half_plus_two_2", "--requests", request(tmp_path, "a.jsonl", right))
    assert (code, report["checks"][-1]["text"]) == (0, "1 answered, 1 as expected")
    wrong = {"inputs": {"x": [1.0]}, "outputs": {"y": [3.5]}}
    code, report = push("half_plus_two_2", "--requests", request(tmp_path, "b.jsonl", right, wrong))
    assert code == 1
    assert "b.jsonl, line 2: 1 of 1 elements of output 'y' differ: y[0] is 2.5" in report["error"]
    code, _ = push(
        "half_plus_two_2", "--requests", request(tmp_path, "b.jsonl", wrong), "--atol", "1.1"
    )
    assert code == 0


def test_arrays_may_lie_in_npz_files(push: Push, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([1, 2]))
    np.savez(tmp_path / "y.npz", y=np.array([2.5, 3.0]))
    flags = ("--requests", f"{tmp_path}/x.npz", "--expected", f"{tmp_path}/y.npz")
    code, report = push("half_plus_two_2", *flags)
    assert (code, report["checks"][-1]["text"]) == (0, "1 answered, 1 as expected")


def test_answers_and_latency_of_the_version_that_is_there_count(push: Push, tmp_path: Path) -> None:
    given = ("--requests", request(tmp_path, "a.json", {"instances": [1.0]}))
    code, report = push("half_plus_two_2", "--compare", *given)
    assert (code, report["error"]) == (1, "there is no version to compare with")
    assert push("half_plus_two_2")[0] == 0
    limits = ("--compare", "--max_latency_ratio", "1000", "--latency_rounds", "3")
    code, report = push("half_plus_two_2", *limits, *given)
    assert code == 0, report
    assert outcomes(report)["answers"] == outcomes(report)["latency"] == "passed"
    assert report["latency"]["ratio"] > 0
    code, report = push("half_plus_two_2", "--max_latency_ratio", "0", *given)
    assert code == 1
    assert "0 times is allowed" in report["error"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"instances": [1.0], "predictions": [1.0], "outputs": [1.0]}, "'predictions' or"),
        ({"inputs": {"X": [1.0]}}, "Missing named input: x"),
        ([3], "a request is an object"),
        ({"instances": [1.0], "signature_name": "serving"}, "did you mean 'serving_default'?"),
        ({"instances": [1.0], "outputs": {"Y": [1.0]}}, "did you mean 'y'?"),
        ({"instances": ["one"]}, "one"),
    ],
)
def test_a_wrong_request_is_wrong_use(push: Push, tmp_path: Path, content: Any, text: str) -> None:
    code, report = push("half_plus_two_2", "--requests", request(tmp_path, "a.jsonl", content))
    assert (code, text in report["error"]) == (2, True), report["error"]
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--requests", "missing.json"], 2, "missing.json: there is no such file"),
        (["--requests", __file__], 2, "ends in none of .json, .jsonl, .npz"),
        (["--expected", "a.json"], 2, "Expected answers need the requests, too"),
        (["--compare"], 1, "there is no version to compare with"),
        (["--model_platform", "tensorflw"], 1, "tensorflw"),
        (["--blessing", "missing"], 2, "missing: No such file or directory"),
    ],
)
def test_wrong_flags_are_told_in_one_line(
    push: Push, tmp_path: Path, flags: list[str], code: int, text: str
) -> None:
    found, report = push("half_plus_two_2", *flags)
    assert (found, text in report["error"]) == (code, True), report["error"]
    assert "\n" not in report["error"]


def test_what_the_scan_finds_is_refused_unless_it_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.py").write_text('def predict(x: "float32[?]") -> "float32[?]":\n  return x\n')
    assert main(["push", str(folder), str(tmp_path / "base"), "--no_load"]) == 1
    assert "runs-code" in capsys.readouterr().err
    allowed = ["--no_load", "--allow", "runs-code"]
    assert main(["push", str(folder), str(tmp_path / "base"), *allowed]) == 0
    assert main(["push", str(folder), str(tmp_path / "base"), "--no_load", "--allow", "x"]) == 2
    assert "there is no rule 'x'" in capsys.readouterr().err


def test_a_folder_without_a_model_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(tmp_path), str(tmp_path / "base")]) == 2
    assert capsys.readouterr().err.startswith(f"salver push: {tmp_path} holds no model")


def test_rollback_says_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "model.onnx").touch()
    base_path = str(tmp_path)
    assert main(["rollback", base_path, "--to", "7"]) == 1
    assert "has no version 7; there are: 1, 2, 3" in capsys.readouterr().err
    assert main(["rollback", base_path, "--undo"]) == 1
    assert main(["rollback", base_path, "--to", "1"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1", "rolled-back-2", "rolled-back-3",
    ]  # fmt: skip
    assert main(["rollback", base_path]) == 1
    assert main(["rollback", base_path, "--undo"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "rolled-back-3"]


@pytest.mark.parametrize("command", ["push", "rollback"])
def test_where_no_report_can_be_written_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").write_bytes(b"x")
    base = tmp_path / "base"
    for version in ("1", "2"):
        (base / version).mkdir(parents=True)
        (base / version / "model.onnx").write_bytes(b"x")
    given = [str(tmp_path / "model"), str(base), "--no_load", "--allow_unsafe"]
    for place in (tmp_path, tmp_path / "nowhere" / "report.json"):
        words = given if command == "push" else [str(base)]
        assert main([command, *words, f"--report={place}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--report {place}: " in line
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "model"]
