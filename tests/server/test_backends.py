"""Backends behind the whole server: how they are chosen, and what travels with a version."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.grpc_client import TIMEOUT_S
from tests.process.asking import LOADED, NO_RETRIES, UNLOADED
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

MODEL = """\
from typing import Annotated
import numpy as np
from numpy.typing import NDArray

Floats = Annotated[NDArray[np.float32], (None,)]

class Model:
    def predict(self, x: Floats) -> Floats:
        return x * FACTOR
"""
PIPELINE = """\
from typing import Annotated
import numpy as np
from numpy.typing import NDArray

def before(word: Annotated[NDArray[np.str_], (None,)]):
    return np.array([len(each) for each in word]) * FACTOR
"""
CONSENT = "--allow_python_code"


def write(folder: Path, name: str, source: str, factor: int) -> None:
    """A version folder that comes whole, as one that is renamed into its place does."""
    place = folder.parent / f"preparing_{folder.name}"
    place.mkdir(parents=True)
    (place / name).write_text(f"{source}\nFACTOR = {factor}\n")
    place.rename(folder)


def predict(server: RunningServer, name: str, *instances: object) -> Any:
    url = f"{server.url}/v1/models/{name}:predict"
    return requests.post(url, json={"instances": instances}, timeout=TIMEOUT_S).json()


def states(server: RunningServer, name: str) -> Any:
    url = f"{server.url}/v1/models/{name}"
    return requests.get(url, timeout=TIMEOUT_S).json()["model_version_status"]


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    write(tmp_path / "model" / "1", "model.py", MODEL, 3)
    return tmp_path / "model"


def test_without_a_config_the_folder_of_each_version_tells(
    base_path: Path, constant_template: Path
) -> None:
    with RunningServer(f"--model_base_path={base_path}", CONSENT, NO_RETRIES) as server:
        assert predict(server, "default", 2.0, 4.0) == {"predictions": [6.0, 12.0]}

        VersionedModel(constant_template, base_path).add(2)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")
        assert predict(server, "default", 5.0) == {"predictions": [2.0]}

        write(base_path / "3", "model.py", MODEL, 5)
        server.wait_for_line(f"{UNLOADED} {{name: default version: 2}}")
        assert predict(server, "default", 2.0) == {"predictions": [10.0]}


@pytest.mark.parametrize("platform", ["python", "auto"])
def test_a_config_names_the_backend_or_has_it_found(
    base_path: Path, tmp_path: Path, platform: str
) -> None:
    body = f'name: "m" base_path: "{base_path}" model_platform: "{platform}"'
    with RunningServer(write_config(tmp_path / "models.txt", [body]), CONSENT) as server:
        assert predict(server, "m", 2.0) == {"predictions": [6.0]}


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, constant_template: Path
) -> Iterator[RunningServer]:
    """A server without consent to code, whose every model but `good` cannot be loaded."""
    folder = tmp_path_factory.mktemp("several")
    for name in ("no_consent", "misnamed"):
        write(folder / name / "1", "model.py", MODEL, 1)
    (folder / "nothing" / "1").mkdir(parents=True)
    (folder / "nothing" / "1" / "notes.txt").touch()
    for name in ("good", "piped"):
        VersionedModel(constant_template, folder / name).add(1)
    (folder / "piped" / "1" / "pipeline.py").write_text(PIPELINE)
    platforms = {
        "no_consent": "python", "misnamed": "tflite", "nothing": "auto", "good": "auto",
        "piped": "tensorflow",
    }  # fmt: skip
    bodies = [
        f'name: "{name}" base_path: "{folder / name}" model_platform: "{platform}"'
        for name, platform in platforms.items()
    ]
    path = folder / "models.txt"
    first = write_config(path, [body for body in bodies if '"good"' in body])
    flags = (first, NO_RETRIES, "--model_config_file_poll_wait_seconds=1")
    with RunningServer(*flags) as server:
        write_config(path, bodies)
        for name in platforms:
            if name != "good":
                server.wait_for_line(f"Servable {{name: {name} version: 1}} cannot be loaded")
        yield server


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("no_consent", "PERMISSION_DENIED", "--allow_python_code allows it"),
        ("piped", "PERMISSION_DENIED", "pipeline.py is code that came with the version"),
        ("misnamed", "NOT_FOUND", "model.tflite; No such file or directory"),
        ("nothing", "NOT_FOUND", "does not appear to contain a SavedModel bundle"),
    ],
)
def test_what_cannot_be_loaded_says_why_and_the_rest_is_served(
    several: RunningServer, name: str, code: str, message: str
) -> None:
    ((status,),) = [[entry["status"] for entry in states(several, name)]]

    assert status["error_code"] == code
    assert message in status["error_message"]
    assert predict(several, "good", 1.0) == {"predictions": [1.0]}


def test_an_unknown_platform_is_refused_in_the_words_of_the_original(
    base_path: Path, tmp_path: Path
) -> None:
    body = f'name: "m" base_path: "{base_path}" model_platform: "perl"'
    server = RunningServer(write_config(tmp_path / "models.txt", [body]))
    server.launch()
    try:
        assert server.wait_for_exit() == 255
    finally:
        server.kill()
    assert (
        "Failed to start server. Error: INVALID_ARGUMENT: "
        "Model m requests unsupported platform perl" in server.lines
    )


def test_a_pipeline_is_swapped_with_its_version(tmp_path: Path, constant_template: Path) -> None:
    base_path = tmp_path / "model"
    write(base_path / "1", "model.py", MODEL, 10)
    with RunningServer(f"--model_base_path={base_path}", CONSENT) as server:
        assert predict(server, "default", 2.0) == {"predictions": [20.0]}
        for version, factor in ((2, 100), (3, 1000)):
            place = base_path / "next"
            shutil.copytree(base_path / "1", place)
            (place / "pipeline.py").write_text(f"{PIPELINE}\nFACTOR = {factor}\n")
            place.rename(base_path / str(version))
            server.wait_for_line(f"{LOADED} {{name: default version: {version}}}")
            server.wait_for_line(f"{UNLOADED} {{name: default version: {version - 1}}}")

            assert predict(server, "default", "abc") == {"predictions": [30.0 * factor]}
        url = f"{server.url}/v1/models/default/metadata"
        definition = requests.get(url, timeout=TIMEOUT_S).json()["metadata"]["signature_def"]
        signature = definition["signature_def"]["serving_default"]
        assert {name: info["dtype"] for name, info in signature["inputs"].items()} == {
            "word": "DT_STRING"
        }
