"""TensorFlow Serving's published end-to-end test, entry by entry, with real clients.

The server is started with the flags of its harness, and REST is spoken by `urllib`, which calls
every body a form. Where a model of theirs is needed and not there, the test is skipped.
"""

import importlib.util
import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tests.grpc_client import TIMEOUT_S, GrpcClient, fill_spec
from tests.running import RunningServer
from tests.server import published_models

THEIRS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
TWO, TWO_TF2, THREE = (
    f"saved_model_half_plus_{name}" for name in ("two_cpu", "two_tf2_cpu", "three")
)
X = {"x": np.array([2.0], np.float32)}
VERSION = 123
RELOAD_LIMIT_S = 30
with_their_models = pytest.mark.skipif(not THEIRS.exists(), reason="their models are not here")


def harness_flags(folder: Path) -> list[str]:
    return [
        "--rest_api_timeout_in_ms=5000",
        f"--grpc_socket_path={folder / 'grpc.sock'}",
        "--grpc_channel_arguments=grpc.so_reuseaddr=1",
    ]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningServer]]:
    """Starts a server of one base path, once for each."""
    running: dict[Path, RunningServer] = {}

    def start(base_path: Path, *flags: str) -> RunningServer:
        if base_path not in running:
            folder = tmp_path_factory.mktemp("published")
            single = ["--model_name=default", f"--model_base_path={base_path}"]
            server = RunningServer(*harness_flags(folder), *single, *flags)
            running[base_path] = server.__enter__()
        return running[base_path]

    yield start
    for server in running.values():
        server.__exit__()


@pytest.fixture
def two(serve: Callable[..., RunningServer]) -> RunningServer:
    return serve(THEIRS / TWO)


@pytest.fixture(params=[TWO, TWO_TF2])
def any_two(serve: Callable[..., RunningServer], request: pytest.FixtureRequest) -> RunningServer:
    return serve(THEIRS / request.param)


@pytest.fixture
def made(
    serve: Callable[..., RunningServer], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., RunningServer]:
    """Starts a server of a model that is made for it."""

    def start(name: str, *flags: str) -> RunningServer:
        base_path = tmp_path_factory.mktemp(name)
        published_models.export(name, base_path / "00000123")
        return serve(base_path, *flags)

    return start


def example() -> Any:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[2.0]))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature}))


def verify_predict(
    client: GrpcClient,
    expected: float,
    model: str = "default",
    signature: str = "",
    inputs: Any = None,
    output: str = "y",
) -> None:
    """With and without a filter, one float comes back, and the spec says who gave it."""
    for output_filter in ([], [output]):
        response = client.response(
            model, inputs or X, signature=signature, output_filter=output_filter
        )
        assert list(response.outputs[output].float_val) == [expected]
        assert response.outputs[output].dtype == tf.float32.as_datatype_enum
        spec = response.model_spec
        name = signature or "serving_default"
        assert (spec.name, spec.signature_name, spec.version.value) == (model, name, VERSION)


