"""Models in worker processes: what goes wrong there costs only them."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import pytest
import requests

from tests.gate import Gate
from tests.grpc_client import GrpcClient
from tests.process import python_models
from tests.process.asking import LIMIT_S, UNLOADED, available, predict, states
from tests.process.load import Load
from tests.process.python_models import FLAGS, answer, ask, metric, workers
from tests.running import RunningServer, wait_until, write_config
from tests.served_models import VersionedModel

RESTARTS = ':salver:isolated_worker_restart_count{model_name="acting"}'
ANSWERING = ':salver:isolated_workers{model_name="acting"'
MEBIBYTE = 2**20
PIPELINE = """\
import numpy as np

def before(x: np.ndarray[tuple[int], np.dtype[np.float32]]) -> np.ndarray:
    return x

def after(y: np.ndarray) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return y + np.float32(0.5)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("isolation")
    for name in ("acting", "inside"):
        python_models.add(folder / name, 1)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, constant_template: Path) -> Iterator[RunningServer]:
    """`acting` runs in two workers, the same model as `inside` and `steady` in the server."""
    steady = VersionedModel(constant_template, folder / "steady")
    steady.add(1)
    piped = VersionedModel(constant_template, folder / "piped")
    (piped.prepare(1) / "pipeline.py").write_text(PIPELINE)
    (piped.base_path / "incoming-1").rename(piped.base_path / "1")
    monitoring = folder / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = [
        write_config(
            folder / "models.txt",
            [
                python_models.config("acting", folder / "acting"),
                python_models.config("inside", folder / "inside"),
                python_models.config("steady", steady.base_path, "tensorflow"),
                python_models.config("piped", piped.base_path, "tensorflow"),
            ],
        ),
        f"--monitoring_config_file={monitoring}",
        "--isolate_models=-inside",
        "--isolated_workers=2",
        "--isolated_run_limit_s=2",
        *FLAGS,
    ]
    with RunningServer(*flags) as server:
        yield server


@pytest.fixture
def acting(server: RunningServer) -> RunningServer:
    """The server, when both workers of `acting` are up."""
    wait_until(lambda: metric(server, ANSWERING) == 2, "both workers are up")
    return server


def is_refused(response: requests.Response) -> bool:
    """Whether it says UNAVAILABLE, because of a worker."""
    error = response.json().get("error", "")
    return response.status_code == 503 and "worker process of model acting, version 1" in error


def test_python_models_are_isolated_unless_the_operator_says_otherwise(
    acting: RunningServer,
) -> None:
    assert len(workers(acting, "acting")) == 2
    assert not workers(acting, "inside")
    assert not workers(acting, "steady")


def test_hooks_in_python_are_isolated_with_their_model(acting: RunningServer) -> None:
    assert len(workers(acting, "piped")) == 2
    assert predict(acting, "piped") == {"predictions": [1.5]}


def test_both_ways_give_the_same_over_both_protocols(acting: RunningServer) -> None:
    inputs = {"x": np.array([1.5, -2], np.float32), "action": np.array([b"one", b"\xc3\xa9"])}

    with GrpcClient(acting.grpc_address) as client:
        answers = [client.predict(name, inputs)["output"] for name in ("acting", "inside")]

    np.testing.assert_array_equal(answers[0], [3, -4])
    np.testing.assert_array_equal(answers[1], answers[0])
    assert answer(acting, "acting") == answer(acting, "inside") == [2.0]


def test_large_arrays_are_the_same_in_both_directions(acting: RunningServer) -> None:
    x = np.random.default_rng(0).random(1024 * 1024).astype(np.float32)
    inputs = {"x": x, "action": np.array([b"nothing"])}

    with GrpcClient(acting.grpc_address) as client:
        for _ in range(4):
            outputs = client.predict("acting", inputs)["output"]
            np.testing.assert_array_equal(outputs, x * 2)


