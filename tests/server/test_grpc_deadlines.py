"""Deadlines and cancellation, on a server with one worker that a slow call can occupy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.grpc_client import TIMEOUT_S, GrpcClient, predict_request
from tests.running import RunningServer, write_config

LONG = 5000
"""Steps of the slow model: from half a second up."""


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, saved_model_folder: Path, slow_base_path: Path
) -> Iterator[GrpcClient]:
    folder = tmp_path_factory.mktemp("one_worker")
    models = {"counter": saved_model_folder / "counter", "slow": slow_base_path}
    bodies = [
        f'name: "{n}" base_path: "{p}" model_platform: "tensorflow"' for n, p in models.items()
    ]
    flags = [write_config(folder / "models.txt", bodies)]
    flags += ["--worker_threads=1", "--inline_budget_us=0"]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        yield client


def occupy(client: GrpcClient) -> Any:
    """Keep the worker busy; the call, whose result comes when the worker is free again."""
    request = predict_request("slow", {"steps": np.int64(LONG)})
    return client.prediction.Predict.future(request, timeout=TIMEOUT_S)


def count(client: GrpcClient, by: int = 0) -> int:
    return int(client.predict("counter", {"by": np.int64(by)})["count"])


def test_state_lasts_from_request_to_request(client: GrpcClient) -> None:
    before = count(client)
    assert [count(client, by) for by in (1, 10, 100)] == [before + 1, before + 11, before + 111]


def test_a_call_ends_at_its_deadline_and_the_server_goes_on(client: GrpcClient) -> None:
    request = predict_request("slow", {"steps": np.int64(LONG)})
    with pytest.raises(grpc.RpcError) as raised:
        client.prediction.Predict(request, timeout=0.05)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.predict("slow", {"steps": np.int64(3)})["done"] == 3


def test_a_call_whose_deadline_passes_in_the_queue_is_never_run(client: GrpcClient) -> None:
    before = count(client)
    busy = occupy(client)
    request = predict_request("counter", {"by": np.int64(1)})
    with pytest.raises(grpc.RpcError) as raised:
        client.prediction.Predict(request, timeout=0.05)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not busy.done()
    assert busy.result().outputs["done"].int64_val[0] == LONG
    assert count(client) == before


def test_a_call_that_is_cancelled_in_the_queue_is_never_run(client: GrpcClient) -> None:
    before = count(client)
    busy = occupy(client)
    request = predict_request("counter", {"by": np.int64(1)})
    call = client.prediction.Predict.future(request, timeout=TIMEOUT_S)
    # Answered on the loop itself: by then the call before it on this connection has arrived.
    client.status("counter")
    assert call.cancel()
    client.status("counter")
    assert not busy.done()
    assert busy.result().outputs["done"].int64_val[0] == LONG
    assert count(client) == before


def test_a_call_that_is_cancelled_while_it_runs_leaves_the_server_working(
    client: GrpcClient,
) -> None:
    busy = occupy(client)
    client.status("slow")
    assert busy.cancel()
    assert client.predict("slow", {"steps": np.int64(2)})["done"] == 2


def test_status_is_answered_while_a_model_runs(client: GrpcClient) -> None:
    busy = occupy(client)
    assert client.status("slow").model_version_status[0].version == 1
    assert not busy.done()
    assert busy.result().outputs["done"].int64_val[0] == LONG
