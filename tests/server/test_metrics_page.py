"""The Prometheus page of a server that answers over both protocols."""

from pathlib import Path

import grpc
import numpy as np
import pytest
import requests

from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.running import RunningServer

X = {"x": np.array([1.0], np.float32)}


def values(server: RunningServer) -> dict[str, float]:
    """Every line of the page but the types: name and labels to the number."""
    page = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def labels(model: str, version: int, api: str, status: str) -> str:
    return (
        f':salver:run_count{{model_name="{model}",version="{version}",'
        f'signature_name="serving_default",API="{api}",status="{status}"}}'
    )


def test_runs_are_told_apart_by_version_over_both_protocols(
    server: RunningServer, grpc_client: GrpcClient
) -> None:
    before = values(server)
    for _ in range(3):
        grpc_client.answer("versioned", version=1)
    url = f"{server.url}/v1/models/versioned/versions/2:predict"
    requests.post(url, json={"instances": [1.0]}, timeout=TIMEOUT_S)
    with pytest.raises(grpc.RpcError):
        grpc_client.predict("versioned", {"x": np.array(["no number"], object)}, version=2)
    after = values(server)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert grown(labels("versioned", 1, "Predict", "OK")) == 3
    assert grown(labels("versioned", 2, "Predict", "OK")) == 1
    assert grown(labels("versioned", 2, "Predict", "INVALID_ARGUMENT")) == 1
    runtime = 'model_name="versioned",API="Predict",runtime="TF1"'
    assert grown(f":tensorflow:serving:runtime_latency_count{{{runtime}}}") == 4


def test_loads_and_what_is_available_are_on_the_page(
    server: RunningServer, saved_model_folder: Path
) -> None:
    found = values(server)
    path = f'model_path="{saved_model_folder}/echo/1"'
    attempts = ":tensorflow:cc:saved_model:load_attempt_count"
    assert found[f'{attempts}{{{path},status="success"}}'] == 1
    assert found[f":tensorflow:cc:saved_model:load_latency{{{path}}}"] > 0
    for version in (1, 2, 3):
        name = f':salver:version_available{{model_name="versioned",version="{version}"}}'
        assert found[name] == 1


def test_the_state_of_the_server_is_read_as_it_is(server: RunningServer) -> None:
    found = values(server)
    # At least the one that asks.
    assert found[":salver:connections{}"] >= 1
    assert found[":salver:runs_in_flight{}"] >= 0
    assert found[":salver:buffered_bytes{}"] >= 0


def test_the_names_of_unknown_models_are_counted_as_they_come(server: RunningServer) -> None:
    url = f"{server.url}/v1/models/nobody-knows-it:predict"
    requests.post(url, json={"instances": [1.0]}, timeout=TIMEOUT_S)
    name = ':tensorflow:serving:request_count{model_name="nobody-knows-it",status="NOT_FOUND"}'
    assert values(server)[name] >= 1
