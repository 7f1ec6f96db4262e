"""`--refuse_unsafe_models`: what a scan finds is not loaded, and all else is served on."""

import pickle
from collections.abc import Iterator

import pytest

from tests.process.asking import LOADED, NO_RETRIES, predict, states, status_of
from tests.running import RunningServer
from tests.served_models import VersionedModel

REFUSED = "cannot be loaded: FAILED_PRECONDITION"
EXCEPTIONS = "--unsafe_model_exceptions=python-file:known.py"


@pytest.fixture(params=["none", "all"], ids=["in the server", "in worker processes"])
def server(request: pytest.FixtureRequest, model: VersionedModel) -> Iterator[RunningServer]:
    flags = [NO_RETRIES, EXCEPTIONS, f"--isolate_models={request.param}", "--isolated_workers=1"]
    base_path = f"--model_base_path={model.base_path}"
    with RunningServer(base_path, "--refuse_unsafe_models", *flags) as server:
        yield server


def test_a_version_with_findings_is_refused_and_others_are_served_on(
    server: RunningServer, model: VersionedModel
) -> None:
    folder = model.prepare(2)
    (folder / "more.pkl").write_bytes(pickle.dumps(eval))
    folder.rename(model.base_path / "2")
    server.wait_for_line(f"Servable {{name: default version: 2}} {REFUSED}")
    assert states(server) == {2: "END", 1: "AVAILABLE"}
    code, message = status_of(server, 2)
    assert code == "FAILED_PRECONDITION"
    assert "runs-code: more.pkl: byte " in message
    assert "the pickle imports builtins.eval" in message
    assert f"`salver scan {model.base_path}/2`" in message
    assert predict(server) == {"predictions": [1.0]}

    folder = model.prepare(3)
    (folder / "known.py").write_text("x = 1")
    folder.rename(model.base_path / "3")
    server.wait_for_line(f"{LOADED} {{name: default version: 3}}")
    assert predict(server) == {"predictions": [3.0]}