def ask(server: RunningServer, path: str, body: Any = None) -> Any:
    """The answer over REST; a POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{server.url}{path}", data, TIMEOUT_S) as response:
        content: bytes = response.read()
    return json.loads(content) if content[:1] == b"{" else content.decode()


# --- gRPC -------------------------------------------------------------------------------


@with_their_models
def test_get_model_status(two: RunningServer) -> None:
    with GrpcClient(two.grpc_address) as client:
        (status,) = client.status("default").model_version_status
    assert (status.version, status.status.error_code) == (VERSION, 0)


@with_their_models
def test_get_model_metadata(two: RunningServer) -> None:
    with GrpcClient(two.grpc_address) as client:
        response = client.metadata("default")
    assert (response.model_spec.name, response.model_spec.version.value) == ("default", VERSION)
    assert list(response.metadata) == ["signature_def"]


def require_spec(spec: Any, signature: str) -> None:
    assert (spec.name, spec.signature_name, spec.version.value) == ("default", signature, VERSION)


@with_their_models
def test_classify(any_two: RunningServer) -> None:
    request = classification_pb2.ClassificationRequest()
    fill_spec(request.model_spec, "default", "classify_x_to_y")
    request.input.example_list.examples.append(example())
    with GrpcClient(any_two.grpc_address) as client:
        response = client.prediction.Classify(request, timeout=TIMEOUT_S)
    (classification,) = response.result.classifications
    (entry,) = classification.classes
    assert entry.score == 3.0
    require_spec(response.model_spec, "classify_x_to_y")


@with_their_models
def test_regress(any_two: RunningServer) -> None:
    request = regression_pb2.RegressionRequest()
    fill_spec(request.model_spec, "default", "regress_x_to_y")
    request.input.example_list.examples.append(example())
    with GrpcClient(any_two.grpc_address) as client:
        response = client.prediction.Regress(request, timeout=TIMEOUT_S)
    (regression,) = response.result.regressions
    assert regression.value == 3.0
    require_spec(response.model_spec, "regress_x_to_y")


@with_their_models
def test_multi_inference(any_two: RunningServer) -> None:
    request = inference_pb2.MultiInferenceRequest()
    request.input.example_list.examples.append(example())
    for method in ("regress", "classify"):
        task = request.tasks.add()
        fill_spec(task.model_spec, "default", f"{method}_x_to_y")
        task.method_name = f"tensorflow/serving/{method}"
    with GrpcClient(any_two.grpc_address) as client:
        response = client.prediction.MultiInference(request, timeout=TIMEOUT_S)
    regression, classification = response.results
    assert regression.regression_result.regressions[0].value == 3.0
    assert classification.classification_result.classifications[0].classes[0].score == 3.0
    require_spec(regression.model_spec, "regress_x_to_y")
    require_spec(classification.model_spec, "classify_x_to_y")


@with_their_models
def test_predict(any_two: RunningServer) -> None:
    with GrpcClient(any_two.grpc_address) as client:
        verify_predict(client, 3.0)


@with_their_models
def test_predict_over_a_unix_socket(two: RunningServer) -> None:
    (path,) = (flag.partition("=")[2] for flag in two.flags if "grpc_socket_path" in flag)
    with GrpcClient(f"unix:{path}") as client:
        verify_predict(client, 3.0)


@with_their_models
def test_readiness_is_told_by_a_missing_model(two: RunningServer) -> None:
    with GrpcClient(two.grpc_address) as client, pytest.raises(grpc.RpcError) as raised:
        client.predict("intentionally_missing_model", {})
    assert "Servable" in raised.value.details()


# --- configs ----------------------------------------------------------------------------


def config_of(*models: tuple[str, str]) -> str:
    """In the form of their template: with colons and commas."""
    entries = "".join(
        f'config: {{ name: "{name}", base_path: "{THEIRS / folder}", '
        'model_platform: "tensorflow" },\n'
        for name, folder in models
    )
    return f"model_config_list: {{ {entries} }}"


@with_their_models
def test_good_model_config(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text(config_of(("half_plus_two", TWO), ("half_plus_three", THREE)))
    flags = [*harness_flags(tmp_path), f"--model_config_file={path}"]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        verify_predict(client, 3.0, "half_plus_two")
        verify_predict(client, 4.0, "half_plus_three")


def test_bad_model_config(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text("improperly formatted file")
    server = RunningServer(f"--model_config_file={path}")
    server.launch()
    try:
        assert server.wait_for_exit() == 255
        message = "Error parsing text-format tensorflow.serving.ModelServerConfig"
        assert any(message in line for line in server.lines)
    finally:
        server.kill()


@with_their_models
def test_model_config_reload(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text(config_of(("half_plus_two", TWO)))
    flags = [f"--model_config_file={path}", "--model_config_file_poll_wait_seconds=1"]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        verify_predict(client, 3.0, "half_plus_two")
        path.write_text(config_of(("half_plus_three", THREE)))
        server.wait_for_line(
            "Successfully loaded servable version {name: half_plus_three version: 123}",
            RELOAD_LIMIT_S,
        )
        server.wait_for_line("Done unloading servable version {name: half_plus_two version: 123}")
        verify_predict(client, 4.0, "half_plus_three")
        with pytest.raises(grpc.RpcError, match="Servable not found"):
            client.response("half_plus_two", X)


@with_their_models
def test_model_config_reload_with_zero_poll_period(tmp_path: Path) -> None:
    path = tmp_path / "models.txt"
    path.write_text(config_of(("half_plus_two", TWO)))
    flags = [f"--model_config_file={path}", "--model_config_file_poll_wait_seconds=0"]
    polling = [f"--model_config_file={path}", "--model_config_file_poll_wait_seconds=1"]
    with RunningServer(*flags) as server, RunningServer(*polling) as other:
        path.write_text(config_of(("half_plus_three", THREE)))
        # By then another server has seen it.
        other.wait_for_line(
            "Successfully loaded servable version {name: half_plus_three version: 123}"
        )
        with GrpcClient(server.grpc_address) as client:
            verify_predict(client, 3.0, "half_plus_two")


@with_their_models
def test_good_grpc_channel_arguments(tmp_path: Path) -> None:
    flags = [
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb,"
        "grpc.so_reuseaddr=1",
        "--model_name=default",
        f"--model_base_path={THEIRS / TWO}",
    ]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        verify_predict(client, 3.0)


# --- REST -------------------------------------------------------------------------------


@with_their_models
def test_classify_by_rest(any_two: RunningServer) -> None:
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}
    assert ask(any_two, "/v1/models/default:classify", body) == {"results": [[["", 3.0]]]}


@with_their_models
def test_regress_by_rest(any_two: RunningServer) -> None:
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}
    assert ask(any_two, "/v1/models/default:regress", body) == {"results": [3.0]}


@with_their_models
def test_predict_by_rest(any_two: RunningServer) -> None:
    body = {"instances": [2.0, 3.0, 4.0]}
    assert ask(any_two, "/v1/models/default:predict", body) == {"predictions": [3.0, 3.5, 4.0]}


@with_their_models
def test_predict_by_rest_in_columns(any_two: RunningServer) -> None:
    body = {"inputs": [2.0, 3.0, 4.0]}
    assert ask(any_two, "/v1/models/default:predict", body) == {"outputs": [3.0, 3.5, 4.0]}


@with_their_models
def test_get_status_by_rest(two: RunningServer) -> None:
    assert ask(two, "/v1/models/default") == {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


@with_their_models
def test_get_model_metadata_by_rest(any_two: RunningServer) -> None:
    (folder,) = (
        flag.partition("=")[2] for flag in any_two.flags if flag.startswith("--model_base_path")
    )
    content = Path(folder, "00000123", "saved_model.pb").read_bytes()
    (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    expected = {
        name: json_format.MessageToDict(
            definition,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name, definition in graph.signature_def.items()
    }
    found = ask(any_two, "/v1/models/default/metadata")
    assert found["model_spec"] == {"name": "default", "signature_name": "", "version": "123"}
    assert list(found["metadata"]) == ["signature_def"]
    assert found["metadata"]["signature_def"]["signature_def"] == expected


@with_their_models
def test_the_prometheus_page(tmp_path: Path) -> None:
    path = tmp_path / "monitoring.txt"
    path.write_text('prometheus_config: { enable: true, path: "/monitoring/prometheus/metrics" }')
    flags = [f"--monitoring_config_file={path}", f"--model_base_path={THEIRS / TWO}"]
    with RunningServer(*flags) as server:
        assert "# TYPE" in ask(server, "/monitoring/prometheus/metrics")


# --- models made by TensorFlow 2 --------------------------------------------------------


def predict_keras(server: RunningServer) -> Sequence[float]:
    with GrpcClient(server.grpc_address) as client:
        response = client.response("default", {"x": np.array([[2.0]], np.float32)})
    assert response.model_spec.version.value == VERSION
    (output,) = response.outputs.values()
    values: Sequence[float] = output.float_val
    return values


def test_tf_saved_model_save(made: Callable[..., RunningServer]) -> None:
    with GrpcClient(made("six_times").grpc_address) as client:
        verify_predict(client, 12.0)
        assert client.predict("default", {"x": np.float32(2.0)})["y"].tolist() == 12.0


def test_tf_saved_model_save_multiple_signatures(made: Callable[..., RunningServer]) -> None:
    with GrpcClient(made("two_signatures").grpc_address) as client:
        verify_predict(client, 2.0, signature="custom_signature_key")
        verify_predict(client, 1.0)


def test_sequential_keras_saved_model_save(made: Callable[..., RunningServer]) -> None:
    assert list(predict_keras(made("sequential"))) == [2.0]


def test_distrat_sequential_keras_saved_model_save(made: Callable[..., RunningServer]) -> None:
    assert list(predict_keras(made("distributed"))) == [2.0]


def test_tf_text(made: Callable[..., RunningServer]) -> None:
    package = importlib.util.find_spec("tensorflow_text")
    assert package is not None
    assert package.origin is not None
    (library,) = Path(package.origin).parent.rglob("_whitespace_tokenizer_v2.so")
    server = made("words", f"--custom_op_libraries={library}")
    with GrpcClient(server.grpc_address) as client:
        inputs = {"x": np.array([b"one two three"], object)}
        verify_predict(client, 3.0, inputs=inputs)
