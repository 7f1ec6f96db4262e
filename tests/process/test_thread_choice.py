"""The number of threads in a run, measured by the warm-up requests of a version."""

from pathlib import Path

import numpy as np
import pytest

from salver.codecs.tf_record import record
from tests import served_models
from tests.grpc_client import predict_request
from tests.running import RunningServer


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version whose warm-up request multiplies matrices for some milliseconds."""
    from tensorflow_serving.apis import prediction_log_pb2

    folder = tmp_path_factory.mktemp("chosen") / "1"
    served_models.export("slow", folder)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict_request("m", {"steps": np.array(40)}))
    (folder / "assets.extra").mkdir()
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(record(log.SerializeToString()))
    return folder.parent


def test_the_server_measures_and_says_so(base_path: Path) -> None:
    flags = ("--model_name=m", f"--model_base_path={base_path}")
    with RunningServer(*flags) as server:
        line = server.wait_for_line("Runs of m have")
        assert "with 1 thread " in line
    with RunningServer(*flags, "--tensorflow_intra_op_parallelism=1") as server:
        assert not any("Runs of m have" in line for line in server.lines)
