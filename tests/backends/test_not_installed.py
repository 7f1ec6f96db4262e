"""An installation without an extra: the real server says what to install, in one line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests

from tests.backends.cases import CASES
from tests.backends.contract import is_there
from tests.backends.made import Made
from tests.grpc_client import TIMEOUT_S
from tests.running import RunningServer, wait_until, write_config

HIDING = """
import os, sys

class Hidden:
    names = frozenset(os.environ["HIDDEN_MODULES"].split(","))

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
"""A `sitecustomize.py`: every Python that is started, worker processes too, lacks the modules."""

# The module that a load misses first, and the extra that has it.
MISSING = {
    "tensorflow": ("tensorflow", "tensorflow"),
    "tflite": ("ai_edge_litert", "tflite"),
    "keras": ("keras", "keras"),
    "onnx": ("onnxruntime", "onnx"),
    "sklearn": ("sklearn", "sklearn"),
    "xgboost": ("xgboost", "xgboost"),
    "lightgbm": ("lightgbm", "lightgbm"),
    "catboost": ("catboost", "catboost"),
    "torch_export": ("torch", "torch"),
    "torch_script": ("torch", "torch"),
    "pmml": ("jpype", "pmml"),
    "mojo": ("jpype", "mojo"),
    "mlflow": ("yaml", "mlflow"),
}
LACKING = [name for name in MISSING if is_there(CASES[name])]


@pytest.fixture(scope="module")
def bare_server(
    tmp_path_factory: pytest.TempPathFactory, all_made: Sequence[Made]
) -> Iterator[RunningServer]:
    """A server of all models in a Python without any of their frameworks."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDING)
    listed = []
    for made in all_made:
        if made.name in MISSING or made.name == "python":
            made.link(1, folder / made.name / "1")
            listed.append(f'name: "{made.name}" base_path: "{folder / made.name}"')
    flags = ["--allow_pickle", "--allow_python_code", "--max_num_load_retries=0"]
    environment = {
        "PYTHONPATH": f"{folder}:{Path(__file__).resolve().parents[2] / 'src'}",
        "HIDDEN_MODULES": ",".join({module for module, _ in MISSING.values()}),
    }
    config = write_config(folder / "models.txt", listed)
    with RunningServer(config, *flags, environment=environment) as server:
        yield server


def version_of(server: RunningServer, model: str) -> dict[str, object]:
    answer = requests.get(f"{server.url}/v1/models/{model}", timeout=TIMEOUT_S).json()
    [version] = answer["model_version_status"]
    return dict(version)


@pytest.mark.parametrize("name", LACKING)
def test_a_model_whose_framework_is_not_installed_says_which_extra_to_install(
    bare_server: RunningServer, name: str
) -> None:
    wait_until(lambda: version_of(bare_server, name)["state"] == "END", f"{name} has ended")
    status = version_of(bare_server, name)["status"]
    assert isinstance(status, dict)
    assert status["error_code"] == "FAILED_PRECONDITION"
    message = str(status["error_message"])
    assert f"pip install 'salver[{MISSING[name][1]}]'" in message
    assert "\n" not in message
    assert name in message


def test_the_models_that_need_no_framework_are_served_all_the_same(
    bare_server: RunningServer,
) -> None:
    wait_until(
        lambda: version_of(bare_server, "python")["state"] == "AVAILABLE", "python is available"
    )


def test_the_log_has_one_line_for_each_and_no_traceback(bare_server: RunningServer) -> None:
    for name in LACKING:
        line = f"salver[{MISSING[name][1]}]"
        bare_server.wait_for_line(line)
    assert not [line for line in bare_server.lines if "Traceback" in line]
