"""What warm-up requests are good for: the number of threads in a run; and loads that are quiet."""

from contextlib import suppress
from pathlib import Path
from shutil import copyfile, copytree

import numpy as np
import pytest

from salver.codecs.tf_record import record
from tests import served_models
from tests.grpc_client import predict_request
from tests.running import RunningServer, wait_until, write_config


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


def niceness_of_threads(pid: int) -> set[int]:
    """Of all that are there now."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        # One may end before it is looked at.
        with suppress(OSError):
            # The name before may hold anything, but no closing parenthesis after its own.
            found.add(int((task / "stat").read_text().rpartition(")")[2].split()[16]))
    return found


def test_what_is_loaded_beside_others_is_loaded_quietly(base_path: Path, tmp_path: Path) -> None:
    served = tmp_path / "m"
    copytree(base_path, served)
    flags = (f"--model_base_path={served}", "--num_request_iterations_for_warmup=100")
    with RunningServer("--model_name=m", *flags, "--load_niceness=13") as server:
        assert 13 not in niceness_of_threads(server.pid)
        copytree(base_path / "1", tmp_path / "2")
        (tmp_path / "2").rename(served / "2")
        wait_until(lambda: 13 in niceness_of_threads(server.pid), "a thread is quiet")
        server.wait_for_line("Successfully loaded servable version {name: m version: 2}")
        wait_until(lambda: 13 not in niceness_of_threads(server.pid), "it has ended")


def test_while_nobody_is_served_no_load_is_quiet(base_path: Path, tmp_path: Path) -> None:
    copytree(base_path / "1" / "variables", tmp_path / "quick" / "1" / "variables")
    copyfile(base_path / "1" / "saved_model.pb", tmp_path / "quick" / "1" / "saved_model.pb")
    models = [
        f'name: "{name}" base_path: "{folder}" model_platform: "tensorflow"'
        for name, folder in (("quick", tmp_path / "quick"), ("warmed", base_path))
    ]
    config = write_config(tmp_path / "models.txt", models)
    flags = (config, "--num_request_iterations_for_warmup=100")
    server = RunningServer(*flags, "--load_niceness=13")
    server.launch()
    try:
        server.wait_for_line("Successfully loaded servable version {name: quick version: 1}")
        seen: set[int] = set()

        def has_started() -> bool:
            seen.update(niceness_of_threads(server.pid))
            return any("Exporting HTTP" in line for line in server.lines)

        assert not has_started()
        wait_until(has_started, "the ports are open")
        assert 13 not in seen
    finally:
        server.kill()