def test_wrong_inputs_get_the_same_errors(acting: RunningServer) -> None:
    body = {"inputs": {"x": [["a"]], "action": ["nothing"]}}
    url = "{}/v1/models/{}:predict"

    answers = [
        requests.post(url.format(acting.url, name), json=body, timeout=LIMIT_S)
        for name in ("acting", "inside")
    ]

    assert answers[0].status_code == answers[1].status_code == 400
    assert answers[0].text == answers[1].text.replace("inside", "acting")


@pytest.mark.slow
def test_killed_workers_cost_only_their_model(acting: RunningServer) -> None:
    restarts = metric(acting, RESTARTS)
    ended = threading.Event()
    answers: list[requests.Response] = []

    def call() -> None:
        while not ended.is_set():
            answers.append(ask(acting, "acting"))

    callers = [threading.Thread(target=call) for _ in range(3)]
    with Load(acting, "steady") as load:
        for caller in callers:
            caller.start()
        load.wait_for(1.0)
        for _ in range(2):
            for worker in workers(acting, "acting"):
                worker.send_signal(signal.SIGKILL)
            load.wait_for(1.0)
            wait_until(lambda: metric(acting, ANSWERING) == 2, "both workers are back")
        load.wait_for(1.0)
        ended.set()
        for caller in callers:
            caller.join()
        load.stop()

    assert load.failures == []
    assert {response.status_code for response in answers} <= {200, 503}
    assert all(is_refused(each) for each in answers if each.status_code != 200)
    assert answers[-1].status_code == 200
    assert metric(acting, RESTARTS) == restarts + 4


@pytest.mark.slow
def test_a_crash_is_unavailable_and_the_version_stays(acting: RunningServer) -> None:
    response = ask(acting, "acting", "crash")

    assert is_refused(response)
    assert "SIGSEGV" in response.text
    assert states(acting, "acting") == {1: "AVAILABLE"}
    assert requests.get(f"{acting.url}/healthz/ready", timeout=LIMIT_S).status_code == 200
    # The other worker goes on.
    assert answer(acting, "acting") == [2.0]
    wait_until(lambda: metric(acting, ANSWERING) == 2, "both workers are back")


@pytest.mark.slow
def test_without_any_worker_requests_are_told_when_one_comes(acting: RunningServer) -> None:
    # They come back, and soon: the test before has not been forgotten by all of them.
    for _ in range(2):
        assert is_refused(ask(acting, "acting", "crash"))

    response = ask(acting, "acting")

    assert is_refused(response)
    assert "SIGSEGV" in response.text
    assert "started again" in response.text
    wait_until(lambda: ask(acting, "acting").status_code == 200, "the model is back")


@pytest.mark.slow
def test_a_run_that_hangs_is_ended(acting: RunningServer) -> None:
    answers: list[requests.Response] = []
    hanging = [
        threading.Thread(target=lambda: answers.append(ask(acting, "acting", "hang")))
        for _ in range(2)
    ]
    for thread in hanging:
        thread.start()
    # All that `acting` has hangs; nothing else does.
    with Load(acting, "steady") as load:
        load.wait_for(1.0)
        load.stop()
    for thread in hanging:
        thread.join()

    assert load.failures == []
    assert len(answers) == 2
    assert all(is_refused(response) for response in answers)
    assert all("took longer than 2 s" in response.text for response in answers)
    wait_until(lambda: ask(acting, "acting").status_code == 200, "the model is back")


@pytest.mark.slow
def test_a_held_interpreter_lock_leaves_others_alone(acting: RunningServer) -> None:
    def p99_beside(name: str) -> float:
        """Of `steady`, while another model computes in Python, and in code that does not let go."""
        times = []
        ended = threading.Event()

        def hold() -> None:
            with requests.Session() as session:
                while not ended.is_set():
                    ask(acting, name, "hold=0.01", "freeze=0.05", session=session)

        holder = threading.Thread(target=hold)
        holder.start()
        with GrpcClient(acting.grpc_address) as client:
            for _ in range(50):
                began = perf_counter()
                client.answer("steady")
                times.append(perf_counter() - began)
        ended.set()
        holder.join()
        return float(np.percentile(times, 99))

    # In turns, and the best of each: what else the machine does is in both.
    rounds = [(p99_beside("inside"), p99_beside("acting")) for _ in range(2)]
    inside, isolated = (min(times) for times in zip(*rounds, strict=True))

    print(f"p99 beside a held lock: {inside / isolated:.1f} times that beside an isolated one")
    assert inside > 2 * isolated


