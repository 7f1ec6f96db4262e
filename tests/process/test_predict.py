"""`salver predict`: every format, bad rows, interruptions, servers and models in this process."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from salver.cli.main import main
from salver.sources.file_lock import try_lock
from tests import saved_models, served_models
from tests.row_files import (
    ENDINGS,
    content_of,
    example_of,
    expected_answer,
    made_rows,
    make_model,
    read_rows,
    write_rows,
)
from tests.running import RunningServer

LIMIT_S = 120.0
Predict = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[RunningServer]:
    flags = (f"--model_base_path={model}", "--model_name=m", "--allow_python_code")
    with RunningServer(*flags) as server:
        yield server


@pytest.fixture
def predict(capfd: pytest.CaptureFixture[str], model: Path) -> Predict:
    """Runs `salver predict` with the model in this process: the exit code, and stderr."""

    def predict(input_: Path, output: Path, *flags: str, place: str = "") -> tuple[int, str]:
        capfd.readouterr()
        where = place.split() or [f"--dir={model}", "--allow_python_code"]
        code = main(["predict", str(input_), f"--output={output}", *where, *flags])
        return code, capfd.readouterr().err

    return predict


def bad_rows_of(output: Path) -> list[dict[str, Any]]:
    text = Path(f"{output}.bad_rows.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(("given", "wanted"), [*product(ENDINGS, ENDINGS)])
def test_every_format_is_read_and_written(
    tmp_path: Path, predict: Predict, given: str, wanted: str
) -> None:
    rows = made_rows(50)
    write_rows(tmp_path / f"in.{given}", rows)
    output = tmp_path / f"out.{wanted}"

    code, told = predict(tmp_path / f"in.{given}", output, "--keep=id", "--batch_size=7")

    assert code == 0, told
    assert told == f"50 of 50 rows are answered: {output}\n"
    assert read_rows(output) == [expected_answer(row) for row in rows]
    assert sorted(os.listdir(tmp_path)) == sorted((f"in.{given}", f"out.{wanted}"))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_bad_rows_are_set_apart_and_cost_their_batch_nothing(
    tmp_path: Path, predict: Predict, batch_size: int
) -> None:
    rows = made_rows(40)
    lines = [json.dumps(row) for row in rows]
    bad = {
        3: ("nonsense", "no JSON"),
        4: ("[1]", "no JSON object, but an array"),
        9: (json.dumps({"x": [1, 2, 3], "pair": [1, 2]}), "it has no 'word'"),
        10: (json.dumps({**rows[0], "x": None}), "'x' is null"),
        11: (json.dumps({**rows[0], "x": [1, 2]}), r"its shape is \[2\], and must be \[3\]"),
        12: (json.dumps({**rows[0], "x": [1, [2], 3]}), "not all of one length"),
        13: (json.dumps({**rows[0], "x": ["1", "2", "3"]}), "'1' is no number"),
        14: (json.dumps({**rows[0], "pair": [1.5, 2]}), r"1\.5 is no int64"),
        15: (json.dumps({**rows[0], "pair": [2**63, 2]}), "is no int64"),
        16: (json.dumps({**rows[0], "word": 7}), "7 is no text"),
        17: (json.dumps({**rows[0], "x": [1, 1e60, 3]}), r"1e\+60 is no float32"),
        18: (json.dumps({**rows[0], "x": [1, None, 3]}), "null is no number"),
        19: (json.dumps({**rows[0], "pair": [10**20, 2]}), "is no int64"),
        20: (json.dumps({**rows[0], "x": [1, -2, 3]}), "x must not be below zero"),
        37: (json.dumps({**rows[0], "x": [-1, 2, 3]}), "x must not be below zero"),
    }
    for number, (line, _) in bad.items():
        lines[number - 1] = line
    lines.insert(25, "  ")  # Line 26 is no row; all after it move down by one.
    bad = {number + (number > 25): each for number, each in bad.items()}
    (tmp_path / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))
    output = tmp_path / "out.jsonl"

    code, told = predict(tmp_path / "in.jsonl", output, "--keep=id", f"--batch_size={batch_size}")

    assert code == 1
    assert told.splitlines()[-1] == f"15 were bad: {output}.bad_rows.jsonl"
    found = bad_rows_of(output)
    assert [each["line"] for each in found] == list(bad)
    for each in found:
        line, error = bad[each["line"]]
        assert each["row"] == line
        assert re.search(error, each["error"]), each
    good = [row for number, row in enumerate(rows, 1) if number + (number > 25) not in bad]
    assert read_rows(output) == [expected_answer(row) for row in good]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_numbers_are_what_they_are_whatever_is_beside_them(
    tmp_path: Path, predict: Predict, batch_size: int
) -> None:
    """Integers that no float64 holds, beside fractions; floats written as large integers."""
    row = {"x": [1, 2, 3], "word": "a", "pair": [2**53 + 1, 1]}
    rows = [
        row,
        {**row, "pair": [1.0, 2.0]},
        {**row, "pair": [2**53 + 1, 1.0], "x": [10**20, 0, 0]},
    ]
    write_rows(tmp_path / "in.jsonl", rows)
    output = tmp_path / "out.jsonl"
    code, told = predict(tmp_path / "in.jsonl", output, f"--batch_size={batch_size}")
    assert code == 0, told
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [each["doubled"] for each in found] == [[2**54 + 2, 2], [2, 4], [2**54 + 2, 2]]
    assert found[2]["total"] == 1e20


@pytest.mark.parametrize("ending", ENDINGS)
def test_values_that_the_output_cannot_hold_are_bad_rows(
    tmp_path: Path, predict: Predict, ending: str
) -> None:
    good = made_rows(4)
    rows = [{**row, "kept": "text"} for row in good]
    rows[1]["kept"] = "\ud800"
    write_rows(tmp_path / "in.jsonl", rows)
    output = tmp_path / f"out.{ending}"
    code, told = predict(tmp_path / "in.jsonl", output, "--keep=id,kept")
    assert code == 1
    assert len(told.splitlines()) == 2
    (bad,) = bad_rows_of(output)
    assert bad["line"] == 2
    assert "a value has no place in the" in bad["error"]
    assert read_rows(output) == [expected_answer(row) for row in good if row["id"] != 1]


def test_bad_rows_of_other_formats_are_named_by_their_place(
    tmp_path: Path, predict: Predict
) -> None:
    (tmp_path / "in.csv").write_text(
        'id,x,word,pair\n1,"[1,2,3]","two\nlines","[1, 2]"\n2,"[1,2,3]",b\n3,"[1,2]",c,"[1, 2]"\n'
        '4,"[1,2,3]",d,\n5,"[1,2,3]",e,"[1, 2]"\n'
    )
    assert predict(tmp_path / "in.csv", tmp_path / "c.jsonl", "--keep=id")[0] == 1
    found = bad_rows_of(tmp_path / "c.jsonl")
    assert [each["line"] for each in found] == [4, 5, 6]
    assert found[0] == {
        "line": 4,
        "error": "it has 3 cells for 4 columns",
        "row": ["2", "[1,2,3]", "b"],
    }
    assert "the cell is empty" in found[2]["error"]
    assert [row["id"] for row in read_rows(tmp_path / "c.jsonl")] == [1, 5]

    rows = made_rows(3)
    rows[1]["pair"] = [1, 2, 3]
    write_rows(tmp_path / "in.tfrecord", rows)
    assert predict(tmp_path / "in.tfrecord", tmp_path / "t.jsonl", "--keep=id")[0] == 1
    (found_row,) = bad_rows_of(tmp_path / "t.jsonl")
    assert found_row["line"] == 2
    assert content_of(found_row) == example_of(rows[1])


def test_columns_are_mapped_by_name(tmp_path: Path, predict: Predict) -> None:
    (tmp_path / "in.csv").write_text("id,a,b,c,text,p,q\n1,0.5,1,2,w,3,4\n2,1,1,1,v,5,6\n")
    mapping = ["--columns=x=a,b,c", "--columns=word=text", "--columns=pair=p,q", "--keep=id"]
    output = tmp_path / "out.csv"

    assert predict(tmp_path / "in.csv", output, *mapping, "--outputs=doubled,total")[0] == 0

    assert output.read_text() == 'id,doubled,total\n1,"[6, 8]",3.5\n2,"[10, 12]",3.0\n'


RECORDING_EACH_BATCH = (
    "import sys; from salver.bulk import run; run._BETWEEN_RECORDS_S = 0.0;"
    "from salver.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
"""The program, but for the clock that a test would have to wait for."""


def run_until_killed(command: list[str], record: Path, rows: int) -> int:
    """Kill the run once it has recorded more rows than these; how many, or -1: it was done."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            recorded = recorded_rows(record)
            if recorded > rows:
                process.send_signal(signal.SIGKILL)
                process.wait(LIMIT_S)
                return recorded
    finally:
        process.kill()
        process.wait(LIMIT_S)
    return -1


