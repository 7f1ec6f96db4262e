"""TFLite models behind the whole server: `--prefer_tflite_model` and what belongs to it."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tests import tflite_models
from tests.grpc_client import TIMEOUT_S, GrpcClient, fill_spec
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
OTHERS = ("saved_model_half_plus_two_tflite", "saved_model_half_plus_two_tflite_with_sigdef")
SERVED = ("half_plus_two", "plain", "words", "slow", "examples", "matrix")
X = {"x": np.array([2.0], np.float32)}


def body_of(name: str, base_path: Path) -> str:
    return f'name: "{name}" base_path: "{base_path}" model_platform: "tensorflow"'


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, tflite_folder: Path, constant_template: Path
) -> Path:
    """A model with two versions: the second one has both kinds of files, the first no TFLite."""
    base_path = tmp_path_factory.mktemp("both")
    versions = VersionedModel(constant_template, base_path)
    versions.add(1)
    folder = versions.prepare(2)
    shutil.copy(tflite_models.file_of(tflite_folder, "half_plus_two"), folder)
    folder.rename(base_path / "2")
    return base_path


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tflite_folder: Path, both: Path
) -> Iterator[RunningServer]:
    bodies = [body_of(name, tflite_folder / name) for name in SERVED]
    bodies.append(body_of("both", both) + " model_version_policy { all {} }")
    if MODELS.exists():
        bodies += [body_of(name, MODELS / name) for name in OTHERS]
    path = tmp_path_factory.mktemp("tflite") / "models.txt"
    flags = ("--prefer_tflite_model=true", "--num_tflite_pools=2")
    with RunningServer(write_config(path, bodies), *flags) as running:
        for version in (1, 2):
            running.wait_for_line(f"loaded servable version {{name: both version: {version}}}")
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[GrpcClient]:
    with GrpcClient(server.grpc_address) as client:
        yield client


def post(server: RunningServer, model: str, verb: str, body: Any) -> Any:
    url = f"{server.url}/v1/models/{model}:{verb}"
    return requests.post(url, json=body, timeout=TIMEOUT_S).json()


def metadata(server: RunningServer, model: str) -> Any:
    response = requests.get(f"{server.url}/v1/models/{model}/metadata", timeout=TIMEOUT_S)
    return response.json()["metadata"]["signature_def"]["signature_def"]


@pytest.mark.skipif(not MODELS.exists(), reason="the models of others are not here")
@pytest.mark.parametrize("model", OTHERS)
@pytest.mark.parametrize("output_filter", [[], ["y"]], ids=["all", "filtered"])
@pytest.mark.parametrize("shape", [(1,), (1, 1)], ids=str)
def test_the_models_of_others_add_two_to_the_half(
    client: GrpcClient, model: str, output_filter: list[str], shape: tuple[int, ...]
) -> None:
    """What TensorFlow Serving's own end-to-end test asks of them."""
    inputs = {"x": np.full(shape, 2, np.float32)}
    response = client.response(model, inputs, output_filter=output_filter)

    assert list(response.outputs) == ["y"]
    assert list(response.outputs["y"].float_val) == [3.0]
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == list(shape)
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (model, "serving_default", 123)


