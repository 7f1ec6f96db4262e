"""`salver snippets`: what it prints is run, in each language that is there, and must be right."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from salver.cli.main import main
from salver.client import Client
from tests.answering import AnsweringServer, Asked, Told
from tests.running import RunningServer

FILES = {
    "curl": ("predict.sh", ["sh"]),
    "python": ("predict.py", [sys.executable]),
    "java": ("Predict.java", ["java"]),
    "go": ("predict.go", ["go", "run"]),
    "javascript": ("predict.mjs", ["node"]),
}
# A single file of source can be run where there is a compiler beside the runtime.
NEEDED = {"java": "javac", "go": "go", "javascript": "node"}
LANGUAGES = [
    pytest.param(
        language,
        marks=pytest.mark.skipif(
            language in NEEDED and shutil.which(NEEDED[language]) is None,
            reason=f"there is no {NEEDED.get(language)}",
        ),
    )
    for language in FILES
]
Snippets = Callable[..., str]


@pytest.fixture
def snippets(capsys: pytest.CaptureFixture[str]) -> Snippets:
    def printed(*arguments: str, code: int = 0) -> str:
        assert main(["snippets", *arguments]) == code
        told = capsys.readouterr()
        return told.err if code else told.out

    return printed


def run(
    text: str, language: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    name, command = FILES[language]
    (folder / name).write_text(text)
    arguments: Sequence[str] = [*command, str(folder / name)]
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def answered(text: str, language: str, folder: Path) -> str:
    done = run(text, language, folder)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_snippet_runs(
    server: RunningServer, snippets: Snippets, language: str, tmp_path: Path
) -> None:
    text = snippets(
        "--url", server.url, "--model", "several", "--language", language, "--version", "1"
    )
    out = answered(text, language, tmp_path)
    if language == "python":
        values = dict(line.split(" ", 1) for line in out.splitlines())
        assert values == {
            "label": "b'text!'", "product": "[0.25]", "shape": "[1, 1]", "sum": "0.5"
        }  # fmt: skip
    else:
        outputs = {"label": "text!", "product": [0.25], "shape": [1, 1], "sum": 0.5}
        assert json.loads(out)["outputs"] == outputs


@pytest.mark.parametrize("language", LANGUAGES)
def test_large_inputs_are_filled_in(
    server: RunningServer, snippets: Snippets, language: str, tmp_path: Path
) -> None:
    arguments = ("--url", server.url, "--model", "keras", "--language", language)
    text = snippets(*arguments)
    assert len(text) < 2000
    out = answered(text, language, tmp_path)
    with Client(server.url) as client:
        spec = client.metadata("keras").signatures["serving_default"].inputs["image"]
        assert spec.shape == (-1, 8, 8, 1)
        expected = client.predict("keras", {"image": [[[[0.5]] * 8] * 8]})
    numbers: Any = (
        [json.loads(line.split(" ", 1)[1]) for line in out.splitlines()]
        if language == "python"
        else [json.loads(out)["outputs"]]
    )
    (alone,) = expected.values()
    assert numbers[0][0] == pytest.approx(alone[0].tolist(), rel=1e-6)


@pytest.mark.parametrize("language", LANGUAGES)
def test_examples_labels_and_names_are_carried(
    seen_server: RunningServer, snippets: Snippets, language: str, tmp_path: Path
) -> None:
    text = snippets(
        "--url", seen_server.url, "--model", "seen", "--signature", "classify",
        "--example", '{"x": 3.0}', "--example", '{"x": 4.0}', "--language", language,
    )  # fmt: skip
    out = answered(text, language, tmp_path)
    assert "3" in out
    if language == "python":
        assert out == "labels [['3'], ['4']]\nscores [[2.0], [2.0]]\n"
    else:
        assert json.loads(out)["results"] == [[["3", 2.0]], [["4", 2.0]]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_is_shown_and_fails(
    server: RunningServer, snippets: Snippets, language: str, tmp_path: Path
) -> None:
    text = snippets("--url", server.url, "--model", "versioned", "--language", language)
    done = run(text.replace("versioned", "nobody"), language, tmp_path)
    assert done.returncode != 0
    assert "Servable not found for request: Latest(nobody)" in done.stdout + done.stderr


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_key_comes_from_the_environment_and_odd_names_survive(
    language: str, tmp_path: Path, snippets: Snippets, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "$HOME`\"'\\ü"
    tensor = {"name": "t:0", "dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "30"}]}}
    signature = {"inputs": {name: tensor, "y": tensor}, "outputs": {"z": tensor}}
    metadata = {
        "model_spec": {"name": "m", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {name: signature}}},
    }

    def over_rest(asked: Asked) -> Told:
        if asked.path.endswith("/metadata"):
            return Told(200, json.dumps(metadata).encode())
        return Told(200, b'{"outputs": [1.0]}')

    monkeypatch.setenv("SALVER_API_KEY", "secret-key")
    with AnsweringServer(lambda asked: Told(0), over_rest) as server:
        text = snippets("--url", server.url, "--model", "m", "--language", language)
        assert "secret-key" not in text
        answered(text, language, tmp_path)
    assert [asked.headers["authorization"] for asked in server.asked] == [
        "Bearer secret-key"
    ] * len(server.asked)
    body = json.loads(server.asked[-1].body)
    assert body == {"signature_name": name, "inputs": {name: [0.5] * 30, "y": [0.5] * 30}}


def test_without_a_language_there_are_all(server: RunningServer, snippets: Snippets) -> None:
    text = snippets("--url", server.url, "--model", "versioned")
    for start in ("# --- curl", "# --- python", "// --- java", "// --- go", "// --- javascript"):
        assert start in text
    over_grpc = snippets("--url", server.grpc_address, "--model", "versioned")
    assert f'Client("grpc://{server.grpc_address}")' in over_grpc
    assert "give the server's http:// address" in over_grpc


def test_python_speaks_grpc_and_every_type(
    server: RunningServer, snippets: Snippets, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("bfloat16", "float8_e5m2", "complex64", "string", "bool", "uint16", "int4"):
        arguments = ("--model", "echo", "--signature", kind, "--language", "python")
        text = snippets("--url", server.grpc_address, *arguments)
        exec(compile(text, "predict.py", "exec"), {})
        assert capsys.readouterr().out.startswith("y [")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "versionde"], "did you mean 'versioned'?"),
        (["--model", "versioned", "--signature", "serving"], "did you mean 'serving_default'?"),
        (["--model", "echo", "--signature", "bfloat16", "--language", "curl"], "cannot carry"),
        (["--model", "versioned", "--example", "{"], "is no JSON"),
        (["--model", "versioned", "--example", "1"], "is no JSON object"),
        (["--model", "versioned", "--example", "{}"], "takes tensors, not examples"),
        (["--model", "versioned", "--label", "none"], "none"),
    ],
)
def test_wrong_use_is_told_in_a_line(
    server: RunningServer, snippets: Snippets, arguments: list[str], reason: str
) -> None:
    told = snippets("--url", server.url, *arguments, code=2)
    assert reason in told
    assert told.count("\n") == 1


def test_examples_must_be_given_where_they_are_needed(
    seen_server: RunningServer, snippets: Snippets
) -> None:
    arguments = ("--model", "seen", "--signature", "regress")
    assert "--example" in snippets("--url", seen_server.url, *arguments, code=2)


def test_a_server_that_is_not_there_is_a_failure(snippets: Snippets) -> None:
    snippets("--url", f"http://127.0.0.1:{free_port()}", "--model", "m", code=1)
