"""The command `salver scan`, called in process: what it prints, and its exit codes."""

import json
import pickle
from pathlib import Path

import pytest

from salver.cli.main import main
from tests.unit.scanning.graphs import meta_graph, node, write


def clean(folder: Path) -> Path:
    return write(folder, meta_graph(node("x", "Placeholder"), outputs={"serving_default": "x:0"}))


def reading(folder: Path) -> Path:
    graph = meta_graph(
        node("x", "Placeholder"), node("y", "ReadFile", "x"), outputs={"serving_default": "y:0"}
    )
    return write(folder, graph)


def test_nothing_found_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(clean(tmp_path / "1"))]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/1: nothing found in 1 file\n"


def test_a_finding_is_a_line_and_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(reading(tmp_path / "1"))]) == 1
    line, verdict = capsys.readouterr().out.splitlines()
    assert line.startswith(
        'high   reads-file: saved_model.pb: node "y": ReadFile with a name from the input x, run '
        "by serving_default; it returns the content of any file"
    )
    assert verdict == f"{tmp_path}/1: 1 finding in 1 file"


def test_a_base_path_means_all_its_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean(tmp_path / "1")
    reading(tmp_path / "2")
    assert main(["scan", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}/1: nothing found in 1 file"
    assert lines[-1] == f"{tmp_path}/2: 1 finding in 1 file"


def test_a_file_and_a_folder_without_a_model_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.pkl").write_bytes(pickle.dumps(eval))
    assert main(["scan", str(tmp_path / "scores.pkl")]) == 1
    assert main(["scan", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("the pickle imports builtins.eval") == 2


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--json", "--allow=reads-file:WriteFile", str(reading(tmp_path))]) == 1
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert (report["path"], report["clean"], report["files"]) == (str(tmp_path), False, 1)
    (finding,) = report["findings"]
    assert finding["rule"] == "reads-file"
    assert finding["subject"] == "ReadFile"
    assert finding["severity"] == "high"
    assert set(finding) == {
        "severity", "rule", "where", "what", "subject", "why", "advice", "more",
    }  # fmt: skip


def test_what_is_allowed_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "--allow", "reads-file:ReadFile", str(reading(tmp_path))]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: nothing found, 1 let through in 1 file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: PATH"),
        (["missing"], "/missing: there is no such file or folder"),
        (["--allow=reads", "."], "there is no rule 'reads'; did you mean 'reads-file'?"),
        (["nowhere://bucket/m"], "nowhere"),
    ],
)
def test_wrong_use_is_one_line_and_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scan", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


def test_storage_is_scanned_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    content = (reading(tmp_path / "local") / "saved_model.pb").read_bytes()
    memory.pipe("/scanned/m/3/saved_model.pb", content)
    try:
        arguments = ["--model_cache_dir", str(tmp_path / "cache"), "memory://scanned/m"]
        assert main(["scan", *arguments]) == 1
    finally:
        memory.rm("/scanned", recursive=True)
    assert "memory://scanned/m/3: 1 finding in 1 file" in capsys.readouterr().out


def test_a_file_on_storage_is_scanned_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/scanned_file/model.pkl", pickle.dumps(eval))
    try:
        assert main(["scan", "memory://scanned_file/model.pkl"]) == 1
    finally:
        memory.rm("/scanned_file", recursive=True)
    printed = capsys.readouterr().out
    assert "runs-code: model.pkl: byte" in printed
    assert "memory://scanned_file/model.pkl: 1 finding in 1 file" in printed
