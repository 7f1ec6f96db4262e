"""Models that MLflow has saved, of a real server with its defaults."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.grpc_client import GrpcClient
from tests.process.python_models import workers
from tests.running import RunningServer, wait_until

mlflow = pytest.importorskip("mlflow")
pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("ignore")

TIMEOUT_S = 60.0
CODE = """
import mlflow


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return (model_input["a"] + model_input["n"]).to_numpy(float)


mlflow.models.set_model(Sum())
"""


def queues_of(server: RunningServer) -> Any:
    url = f"{server.url}/salver/models/default/batching"
    return requests.get(url, timeout=TIMEOUT_S).json()["queues"]


def test_a_python_function_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    source = tmp_path / "code_of_model.py"
    source.write_text(CODE)
    rows = pd.DataFrame({"a": [1.5], "n": [2]})
    signature = mlflow.models.infer_signature(rows, np.array([1.0]))
    mlflow.pyfunc.save_model(
        tmp_path / "models" / "1",
        python_model=str(source),
        signature=signature,
        pip_requirements=[],
    )
    body = {"instances": [{"a": 1.5, "n": 2}, {"a": 0.0, "n": 7}]}
    flags = (f"--model_base_path={tmp_path / 'models'}", "--allow_python_code", "--allow_pickle")
    with RunningServer(*flags) as server:
        url = f"{server.url}/v1/models/default:predict"

        def answer() -> requests.Response:
            return requests.post(url, json=body, timeout=TIMEOUT_S)

        assert answer().json() == {"predictions": [3.5, 7.0]}
        ended = workers(server, "default")
        assert ended
        for worker in ended:
            worker.kill()
        # The server outlives them, and starts others.
        wait_until(lambda: answer().ok, "the model is served again")
        assert not set(workers(server, "default")) & set(ended)
        assert answer().json() == {"predictions": [3.5, 7.0]}


def test_a_model_of_tables_is_batched_and_answers_each_its_own(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(64, 2)), columns=["a", "b"])
    model = sklearn.LinearRegression().fit(rows, rows["a"] - 2 * rows["b"])
    mlflow.sklearn.save_model(
        model,
        tmp_path / "models" / "1",
        signature=mlflow.models.infer_signature(rows, model.predict(rows)),
        pip_requirements=[],
    )
    with (
        RunningServer(f"--model_base_path={tmp_path / 'models'}", "--allow_pickle") as server,
        GrpcClient(server.grpc_address) as client,
        ThreadPoolExecutor(16) as threads,
    ):

        def ask(row: int) -> Any:
            inputs = {name: rows[name].to_numpy()[row : row + 1] for name in rows}
            (output,) = client.predict("default", inputs).values()
            return output

        found = list(threads.map(ask, [*range(64)] * 4))
        queues = queues_of(server)
    expected = np.tile(model.predict(rows), 4)
    np.testing.assert_allclose(np.concatenate(found).ravel(), expected, 1e-9, 1e-12)
    assert queues
    assert all(queue["automatic"] for queue in queues)
    assert sum(queue["requests_in_batches"] + queue["requests_alone"] for queue in queues) == 256