def recorded_rows(record: Path) -> int:
    try:
        return int(json.loads(record.read_text())["rows"])
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_is_killed_again_and_again_gives_the_same_file(
    tmp_path: Path, model: Path, predict: Predict, ending: str
) -> None:
    rows = made_rows(1000)
    rows[500]["x"] = [-1.0, 2.0, 3.0]
    write_rows(tmp_path / "few.jsonl", rows)
    (tmp_path / "in.jsonl").write_bytes((tmp_path / "few.jsonl").read_bytes() * 12)
    flags = ["--keep=id", "--batch_size=50"]
    whole, broken = tmp_path / f"whole.{ending}", tmp_path / f"broken.{ending}"
    assert predict(tmp_path / "in.jsonl", whole, *flags)[0] == 1

    command = [sys.executable, "-c", RECORDING_EACH_BATCH, "predict", str(tmp_path / "in.jsonl")]
    command += [f"--output={broken}", f"--dir={model}", "--allow_python_code", *flags]
    record = Path(f"{broken}.progress.json")
    kills = 0
    while run_until_killed(command, record, recorded_rows(record) + 3000) >= 0:
        kills += 1
        assert not broken.exists()

    assert kills > 0
    assert broken.read_bytes() == whole.read_bytes()
    assert bad_rows_of(broken) == bad_rows_of(whole)
    assert [row["line"] for row in bad_rows_of(whole)] == [501 + 1000 * n for n in range(12)]
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith("broken")}
    assert left == {broken.name, f"{broken.name}.bad_rows.jsonl"}


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_answers_the_same(
    tmp_path: Path, server: RunningServer, predict: Predict, protocol: str
) -> None:
    rows = made_rows(300)
    rows[77]["x"] = [-1.0, 2.0, 3.0]
    write_rows(tmp_path / "in.parquet", rows)
    place = server.grpc_address if protocol == "grpc" else server.url
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    assert predict(tmp_path / "in.parquet", here)[0] == 1

    code, told = predict(tmp_path / "in.parquet", there, place=f"--url={place} --model=m")

    assert code == 1, told
    assert there.read_bytes() == here.read_bytes()
    (bad,) = bad_rows_of(there)
    assert bad["line"] == 78
    assert "below zero" in bad["error"]


