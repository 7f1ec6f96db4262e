"""TFX's own Pusher, and `salver push` on the outputs of a TFX pipeline, to a server under load."""

import os
import subprocess
from pathlib import Path

import pytest

from salver.cli.main import main
from tests.process import tfx_push
from tests.process.load import Load
from tests.running import RunningServer
from tests.served_models import VersionedModel
from tests.tfx_environment import NotInstallable, tfx_python

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return tfx_python()
    except NotInstallable as error:
        pytest.skip(f"TFX cannot be installed: {error}")


def trained(model: VersionedModel, folder: Path, answer: float) -> Path:
    """The output of a Trainer, with a model that answers this number."""
    serving = folder / "Format-Serving"
    folder.mkdir()
    model.prepare(99, answer).rename(serving)
    (serving / "assets").mkdir()
    (serving / "assets" / "words.txt").write_text("one\ntwo\n")
    return folder


def pusher(python: Path, model: Path, base_path: Path, blessed: bool) -> str:
    """Where Pusher has pushed to."""
    done = subprocess.run(
        [python, tfx_push.__file__, model, base_path, f"{model}-pushed", str(int(blessed))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_what_tfx_pushes_is_served_and_fails_no_request(
    python: Path, model: VersionedModel, tmp_path: Path
) -> None:
    first = trained(model, tmp_path / "first", 7.0)
    second = trained(model, tmp_path / "second", 8.0)
    with (
        RunningServer(f"--model_base_path={model.base_path}") as server,
        Load(server) as load,
    ):
        load.wait_for(1.0)
        assert pusher(python, second, model.base_path, blessed=False) == ""
        assert os.listdir(model.base_path) == ["1"]
        pushed = Path(pusher(python, first, model.base_path, blessed=True))
        assert pushed.parent == model.base_path
        assert sorted(os.listdir(pushed)) == ["assets", "saved_model.pb"]
        load.wait_for(7.0)

        # The same outputs pushed by ours, on top of what Pusher has pushed.
        evaluated = tmp_path / "evaluated"
        evaluated.mkdir()
        (evaluated / "NOT_BLESSED").touch()
        arguments = ["push", str(second), str(model.base_path), "--blessing", str(evaluated)]
        assert main(arguments) == 1
        (evaluated / "NOT_BLESSED").rename(evaluated / "BLESSED")
        assert main([*arguments, "--url", server.url, "--model", "default"]) == 0
        load.wait_for(8.0)
        assert main(["rollback", str(model.base_path)]) == 0
        load.wait_for(7.0)
    assert load.failures == []
    assert set(load.answers) == {1.0, 7.0, 8.0}
    assert len([name for name in os.listdir(model.base_path) if name.isdecimal()]) == 2