@pytest.mark.slow
def test_a_leak_goes_with_its_version(acting: RunningServer, folder: Path) -> None:
    own = psutil.Process(acting.pid)
    before = own.memory_info().rss
    answer(acting, "acting", "leak=100")
    answer(acting, "acting", "leak=100")
    leaking = workers(acting, "acting")
    assert sum(each.memory_info().rss for each in leaking) > 200 * MEBIBYTE

    python_models.add(folder / "acting", 2, 3.0)
    acting.wait_for_line(f"{UNLOADED} {{name: acting version: 1}}")

    assert not any(each.is_running() for each in leaking)
    assert own.memory_info().rss - before < 50 * MEBIBYTE
    assert answer(acting, "acting") == [3.0]
    assert metric(acting, f'{ANSWERING},version="1"') == 0
    # The others of this module ask for version 1.
    os.rename(folder / "acting" / "2", folder / "gone")
    wait_until(lambda: available(acting, "acting") == [1], "version 1 is back")


def test_a_signal_to_all_processes_ends_no_request(folder: Path, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    answers: list[requests.Response] = []
    with RunningServer(
        f"--model_base_path={folder / 'inside'}", "--isolated_workers=1", *FLAGS
    ) as server:
        (worker,) = workers(server, "default")
        caller = threading.Thread(
            target=lambda: answers.append(ask(server, "default", f"gate={gate.path}"))
        )
        caller.start()
        assert gate.is_reached()
        # What systemd and a terminal do, at the same time as they tell the server.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            worker.send_signal(number)
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("finishing what is in flight")
        gate.open()
        caller.join()
        assert server.wait_for_exit() == 0
    gate.remove()

    assert answers[0].json() == {"outputs": [2.0]}
    assert not worker.is_running()


@pytest.mark.parametrize("action", ["nothing", "hang"])
def test_workers_end_with_a_server_that_is_killed(folder: Path, action: str) -> None:
    server = RunningServer(f"--model_base_path={folder / 'inside'}", "--isolated_workers=2", *FLAGS)
    server.launch()
    try:
        server.wait_for_line("Exporting HTTP/REST API")
        left = workers(server, "default")
        assert len(left) == 2

        def call() -> None:
            with suppress(requests.ConnectionError):
                ask(server, "default", action)

        callers = [threading.Thread(target=call) for _ in range(2)]
        for caller in callers:
            caller.start()
        server.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(left, LIMIT_S)
        for caller in callers:
            caller.join()
    finally:
        server.kill()

    assert alive == []


@pytest.mark.slow
def test_a_tensorflow_model_is_isolated_where_it_is_asked_for(
    model: VersionedModel, versioned: Callable[[str], VersionedModel], tmp_path: Path
) -> None:
    other = versioned("other")
    other.add(1)
    config = write_config(
        tmp_path / "models.txt",
        [
            f'name: "{name}" base_path: "{each.base_path}" model_platform: "tensorflow"'
            for name, each in (("default", model), ("other", other))
        ],
    )
    with (
        RunningServer(config, "--isolate_models=default:1", "--batching=auto") as server,
        Load(server) as load,
    ):
        (worker,) = workers(server, "default")
        assert not workers(server, "other")
        load.wait_for(1.0)
        model.add(2)
        load.wait_for(2.0)
        load.stop()
        server.wait_for_line(f"{UNLOADED} {{name: default version: 1}}")

        assert set(load.answers) == {1.0, 2.0}
        assert not worker.is_running()
        assert len(workers(server, "default")) == 1
        assert predict(server, "other") == {"predictions": [1.0]}