@pytest.mark.slow
def test_a_run_whose_server_goes_away_is_finished_with_the_next(
    tmp_path: Path, model: Path, predict: Predict
) -> None:
    rows = made_rows(1000)
    write_rows(tmp_path / "few.jsonl", rows)
    (tmp_path / "in.jsonl").write_bytes((tmp_path / "few.jsonl").read_bytes() * 12)
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    assert predict(tmp_path / "in.jsonl", whole, "--batch_size=50")[0] == 0
    flags = (f"--model_base_path={model}", "--model_name=m", "--allow_python_code")
    server = RunningServer(*flags)
    place = [f"--url={server.grpc_address}", "--model=m", "--batch_size=50"]
    command = [sys.executable, "-c", RECORDING_EACH_BATCH, "predict", str(tmp_path / "in.jsonl")]
    command += [f"--output={broken}", *place]
    record = Path(f"{broken}.progress.json")
    with server:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not recorded_rows(record):
            pass
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert errors.splitlines()[-1].endswith("; the same command goes on from here")
    assert 0 < recorded_rows(record) < 12_000

    second = RunningServer(*flags)
    second.grpc_port = server.grpc_port
    with second:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S)

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("going on after row ")
    assert broken.read_bytes() == whole.read_bytes()


def test_records_go_as_they_are_to_a_model_that_parses_them(
    tmp_path: Path, predict: Predict
) -> None:
    served_models.export("examples", tmp_path / "examples" / "1")
    write_rows(tmp_path / "in.tfrecord", [{"id": number, "x": number / 2} for number in range(9)])
    place = f"--dir={tmp_path / 'examples'}"
    output = tmp_path / "out.jsonl"

    flags = ("--signature=regress", "--keep=id", "--batch_size=4")
    code, told = predict(tmp_path / "in.tfrecord", output, *flags, place=place)

    assert code == 0, told
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert found == [{"id": n, "outputs": [2 + n / 4]} for n in range(9)]


