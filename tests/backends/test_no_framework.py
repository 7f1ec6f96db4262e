"""What is not needed is not imported; what is needed and not installed is named in one line."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import grpc
import pytest
import requests

from tests.backends.cases import CASES
from tests.backends.contract import is_there
from tests.backends.made import Made
from tests.backends.reloading import entry, reload
from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.running import RunningServer, write_config

PROGRAM = """
import sys
from pathlib import Path
import salver.server
from salver.backends.registry import Backends
from salver.core.backend import BackendOptions
assert "importlib.metadata" not in sys.modules, "entry points are read"
assert "salver.backends.pipeline" not in sys.modules
backends = Backends()
for name in list(backends.names):
    backend = backends.named(name)
    assert backend.name == name
    assert isinstance(backend.extra, str)
for platform, path in zip(sys.argv[2::2], sys.argv[3::2]):
    found = backends.of_folder(Path(path))
    assert found is not None and found.name == platform, (platform, path, found)
    names = [str(file.relative_to(path)) for file in Path(path).rglob("*")]
    assert found.lacking(names) is None, platform
    assert found.lacking([]) is not None, platform
    assert found.estimated_bytes(Path(path)) > 0, platform
    found.loader(path, BackendOptions(model_name="m"))
imported = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
assert not imported, imported
"""


def test_folders_are_told_apart_and_loaders_made_without_any_framework(
    all_made: list[Made],
) -> None:
    frameworks = ",".join({name for case in CASES.values() for name in case.frameworks})
    folders = [
        argument
        for made in all_made
        if made.case.platform != "tensorflow"
        for argument in (made.case.platform, str(made.version(1)))
    ]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, frameworks, *folders], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


HIDING = """
import os, sys

class Hiding:
    hidden = frozenset(os.environ["HIDDEN_MODULES"].split(","))

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *more):
        return None if name in self.hidden else self.finder.find_spec(name, *more)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
"""A `sitecustomize.py`: no Python that is started, worker processes included, finds the modules."""

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
    """A server in a Python without any framework, which was told to load a model of each."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDING)
    entries = {}
    for made in all_made:
        made.link(1, folder / made.name / "1")
        entries[made.name] = entry(made.name, folder / made.name, made.case.platform)
    flags = ["--allow_pickle", "--allow_python_code", "--max_num_load_retries=0"]
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        "HIDDEN_MODULES": ",".join({module for module, _ in MISSING.values()}),
    }
    # A model that cannot be loaded ends a server that starts, but none that runs.
    config = write_config(folder / "models.txt", [entries["python"]])
    with RunningServer(config, *flags, environment=environment) as server:
        with GrpcClient(server.grpc_address) as client:
            asked = [entries["python"], *(entries[name] for name in LACKING)]
            with pytest.raises(grpc.RpcError, match="did not become available"):
                reload(client, asked)
        yield server


def version_of(server: RunningServer, model: str) -> dict[str, object]:
    answer = requests.get(f"{server.url}/v1/models/{model}", timeout=TIMEOUT_S).json()
    [version] = answer["model_version_status"]
    return dict(version)


@pytest.mark.parametrize("name", LACKING)
def test_a_model_whose_framework_is_not_installed_says_which_extra_to_install(
    bare_server: RunningServer, name: str
) -> None:
    version = version_of(bare_server, name)
    assert version["state"] == "END"
    status = version["status"]
    assert isinstance(status, dict)
    assert status["error_code"] == "FAILED_PRECONDITION"
    message = str(status["error_message"])
    assert f"pip install 'salver[{MISSING[name][1]}]'" in message
    assert "\n" not in message
    assert name in message


def test_the_models_that_need_no_framework_are_served_all_the_same(
    bare_server: RunningServer,
) -> None:
    assert version_of(bare_server, "python")["state"] == "AVAILABLE"


def test_the_log_has_one_line_for_each_and_no_traceback(bare_server: RunningServer) -> None:
    for name in LACKING:
        line = f"salver[{MISSING[name][1]}]"
        bare_server.wait_for_line(line)
    assert not [line for line in bare_server.lines if "Traceback" in line]
