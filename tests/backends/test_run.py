"""`salver run`: side by side with TensorFlow's own `saved_model_cli`, and what `--debug` shows."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from salver.cli.main import main
from tests import onnx_models
from tests.saved_models import version_path

THEIRS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
Case = dict[str, str]

_SAVED_MODEL_CLI = """
import json, sys
from tensorflow.python.tools import saved_model_cli as cli
for case in json.load(sys.stdin):
    inputs = [case.get(flag, "") for flag in ("inputs", "input_exprs", "input_examples")]
    feed = cli.load_inputs_from_input_arg_string(*inputs)
    cli.run_saved_model_with_feed_dict(
        case["dir"], "serve", case["signature_def"], feed, case["outdir"], False)
    print("----", flush=True)
"""
"""What its command does with these flags, without a start of TensorFlow for each."""


def cases(folder: Path, place: Path) -> list[Case]:
    """What both commands are given; `outdir` is added by each."""
    np.savez(place / "in.npz", matrix=np.arange(6.0).reshape(2, 3), vector=np.ones(3))
    np.save(place / "image.npy", np.linspace(0, 1, 64).reshape(1, 8, 8, 1))
    several = f"matrix={place}/in.npz[matrix];vector={place}/in.npz[vector]"
    default = "serving_default"
    asked = [
        ("half_plus_two_1", default, {"input_exprs": "x=[1, 2.5, 0.1]"}),
        ("half_plus_two_2", default, {"input_exprs": "x=[1000000, 1e-7]"}),
        ("lookup", default, {"input_exprs": "word=['two', 'none']"}),
        ("several", default, {"inputs": several, "input_exprs": "label='done'"}),
        ("keras", default, {"inputs": f"image={place}/image.npy"}),
        ("loops_1", default, {"input_exprs": "x=0.1"}),
        ("turns_nan", default, {"input_exprs": "x=[[1, 2], [0, -1]]"}),
        ("echo", "bfloat16", {"input_exprs": "x=[[1.5, 2], [3, 4]]"}),
        ("echo", "uint8", {"input_exprs": "x=[1, 255]"}),
        ("echo", "bool", {"input_exprs": "x=[True, False]"}),
        ("echo", "float64", {"input_exprs": "x=0.1"}),
    ]
    found: list[Case] = [
        {"dir": version_path(folder, name), "signature_def": signature, **flags}
        for name, signature, flags in asked
    ]
    theirs = [
        ("saved_model_half_plus_two_cpu", default, {"input_exprs": "x=[[1.0], [3]]"}),
        ("saved_model_half_plus_two_cpu", "regress_x_to_y",
         {"input_examples": 'inputs=[{"x": [22.0]}, {"x": [-1.5]}]'}),
        ("saved_model_half_plus_two_cpu", "classify_x_to_y",
         {"input_examples": 'inputs=[{"x": [22.0]}]'}),
        ("saved_model_half_plus_three", default, {"input_exprs": "x=[[1.0], [3]]"}),
        ("saved_model_half_plus_two_tf2_cpu", default, {"input_exprs": "x=[7]"}),
        ("saved_model_counter", "incr_counter_by", {"input_exprs": "delta=4"}),
    ]  # fmt: skip
    return found + [
        {"dir": str(next((THEIRS / name).iterdir())), "signature_def": signature, **flags}
        for name, signature, flags in theirs
        if (THEIRS / name).exists()
    ]


@pytest.mark.slow
def test_the_output_is_that_of_saved_model_cli(
    saved_model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = cases(saved_model_folder, tmp_path)
    theirs = [{**case, "outdir": str(tmp_path / f"theirs{n}")} for n, case in enumerate(asked)]
    done = subprocess.run(
        [sys.executable, "-c", _SAVED_MODEL_CLI],
        input=json.dumps(theirs),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = done.stdout.split("----\n")[:-1]

    for number, case in enumerate(asked):
        outdir = tmp_path / f"ours{number}"
        flags = {**case, "tag_set": "serve", "outdir": str(outdir)}
        capfd.readouterr()
        code = main(["run", *(f"--{flag}={value}" for flag, value in flags.items())])
        shown = capfd.readouterr()
        assert code == 0, (case, shown.err)
        assert shown.out == expected[number].replace("theirs", "ours"), case
        names = {path.name for path in outdir.iterdir()}
        assert names == {path.name for path in (tmp_path / f"theirs{number}").iterdir()}
        for name in names:
            their_file = np.load(tmp_path / f"theirs{number}" / name, allow_pickle=True)
            np.testing.assert_array_equal(
                np.load(outdir / name),
                their_file.astype("S") if their_file.dtype.kind == "O" else their_file,
            )


def run(capfd: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    """The exit code, and what was written to standard output and error by Salver itself."""
    capfd.readouterr()
    code = main(["run", *flags])
    shown = capfd.readouterr()
    errors = [line for line in shown.err.splitlines() if line.startswith("salver run:")]
    return code, shown.out, "\n".join(errors)


def test_wrong_use_is_one_line_and_exit_code_2(
    saved_model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = f"--dir={saved_model_folder / 'half_plus_two_2'}"
    two = "--input_exprs=x=[1.0, 2.0]"
    expected: list[tuple[list[str], str]] = [
        ([model], "At least one of --inputs, --input_exprs, --input_examples"),
        ([two], "name one model: a folder, or a server's with --url and --model"),
        ([model, "--url=localhost:1", two], "name one model"),
        (["--url=localhost:1", two], "--url and --model go together"),
        ([model, "--label=stable", two], "--model and --label are for a server"),
        ([model, "--overwrite", two], "--overwrite is for --outdir"),
        ([model, "--watch=x", two], "--watch is for --debug"),
        ([model, "--debug", "--watch=(", two], "--watch=( is no regular expression"),
        ([model, "--image_scale=2", two], "there are 0..255, 0..1, -1..1"),
        ([model, "--image_size=2", two], "it is of the form HEIGHTxWIDTH"),
        ([model, "--input_exprs=y=1"], "has no input 'y'"),
        ([model, "--input_exprs=x=1.0"], "input 'x' has shape [?], but [] is given"),
        ([model, "--input_exprs=x='a'"], "input 'x' is float, but string is given"),
        ([model, "--signature_def=serving_defalt", two], "did you mean 'serving_default'?"),
        ([model, "--tag_set=serv", two], "Could not find meta graph def matching supplied tags"),
        ([model, "--tag_set=serv", "--debug", two], "no graph with the tags serv"),
        ([model, "--version=2", two], "has no version 2; there are: 1"),
        ([f"{model}s", two], "half_plus_two_2s: there is no such folder"),
        ([model, f"--outdir={__file__}", two], "is a file, not a folder"),
    ]
    for flags, message in expected:
        code, out, error = run(capfd, *flags)
        assert (code, out) == (2, ""), flags
        assert message in error
        assert "\n" not in error
    assert run(capfd, model, "--nonsense")[0] == 2


def test_nothing_is_overwritten_unless_that_is_said(
    saved_model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outdir = tmp_path / "deep" / "out"
    flags = [f"--dir={saved_model_folder / 'half_plus_two_2'}", f"--outdir={outdir}"]
    assert run(capfd, *flags, "--input_exprs=x=[1]")[0] == 0

    code, out, error = run(capfd, *flags, "--input_exprs=x=[2]")
    assert (code, out) == (2, "")
    assert error == (
        f"salver run: Output file {outdir}/y.npy already exists. Add --overwrite to overwrite the "
        "existing output files"
    )
    assert np.load(outdir / "y.npy").tolist() == [2.5]

    assert run(capfd, *flags, "--input_exprs=x=[2]", "--overwrite")[0] == 0
    assert np.load(outdir / "y.npy").tolist() == [3.0]
    assert [path.name for path in outdir.iterdir()] == ["y.npy"]


def rows_of(report: str) -> dict[str, list[str]]:
    """The cells of a report by tensor."""
    lines = report.splitlines()[2:]
    return {line.split()[0]: line.split()[1:] for line in lines[: lines.index("")] if line}


def test_debug_shows_where_nan_begins_within_functions_of_functions(
    saved_model_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--dir={saved_model_folder / 'turns_nan'}", "--input_exprs=x=[[1, 2], [0, -1]]"]
    plain = run(capfd, *flags)[1]

    code, out, _ = run(capfd, *flags, "--tf_debug")

    assert code == 0
    report, _, results = out.partition("\n\n")
    # Each run is in a new session: the variable that counts starts again.
    assert results == plain
    rows = rows_of(out)
    assert rows["serving_default_x"] == [
        "Placeholder",
        "float",
        "[2,2]",
        "-1",
        "0.5",
        "2",
        "0",
        "0",
    ]
    # x times [[1, -1], [2, 0.5]]: [[5, 0], [-2, -0.5]].
    assert rows["hidden"] == ["MatMul", "float", "[2,2]", "-2", "0.625", "5", "0", "0"]
    assert rows["logarithm"] == ["Log", "float", "[2,2]", "1.60944", "1.60944", "1.60944", "2", "1"]
    assert rows["Softmax"] == ["Softmax", "float", "[2,2]", "0", "0.5", "1", "2", "0"]
    assert list(rows).index("hidden") < list(rows).index("logarithm")
    assert report.splitlines()[-4:] == [
        "NaN first appears in logarithm (Log): 2 of its values",
        "  its input hidden: min -2, mean 0.625, max 5",
        "Inf first appears in logarithm (Log): 1 of its values",
        "  its input hidden: min -2, mean 0.625, max 5",
    ]

    watched = run(capfd, *flags, "--debug", "--watch=^Log$|hid+en$")[1]
    assert list(rows_of(watched)) == ["hidden", "logarithm", "NaN", "its", "Inf"]
    fine = run(capfd, flags[0], "--input_exprs=x=[[1, 3]]", "--debug", "--watch=nothing")[1]
    assert "No NaN.\nNo Inf.\n" in fine


@pytest.mark.parametrize(
    ("name", "x", "expected"), [("loops_1", "2", "13.5"), ("loops_1", "0.1", "0.100000024")]
)
def test_debug_leaves_out_what_runs_many_times_or_not_at_all(
    saved_model_folder: Path, capfd: pytest.CaptureFixture[str], name: str, x: str, expected: str
) -> None:
    flags = [f"--dir={saved_model_folder / name}", f"--input_exprs=x={x}"]
    _, out, _ = run(capfd, *flags, "--debug")
    assert "operations inside loops and conditions are not shown." in out
    assert out.endswith(f"Result for output key y:\n{expected}\n")
    assert {"x", "outer/Exit_1", "Greater", "chosen/Merge", "add"} <= set(rows_of(out))


def test_debug_leaves_no_copy_behind(
    saved_model_folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    fine = saved_model_folder / "lookup" / "1"
    assert run(capfd, f"--dir={fine}", "--input_exprs=word=['one']", "--debug")[0] == 0
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes((fine / "saved_model.pb").read_bytes())
    code, _, error = run(capfd, f"--dir={broken}", "--input_exprs=word=['one']", "--debug")
    assert code != 0
    assert error
    assert "\n" not in error
    assert list(copies.iterdir()) == []


def test_debug_gives_the_answers_of_a_run_without_it(
    saved_model_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: Mapping[str, str] = {
        "keras": "image=np.random.RandomState(1).rand(2, 8, 8, 1)",
        "lookup": "word=['two', 'none']",
        "loops": "n=27",
        "compiled": "x=[4.0]",
        "half_plus_two_1": "x=[1.0]",
    }
    for name, inputs in asked.items():
        flags = [f"--dir={saved_model_folder / name}", f"--input_exprs={inputs}"]
        plain = run(capfd, *flags)[1]
        assert run(capfd, *flags, "--debug")[1].partition("\n\n")[2] == plain, name


def test_debug_looks_into_onnx_models(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = onnx_models
    model = made.graph(
        [
            made.node("Sub", ["x", "one"], "shifted"),
            made.node("Log", ["shifted"], "logged"),
            made.node("Add", ["logged", "one"], "y"),
        ],
        [made.value("x", made.FLOAT, ["n"])],
        [made.value("y", made.FLOAT, ["n"])],
        [made.constant("one", 1.0)],
    )
    made.write(model, tmp_path / "1")

    code, out, _ = run(capfd, f"--dir={tmp_path}", "--input_exprs=x=[0.5, 1, 3]", "--debug")

    assert code == 0
    rows = rows_of(out)
    assert list(rows)[:4] == ["x", "shifted", "logged", "y"]
    assert rows["shifted"] == ["Sub", "float", "[3]", "-0.5", "0.5", "2", "0", "0"]
    assert rows["logged"][-2:] == ["1", "1"]
    assert (
        "NaN first appears in logged (Log): 1 of its values\n  its input shifted: min -0.5" in out
    )
    assert out.endswith("Result for output key y:\n[      nan      -inf 1.6931472]\n")