def test_a_model_without_batches_gets_row_by_row(tmp_path: Path, predict: Predict) -> None:
    """And those that fail are set apart: the model asserts."""
    saved_models.export(["loops"], tmp_path)
    (tmp_path / "in.csv").write_text("n\n27\n1\n-3\n6\n")
    output = tmp_path / "out.csv"
    assert predict(tmp_path / "in.csv", output, place=f"--dir={tmp_path}/loops")[0] == 1
    assert output.read_text() == "steps\n111\n0\n8\n"
    assert "n must be above zero" in bad_rows_of(output)[0]["error"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path, model: Path) -> None:
    row = {"x": [1, 2, 3], "word": "w" * 40_000, "pair": [1, 2]}
    line = json.dumps(row).encode() + b"\n"
    program = (
        "import resource, sys; from salver.cli.main import main; main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (100, 4000):
        with (tmp_path / "in.jsonl").open("wb") as file:
            for _ in range(count):
                file.write(line)
        output = tmp_path / f"out{count}.jsonl"
        command = [sys.executable, "-c", program, "predict", str(tmp_path / "in.jsonl")]
        command += [f"--output={output}", f"--dir={model}", "--allow_python_code"]
        done = subprocess.run(
            [*command, "--batch_size=8", "--in_flight=2"], capture_output=True, text=True
        )
        assert output.stat().st_size > count * 40_000, done.stderr
        peaks.append(1024 * int(done.stdout))
    assert peaks[1] - peaks[0] < 48 << 20


def test_too_many_bad_rows_end_the_run(tmp_path: Path, predict: Predict) -> None:
    (tmp_path / "in.jsonl").write_text("{}\n" * 500)
    code, told = predict(
        tmp_path / "in.jsonl", tmp_path / "o.jsonl", "--max_bad_rows=10", "--batch_size=8"
    )
    assert code == 1
    assert "16 of 16 rows are bad, more than --max_bad_rows=10" in told
    assert len(told.splitlines()) == 1


def test_nothing_is_overwritten_unless_asked(tmp_path: Path, predict: Predict) -> None:
    write_rows(tmp_path / "in.jsonl", made_rows(5))
    output = tmp_path / "out.jsonl"
    output.write_text("mine\n")
    code, told = predict(tmp_path / "in.jsonl", output)
    assert (code, output.read_text()) == (2, "mine\n")
    assert told == f"salver predict: {output} is there already; --overwrite takes its place\n"
    assert predict(tmp_path / "in.jsonl", output, "--overwrite")[0] == 0
    assert len(output.read_text().splitlines()) == 5


def test_the_input_is_never_overwritten(tmp_path: Path, predict: Predict) -> None:
    given = tmp_path / "in.jsonl"
    write_rows(given, made_rows(5))
    content = given.read_text()
    (tmp_path / "link.jsonl").symlink_to(given)
    output = tmp_path / "out.jsonl"
    for place, *flags in (
        (given,),
        (tmp_path / "link.jsonl",),
        (output, f"--bad_rows={given}"),
        (output, f"--bad_rows={output}"),
    ):
        code, told = predict(given, place, "--overwrite", *flags)
        assert code == 2
        assert "must be three files" in told
        assert given.read_text() == content
    assert not output.exists()


def test_two_runs_do_not_write_to_one_output(tmp_path: Path, predict: Predict) -> None:
    write_rows(tmp_path / "in.jsonl", made_rows(5))
    output = tmp_path / "out.jsonl"
    other = try_lock(f"{output}.lock", "alone")
    assert other is not None
    code, told = predict(tmp_path / "in.jsonl", output)
    assert (code, told) == (2, f"salver predict: another run is writing {output} now\n")
    other.release()
    assert predict(tmp_path / "in.jsonl", output)[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.jsonl"]


def test_what_is_not_there_any_more_is_not_made_up(tmp_path: Path, predict: Predict) -> None:
    """Of an unfinished output, parts were lost."""
    (tmp_path / "in.jsonl").write_text("{}\n" * 500)
    flags = ("--max_bad_rows=10", "--batch_size=8", "--overwrite")
    code, told = predict(tmp_path / "in.jsonl", tmp_path / "o.jsonl", *flags)
    assert code == 1
    assert told.endswith("; the same command without --overwrite goes on from here\n")
    bad_rows = tmp_path / "o.jsonl.bad_rows.jsonl.unfinished"
    bad_rows.write_bytes(bad_rows.read_bytes()[:100])
    code, told = predict(tmp_path / "in.jsonl", tmp_path / "o.jsonl", "--batch_size=8")
    assert code == 1
    assert "has 100 bytes, of" in told
    assert told.endswith("--overwrite begins anew\n")


def test_without_its_library_parquet_is_refused_in_a_line(
    tmp_path: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "in.jsonl", made_rows(5))
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    code, told = predict(tmp_path / "in.jsonl", tmp_path / "o.parquet", "--keep=id")
    assert code == 2
    assert told == "salver predict: Parquet files need pyarrow: pip install 'salver[parquet]'\n"


def test_a_run_goes_on_with_the_same_settings_alone(tmp_path: Path, predict: Predict) -> None:
    (tmp_path / "in.jsonl").write_text("{}\n" * 500)
    flags = ("--max_bad_rows=10", "--batch_size=8")
    assert predict(tmp_path / "in.jsonl", tmp_path / "o.jsonl", *flags)[0] == 1
    code, told = predict(tmp_path / "in.jsonl", tmp_path / "o.jsonl", "--batch_size=9")
    assert code == 2
    assert "is of a run with batch size 8, and this one has 9" in told
    assert predict(tmp_path / "in.jsonl", tmp_path / "o.jsonl", "--batch_size=8")[0] == 1
    assert len(bad_rows_of(tmp_path / "o.jsonl")) == 500


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (
            ["--dir={model}", "--url=localhost:1"],
            "name one model: a folder, or a server's with --url and --model",
        ),
        (
            ["--url=localhost:1"],
            "--url and --model go together: a server, and a model's name there",
        ),
        (["--dir={model}", "--model=m"], "for a server: name it with --url"),
        (["--dir={model}/nowhere"], "there is no such folder"),
        (["--dir={model}", "--version=2"], "has no version 2; there are: 1"),
        (["--dir={model}", "--output=o.txt"], "its name does not tell its format"),
        (["--dir={model}", "--output=no/o.jsonl"], "there is no folder"),
        (["--dir={model}", "--columns=x"], "write INPUT=COLUMN"),
        (["--dir={model}", "--columns=words=word"], "has no input 'words'; did you mean 'word'?"),
        (["--dir={model}", "--outputs=totals"], "has no output 'totals'; did you mean 'total'?"),
        (["--dir={model}", "--keep=idd"], "has no column 'idd'; did you mean 'id'?"),
        (["--dir={model}", "--keep=total"], "the model has an output of this name"),
        (["--dir={model}", "--columns=word=wort"], "has no column 'wort'; did you mean 'word'?"),
        (["--dir={model}", "--signature=serving"], "has no signature 'serving'; did you mean"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_anything_is_done(
    tmp_path: Path,
    model: Path,
    capfd: pytest.CaptureFixture[str],
    flags: list[str],
    error: str,
) -> None:
    write_rows(tmp_path / "in.csv", [{**row, "total": 1} for row in made_rows(3)])
    words = [f"--output={tmp_path / 'o.jsonl'}", "--allow_python_code"]
    words += [word.format(model=model) for word in flags]
    assert main(["predict", str(tmp_path / "in.csv"), *words]) == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert error in errors
    assert len(errors.splitlines()) == 1
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_damaged_input_ends_the_run_with_what_was_before_it(
    tmp_path: Path, predict: Predict
) -> None:
    write_rows(tmp_path / "in.tfrecord", made_rows(30))
    content = (tmp_path / "in.tfrecord").read_bytes()
    (tmp_path / "in.tfrecord").write_bytes(content[:-3])
    code, told = predict(tmp_path / "in.tfrecord", tmp_path / "o.jsonl", "--batch_size=4")
    assert code == 1
    assert "in.tfrecord: truncated record" in told
    assert len(told.splitlines()) == 1
