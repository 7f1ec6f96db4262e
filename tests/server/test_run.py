"""`salver run --url`: the same flags and output against a running server, over both protocols."""

from pathlib import Path

import numpy as np
import pytest

from salver.cli.main import main
from tests.running import RunningServer


@pytest.fixture(params=["grpc", "rest"])
def url(server: RunningServer, request: pytest.FixtureRequest) -> str:
    return server.grpc_address if request.param == "grpc" else server.url


def run(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["run", *flags])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("half_plus_two_2", "x=np.arange(4.0) / 8"),
        ("several", "matrix=[[1.5, 2], [3, 4]];vector=[1, 2];label='done'"),
        ("lookup", "word=['two', 'none']"),
        ("loops", "n=27"),
    ],
)
def test_a_server_answers_as_the_folder_does(
    url: str,
    saved_model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    inputs: str,
) -> None:
    of_folder = run(capsys, f"--dir={saved_model_folder / model}", f"--input_exprs={inputs}")
    of_server = run(capsys, f"--url={url}", f"--model={model}", f"--input_exprs={inputs}")
    assert of_server[:2] == of_folder[:2]
    assert of_server[0] == 0


def test_a_version_or_a_label_answers(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--url={url}", "--model=versioned", "--input_exprs=x=[0.5]"]
    assert run(capsys, *flags)[1] == "Result for output key y:\n[3.]\n"
    assert run(capsys, *flags, "--version=2")[1] == "Result for output key y:\n[2.]\n"
    assert run(capsys, *flags, "--label=stable", f"--outdir={tmp_path}")[0] == 0
    assert np.load(tmp_path / "y.npy").tolist() == [1.0]


def test_what_is_wrong_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = "--model=half_plus_two_2"
    expected = [
        ((model, "--input_exprs=X=[1.0]"), 2, "has no input 'X'; did you mean 'x'?"),
        ((model, "--input_exprs=x=[[1.0]]"), 2, "input 'x' has shape [?], but [1,1] is given"),
        ((model, "--signature_def=other", "--input_exprs=x=[1.0]"), 2, "no signature 'other'"),
        (("--model=half_plus_too_2", "--input_exprs=x=[1.0]"), 2, "mean 'half_plus_two_2'?"),
        ((model, "--version=77", "--input_exprs=x=[1.0]"), 2, "77"),
        ((model, "--debug", "--input_exprs=x=[1.0]"), 2, "it needs --dir"),
    ]  # fmt: skip
    for flags, code, message in expected:
        found, out, error = run(capsys, f"--url={url}", *flags)
        assert (found, out) == (code, ""), error
        assert message in error
        assert error.count("\n") == 1


def test_a_server_that_is_not_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = run(
        capsys, "--url=http://127.0.0.1:9", "--model=m", "--timeout_s=1", "--input_exprs=x=1"
    )
    assert (code, out) == (1, "")
    assert error.count("\n") == 1
