"""TensorFlow Serving's own test models, where they are there: what its end-to-end test asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests

from tests.grpc_client import GrpcClient
from tests.running import RunningServer, write_config

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
pytestmark = pytest.mark.skipif(not MODELS.exists(), reason="the models of others are not here")

HALF_PLUS_TWO = ["saved_model_half_plus_two_cpu", "saved_model_half_plus_two_tf2_cpu"]
TIMEOUT_S = 60
X = {"x": np.array([2.0], np.float32)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    names = [*HALF_PLUS_TWO, "saved_model_half_plus_three", "saved_model_counter"]
    bodies = [f'name: "{n}" base_path: "{MODELS / n}" model_platform: "tensorflow"' for n in names]
    two = MODELS / "saved_model_half_plus_two_2_versions"
    bodies.append(
        f'name: "two" base_path: "{two}" model_platform: "tensorflow" '
        "model_version_policy { specific { versions: 123 versions: 124 } }"
    )
    path = tmp_path_factory.mktemp("models_of_others") / "models.txt"
    with RunningServer(write_config(path, bodies)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[GrpcClient]:
    with GrpcClient(server.grpc_address) as client:
        yield client


def post(server: RunningServer, model: str, body: Any) -> Any:
    url = f"{server.url}/v1/models/{model}:predict"
    return requests.post(url, json=body, timeout=TIMEOUT_S).json()


@pytest.mark.parametrize("model", HALF_PLUS_TWO)
@pytest.mark.parametrize("output_filter", [[], ["y"]], ids=["all", "filtered"])
def test_predict_adds_two_to_the_half(
    client: GrpcClient, model: str, output_filter: list[str]
) -> None:
    response = client.response(model, X, output_filter=output_filter)
    assert list(response.outputs["y"].float_val) == [3.0]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (model, "serving_default", 123)


def test_two_models_do_not_mix(client: GrpcClient) -> None:
    assert client.answer("saved_model_half_plus_three") == 4.0
    assert client.answer("saved_model_half_plus_two_cpu") == 3.0


def test_two_versions_are_served_side_by_side(client: GrpcClient) -> None:
    for version in (123, 124):
        assert client.response("two", X, version=version).model_spec.version.value == version
    assert client.response("two", X).model_spec.version.value == 124


def test_a_regression_signature_can_be_called_with_serialized_examples(client: GrpcClient) -> None:
    import tensorflow as tf

    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[2.0]))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
    inputs = {"inputs": np.array([example.SerializeToString()], object)}
    for model in HALF_PLUS_TWO:
        outputs = client.predict(model, inputs, signature="regress_x_to_y")
        assert outputs["outputs"].tolist() == [[3.0]]


@pytest.mark.parametrize("model", HALF_PLUS_TWO)
def test_rest_predicts_in_rows_and_columns(server: RunningServer, model: str) -> None:
    values = [2.0, 3.0, 4.0]
    assert post(server, model, {"instances": values}) == {"predictions": [3.0, 3.5, 4.0]}
    assert post(server, model, {"inputs": values}) == {"outputs": [3.0, 3.5, 4.0]}


def test_metadata_is_what_the_model_file_says(server: RunningServer) -> None:
    url = f"{server.url}/v1/models/saved_model_half_plus_two_cpu/metadata"
    metadata = requests.get(url, timeout=TIMEOUT_S).json()
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert sorted(signatures) == [
        "classify_x_to_y", "regress_x2_to_y3", "regress_x_to_y", "regress_x_to_y2",
        "serving_default",
    ]  # fmt: skip
    for signature in signatures.values():
        assert signature["defaults"] == {}


def test_the_counter_keeps_its_state_through_signatures_without_inputs(client: GrpcClient) -> None:
    def call(signature: str, **inputs: Any) -> float:
        outputs = client.predict("saved_model_counter", inputs, signature=signature)
        return float(outputs["output"])

    call("reset_counter")
    assert call("incr_counter") == 1.0
    assert call("incr_counter") == 2.0
    assert call("incr_counter_by", delta=np.float32(5)) == 7.0
    assert call("get_counter") == 7.0
    assert call("reset_counter") == 0.0


def test_rest_cannot_reach_signatures_without_inputs(server: RunningServer) -> None:
    body = {"signature_name": "get_counter", "inputs": {}}
    assert post(server, "saved_model_counter", body) == {
        "error": "Failed to get input map for signature: get_counter"
    }


def test_an_unknown_model_is_not_found(client: GrpcClient) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.predict("intentionally_missing_model", {})
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "Servable" in raised.value.details()
