"""The page of `salver run`: its commands run and print what it says, its flags are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salver.cli.main import main
from salver.errors import InvalidArgument
from salver.trial.expressions import evaluated
from tests.running import RunningServer
from tests.served_models import export

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "run.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
SHOWN = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, saved_model_folder: Path) -> Path:
    """What the commands name: models, arrays, a request, a table, images."""
    folder = tmp_path_factory.mktemp("page")
    models = {"half_plus_two": "half_plus_two_2", "several": "several", "digits": "keras"}
    (folder / "models").mkdir()
    for name, made in {**models, "turns_nan": "turns_nan"}.items():
        (folder / "models" / name).symlink_to(saved_model_folder / made)
    export("examples", folder / "models" / "ages" / "1")
    np.savez(folder / "arrays.npz", m=np.ones((2, 3)), other=np.zeros(1))
    np.save(folder / "vector.npy", np.arange(3))
    body = '{"inputs": {"matrix": [[1, 2]], "vector": [3, 4], "label": "done"}}'
    (folder / "request.json").write_text(body)
    (folder / "rows.csv").write_text("x\n1.0\n2.5\n")
    for name in ("seven", "nine"):
        Image.new("RGB", (30, 20), "white").save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    model = folder / "models" / "half_plus_two"
    with RunningServer("--model_name=half_plus_two", f"--model_base_path={model}") as running:
        yield running


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(
    command: str,
    folder: Path,
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    command = command.replace("http://localhost:8501", server.url)
    program, *words = shlex.split(command.replace("localhost:8500", server.grpc_address))
    assert program == "salver"

    code = main(words)

    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "Result for output key " in shown.out
    if command == COMMANDS[0]:
        assert shown.out == SHOWN[0]
    if "--debug" in words:
        assert shown.out.startswith(SHOWN[1])
    if "--outdir" in words:
        assert np.load(folder / "out" / "output_0.npy").shape == (2, 4)


def test_the_page_names_every_flag_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    flags = set(re.findall(r"--[a-z_]+", capsys.readouterr().out)) - {"--help"}
    others = {"--worker", "--init_tpu", "--use_tfrt"}
    assert set(re.findall(r"--[a-z_]+", PAGE)) - others == flags


def test_the_functions_that_the_page_lists_exist() -> None:
    lists = re.search(r"### Expressions\n(.*?)## Outputs", PAGE, re.DOTALL)
    assert lists is not None
    named = re.findall(r"`(np\.[a-z_.\d ]+)`", lists[1].replace("\n  ", " "))
    names = {name for group in named for name in group.split()}
    assert len(names) > 75
    for name in names:
        plain = name.removeprefix("np.").removeprefix("random.")
        place = "np.random" if plain in RANDOM else "np"
        if plain in CONSTANTS:
            assert evaluated(name).shape == ()
        else:
            with pytest.raises(InvalidArgument, match=f"^{plain} takes "):
                evaluated(f"{place}.{plain}(nonsense=1)")


RANDOM = (
    "rand", "randn", "randint", "random", "normal", "uniform", "standard_normal", "permutation",
    "choice",
)  # fmt: skip
CONSTANTS = ("pi", "e", "inf", "nan")
