"""How commands end, and what they say when they were not used as they should be."""

import subprocess
import sys

import pytest

from salver.cli.command_line import ended
from salver.cli.main import COMMANDS, main
from salver.errors import InternalError, NotFound, Unavailable


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["shwo"], "salver: there is no command 'shwo'; did you mean 'show'?"),
        (
            ["run", "--inputs_exprs", "x"],
            "salver run: there is no flag --inputs_exprs; did you mean --input_exprs?; "
            "see salver run --help",
        ),
        (["show", "a", "b"], "salver show: one argument too many: b; see salver show --help"),
        (
            ["predict", "rows.csv"],
            "salver predict: the following arguments are required: --output; "
            "see salver predict --help",
        ),
        (
            ["predict", "rows.csv", "--output=a", "--batch_size=many"],
            "salver predict: argument --batch_size: 'many' is no whole number from 1 on; "
            "see salver predict --help",
        ),
        (
            ["push", "a", "b", "--rtol=-1"],
            "salver push: argument --rtol: '-1' is no number from 0 on; see salver push --help",
        ),
        (
            ["rollback", "a", "--url=localhost:1"],
            "salver rollback: --url and --model go together: a server, and a model's name there",
        ),
        (
            ["snippets"],
            "salver snippets: --url and --model say which server, and which of its models",
        ),
        (
            ["run", "--url=bogus://x", "--model=m", "--input_exprs=x=1"],
            "salver run: the address 'bogus://x' begins with none of grpc://, grpcs://, http://, "
            "https://",
        ),
    ],
)
def test_a_wrong_use_is_one_line_and_2(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"{line}\n")


@pytest.mark.parametrize("command", ["show", "run", "snippets", "explain-batching"])
def test_a_server_that_is_not_there_is_one_line_and_1(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--input_exprs=x=1"] if command == "run" else []
    for url in ("localhost:1", "http://localhost:1"):
        assert main([command, f"--url={url}", "--model=m", *data]) == 1
        line = f"salver {command}: {url} cannot be reached: Connection refused\n"
        assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NotFound("no such\n  thing"), 2, "salver x: no such thing"),
        (Unavailable("away"), 1, "salver x: away"),
        (InternalError("broken"), 1, "salver x: broken"),
        (PermissionError(13, "Permission denied", "/a"), 2, "salver x: /a: Permission denied"),
        (OSError(28, "No space left on device"), 1, "salver x: No space left on device"),
        (KeyboardInterrupt(), 130, "salver x: interrupted"),
    ],
)
def test_an_error_is_one_line_and_its_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert ended("salver x", fail) == code
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"serve"}))
def test_flags_are_called_the_same_everywhere(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    for flag, other in (
        ("--saved_model_tags", "--tag_set"),
        ("--signature ", "--signature_def"),
        ("--url URL", "--model NAME"),
        ("--ca_file", "--client_key"),
        ("--allow_pickle", "--allow_python_code"),
    ):
        assert (flag in text) == (other in text)


def test_who_reads_may_stop() -> None:
    script = (
        "import sys; from salver.cli.command_line import ended\n"
        "def run():\n"
        "    for _ in range(100_000): print('line')\n"
        "    return 0\n"
        "raise SystemExit(ended('salver x', run))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
