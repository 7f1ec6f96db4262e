"""Automatic batching that may pad: real clients, rows of many lengths, a model that knows."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import requests

from tests.grpc_client import GrpcClient
from tests.running import RunningServer

TIMEOUT_S = 60.0
SUM = """
import time
from typing import Annotated

import numpy as np
from numpy.typing import NDArray


class Model:
    def load(self, folder):
        pass

    def predict(
        self, x: Annotated[NDArray[np.float32], (None, None)]
    ) -> Annotated[NDArray[np.float32], (None,)]:
        time.sleep(0.002)  # so that others come meanwhile
        return x.sum(axis=1)
"""


def counts(tmp_path: Path, parameters: str) -> dict[str, int]:
    """Ask for sums of rows of 30 lengths, and say what became of the requests."""
    version = tmp_path / "model" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(SUM)
    if parameters:
        (version / "batching_params.pbtxt").write_text(parameters)
    # What fills them up is their first element: a zero adds nothing.
    rows = [
        np.array([[0.0, *range(length)]], np.float32) for _ in range(8) for length in range(1, 31)
    ]
    flags = (
        f"--model_base_path={tmp_path / 'model'}",
        "--allow_python_code",
        "--batching=auto",
        "--enable_per_model_batching_parameters",
    )
    with (
        RunningServer(*flags) as server,
        GrpcClient(server.grpc_address) as client,
        ThreadPoolExecutor(24) as threads,
    ):

        def ask(x: np.ndarray) -> float:
            (found,) = client.predict("default", {"x": x}).values()
            return float(found.item())

        assert list(threads.map(ask, rows)) == [x.sum() for x in rows]
        url = f"{server.url}/salver/models/default/batching"
        (queue,) = requests.get(url, timeout=TIMEOUT_S).json()["queues"]
    assert queue["automatic"]
    assert not queue["cannot_be_batched"]
    assert queue["requests_in_batches"] + queue["requests_alone"] == len(rows)
    found: dict[str, int] = queue
    return found


def test_rows_of_many_lengths_share_batches_where_the_version_says_so(tmp_path: Path) -> None:
    queue = counts(tmp_path, "pad_variable_length_inputs: true")
    assert queue["requests_in_batches"] > 2 * queue["batches"]
    assert queue["batches_run_apart"] == 0


def test_rows_of_other_lengths_share_none_where_it_does_not(tmp_path: Path) -> None:
    queue = counts(tmp_path, "")
    assert 0 < queue["requests_in_batches"] <= 1.5 * queue["batches"]