@pytest.mark.skipif(not MODELS.exists(), reason="the models of others are not here")
@pytest.mark.parametrize(("model", "x"), [(OTHERS[0], "x"), (OTHERS[1], "tflite_input")])
def test_the_metadata_of_the_models_of_others_is_that_of_the_original(
    server: RunningServer, model: str, x: str
) -> None:
    shape = {
        "dim": [{"size": "1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert metadata(server, model) == {
        "serving_default": {
            "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": x}},
            "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "y"}},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
    }


@pytest.mark.skipif(not MODELS.exists(), reason="the models of others are not here")
@pytest.mark.parametrize("model", OTHERS)
def test_rest_predicts_in_rows_and_columns(server: RunningServer, model: str) -> None:
    values = [2.0, 3.0, 4.0]
    assert post(server, model, "predict", {"instances": values}) == {"predictions": [3, 3.5, 4]}
    assert post(server, model, "predict", {"inputs": values}) == {"outputs": [3, 3.5, 4]}


def test_a_version_with_the_file_is_served_by_it_and_others_by_their_saved_model(
    server: RunningServer, client: GrpcClient
) -> None:
    # The port is open as soon as one version of each model can answer.
    server.wait_for_line("Successfully loaded servable version {name: both version: 1}")
    assert client.answer("both", 8.0, version=2) == 6.0  # TFLite: half plus two
    assert client.answer("both", 8.0, version=1) == 1.0  # TensorFlow: its own number


def test_a_model_as_the_converter_leaves_it_is_asked_by_the_names_of_its_tensors(
    server: RunningServer, client: GrpcClient
) -> None:
    inputs = {"serving_default_x": np.array([2, 4, 6], np.float32)}

    outputs = client.predict("plain", inputs)

    assert {name: array.tolist() for name, array in outputs.items()} == {
        "PartitionedCall": [3.0, 4.0, 5.0]
    }
    assert post(server, "plain", "predict", {"instances": [2.0]}) == {"predictions": [3.0]}
    (info,) = metadata(server, "plain")["serving_default"]["inputs"].values()
    assert (info["name"], info["tensor_shape"]["dim"]) == (
        "serving_default_x:0", [{"size": "1", "name": ""}],
    )  # fmt: skip


def test_strings_go_in_and_out(server: RunningServer, client: GrpcClient) -> None:
    words = np.array([b"a", b"\0b", b"", b"\xff"], object)

    outputs = client.predict("words", {"serving_default_words": words})

    assert outputs["PartitionedCall"].tolist() == [[b"a", b"\0b"], [b"", b"\xff"]]
    body = {"inputs": {"serving_default_words": ["x", "y"]}}
    assert post(server, "words", "predict", body) == {"outputs": [["x", "y"]]}


def serialized_input(request: Any, *xs: float) -> Any:
    for x in xs:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(x)
    return request


def test_examples_are_classified_and_regressed(server: RunningServer, client: GrpcClient) -> None:
    regression = serialized_input(regression_pb2.RegressionRequest(), 2.0, 4.0)
    fill_spec(regression.model_spec, "examples", "regress")
    classification = serialized_input(classification_pb2.ClassificationRequest(), 2.0)
    fill_spec(classification.model_spec, "examples", "classify")

    regressed = client.prediction.Regress(regression, timeout=TIMEOUT_S).result.regressions
    classified = client.prediction.Classify(classification, timeout=TIMEOUT_S)

    assert [r.value for r in regressed] == [3.0, 4.0]
    ((chosen,),) = [c.classes for c in classified.result.classifications]
    assert (chosen.label, chosen.score) == ("none", 3.0)
    assert (classified.model_spec.signature_name, classified.model_spec.version.value) == (
        "classify", 1,
    )  # fmt: skip
    body = {"signature_name": "regress", "examples": [{"x": 2.0}, {"x": 6.0}]}
    assert post(server, "examples", "regress", body) == {"results": [3.0, 5.0]}
    body = {"signature_name": "classify", "examples": [{"x": 2.0, "name": "two"}]}
    assert post(server, "examples", "classify", body) == {"results": [[["two", 3.0]]]}


@pytest.mark.parametrize(
    ("inputs", "code", "details"),
    [
        pytest.param(
            {"serving_default_x": np.zeros((1, 3), np.float32)},
            grpc.StatusCode.INTERNAL,
            "Failed to allocate tensors",
            id="shape",
        ),
        pytest.param(
            {"serving_default_x": np.zeros((1, 4), np.int32)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "Expects arg[0] to be float but int32 is provided",
            id="type",
        ),
        pytest.param(
            {"serving_default_x": np.zeros([1] * 9, np.float32)},
            grpc.StatusCode.INTERNAL,
            "Failed to resize input tensor: serving_default_x:0 from ",
            id="axes",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_errors_and_the_next_request_is_answered(
    client: GrpcClient, inputs: dict[str, Any], code: grpc.StatusCode, details: str
) -> None:
    good = np.ones((2, 4), np.float32)
    with pytest.raises(grpc.RpcError) as raised:
        client.predict("matrix", {"serving_default_z": good, **inputs})

    assert raised.value.code() is code
    assert raised.value.details().startswith(details)
    answer = client.predict("matrix", {"serving_default_x": good, "serving_default_z": good})
    assert answer["PartitionedCall"].shape[0] == 2


def test_an_unknown_signature_is_refused(client: GrpcClient) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.predict("plain", X, signature="other")

    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == 'Serving signature key "other" not found.'


def test_small_requests_are_answered_while_large_ones_of_the_model_run(
    server: RunningServer, client: GrpcClient
) -> None:
    """More requests than interpreters, so that workers wait and the loop does not."""

    def ask(steps: int) -> int:
        inputs = {"serving_default_steps": np.array(steps, np.int32)}
        outputs = client.predict("slow", inputs)
        (done,) = (array for array in outputs.values() if array.dtype == np.int32)
        return int(done)

    for _ in range(20):  # until it is known to be quick
        assert ask(0) == 0
    with ThreadPoolExecutor(12) as threads:
        large = [threads.submit(ask, 200) for _ in range(8)]
        small = [threads.submit(ask, number % 3) for number in range(40)]
        other = [threads.submit(client.answer, "half_plus_two", float(n)) for n in range(40)]

        assert [run.result(TIMEOUT_S) for run in small] == [number % 3 for number in range(40)]
        assert [run.result(TIMEOUT_S) for run in other] == [n / 2 + 2 for n in range(40)]
        assert [run.result(TIMEOUT_S) for run in large] == [200] * 8


def test_without_the_flag_nothing_changes(both: Path) -> None:
    with (
        RunningServer(f"--model_base_path={both}", "--model_name=both") as server,
        GrpcClient(server.grpc_address) as client,
    ):
        assert client.answer("both", 8.0, version=2) == 2.0


def test_tflites_own_signatures_are_served_with_their_flag(tflite_folder: Path) -> None:
    flags = ("--prefer_tflite_model=true", "--tflite_signature_defs")
    path = f"--model_base_path={tflite_folder / 'two_graphs'}"
    with RunningServer(path, "--model_name=two", *flags) as server:
        body = {"signature_name": "double", "instances": [2.0, 3.0]}
        assert post(server, "two", "predict", body) == {"predictions": [4.0, 6.0]}
        assert sorted(metadata(server, "two")) == ["add", "double"]


def test_versions_come_and_go_and_a_broken_one_takes_nothing_down(
    tmp_path: Path, tflite_folder: Path
) -> None:
    def add(version: int, content: bytes) -> None:
        incoming = tmp_path / f"incoming-{version}"
        incoming.mkdir()
        (incoming / "model.tflite").write_bytes(content)
        incoming.rename(tmp_path / str(version))

    whole = tflite_models.file_of(tflite_folder, "half_plus_two").read_bytes()
    add(1, whole)
    flags = ("--prefer_tflite_model=true", "--max_num_load_retries=0")
    with (
        RunningServer(f"--model_base_path={tmp_path}", "--model_name=half", *flags) as server,
        GrpcClient(server.grpc_address) as client,
    ):
        add(2, whole[: len(whole) // 2])
        server.wait_for_line("Cannot build FlatBufferModel from buffer.")
        assert client.response("half", X).model_spec.version.value == 1
        add(3, whole)
        server.wait_for_line("Done unloading servable version {name: half version: 1}")
        assert client.response("half", X).model_spec.version.value == 3
        (broken,) = [
            status for status in client.status("half").model_version_status if status.version == 2
        ]
        assert broken.status.error_message == "Cannot build FlatBufferModel from buffer."
        assert broken.status.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_a_missing_runtime_is_one_line_at_the_start(tmp_path: Path, tflite_folder: Path) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("raise ModuleNotFoundError('hidden by the test')\n")
    server = RunningServer(
        f"--model_base_path={tflite_folder / 'plain'}",
        "--prefer_tflite_model=true",
        "--max_num_load_retries=0",
        environment={"PYTHONPATH": str(tmp_path)},
    )
    server.launch()
    try:
        assert server.wait_for_exit() == 255
    finally:
        server.kill()

    text = "TensorFlow Lite is not installed: model.tflite needs `pip install 'salver[tflite]'`"
    assert any(text in line for line in server.lines)
    assert not any("Traceback" in line for line in server.lines)
