"""Models whose base paths are URIs, served over gRPC and REST as local ones are."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests import saved_models
from tests.blob_storage import PROGRAM, BlobStorage
from tests.cloud_storage import CloudStorage
from tests.grpc_client import GrpcClient
from tests.object_storage import ObjectStorage
from tests.running import RunningServer, write_config

LIMIT_S = 60.0
MODELS = ("half_plus_two_1", "keras", "lookup")
"""With variables of both kinds, and with assets."""
SCHEMES = (
    "s3",
    "gs",
    "http",
    pytest.param("az", marks=pytest.mark.skipif(PROGRAM is None, reason="Azurite is not there")),
)
CODE = {
    "model.py": """
from typing import Annotated
import numpy as np
from numpy.typing import NDArray
from .scaling import FACTOR

Floats = Annotated[NDArray[np.float32], (None,)]

class Model:
    def predict(self, x: Floats) -> Floats:
        return x * FACTOR
""",
    "scaling.py": "FACTOR = 3\n",
    "pipeline.py": """
from typing import Annotated
import numpy as np
from numpy.typing import NDArray

def before(word: Annotated[NDArray[np.str_], (None,)]):
    return np.array([len(each) for each in word])
""",
}
"""A version of another framework: code, and files that it takes along."""


@pytest.fixture(scope="module")
def folder(saved_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies on each storage: `bucket/models/NAME/1/...`, and one model that is no good."""
    root = tmp_path_factory.mktemp("storage")
    for name in MODELS:
        shutil.copytree(saved_model_folder / name / "1", root / "bucket" / "models" / name / "1")
    place = root / "bucket" / "models" / "code" / "1"
    place.mkdir(parents=True)
    for name, content in CODE.items():
        (place / name).write_text(content)
    return root


@contextmanager
def http_server(folder: Path) -> Iterator[str]:
    """Shows a folder's contents as pages with links."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Every model from every storage, as SCHEME-NAME."""
    place = tmp_path_factory.mktemp("remote")
    with ExitStack() as stack:
        s3 = stack.enter_context(ObjectStorage())
        s3.bucket("bucket").upload(folder / "bucket", "")
        cloud = stack.enter_context(CloudStorage(folder))
        pages = stack.enter_context(http_server(folder))
        roots = {"s3": "s3://bucket", "gs": "gs://bucket", "http": f"{pages}/bucket"}
        environment = {**s3.environment, **cloud.environment}
        if PROGRAM is not None:
            blobs = stack.enter_context(BlobStorage(place / "azurite"))
            blobs.upload(folder / "bucket", "bucket")
            roots["az"] = "az://bucket"
            environment |= blobs.environment
        bodies = [
            f'name: "{scheme}-{name}" base_path: "{root}/models/{name}" '
            'model_platform: "tensorflow"'
            for scheme, root in roots.items()
            for name in MODELS
        ]
        bodies += [
            f'name: "{scheme}-code" base_path: "{root}/models/code" model_platform: "{platform}"'
            for (scheme, root), platform in zip(
                roots.items(), cycle(("auto", "python")), strict=False
            )
        ]
        yield stack.enter_context(
            RunningServer(
                write_config(place / "models.txt", bodies),
                f"--model_cache_dir={place}/cache",
                "--max_num_load_retries=0",
                "--allow_python_code",
                environment=environment,
            )
        )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", MODELS)
def test_answers_over_grpc_are_those_of_tensorflow(
    server: RunningServer, saved_model_folder: Path, scheme: str, name: str
) -> None:
    with GrpcClient(server.grpc_address) as client:
        for signature, (inputs, outputs) in saved_models.answers_of(
            saved_model_folder, name
        ).items():
            answer = client.predict(f"{scheme}-{name}", inputs, signature=signature)
            for alias, expected in outputs.items():
                if expected.dtype.kind == "f":
                    np.testing.assert_allclose(answer[alias], expected, rtol=1e-5)
                else:
                    np.testing.assert_array_equal(answer[alias], expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_answers_over_rest_too(server: RunningServer, scheme: str) -> None:
    url = f"{server.url}/v1/models/{scheme}-half_plus_two_1"
    answer = requests.post(f"{url}:predict", json={"instances": [1.0, 2.0]}, timeout=LIMIT_S)
    assert answer.json() == {"predictions": [2.5, 3.0]}
    status = requests.get(url, timeout=LIMIT_S).json()["model_version_status"]
    assert [(entry["version"], entry["state"]) for entry in status] == [("1", "AVAILABLE")]
    metadata = requests.get(f"{url}/metadata", timeout=LIMIT_S).json()
    assert metadata["model_spec"]["version"] == "1"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_of_another_framework_is_copied_with_all_its_files(
    server: RunningServer, scheme: str
) -> None:
    url = f"{server.url}/v1/models/{scheme}-code:predict"
    answer = requests.post(url, json={"instances": ["one", "three"]}, timeout=LIMIT_S)
    assert answer.json() == {"predictions": [9.0, 15.0]}


def test_an_object_that_arrives_damaged_is_an_error_of_its_version(
    folder: Path, tmp_path: Path
) -> None:
    with CloudStorage(folder) as cloud:
        cloud.damaged = True
        server = RunningServer(
            "--model_base_path=gs://bucket/models/keras",
            f"--model_cache_dir={tmp_path}/cache",
            "--max_num_load_retries=0",
            environment=cloud.environment,
        )
        server.launch()
        try:
            assert server.wait_for_exit(LIMIT_S) == 255
        finally:
            server.kill()
    (last,) = (line for line in server.lines if line.startswith("Failed to start server"))
    assert "due to error: DATA_LOSS: gs://bucket/models/keras/1/" in last
    assert "arrived damaged: its checksum is another" in last
