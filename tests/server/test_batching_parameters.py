"""Each batching parameter on a real server, at its start, in its warm-up and at its end."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.grpc_client import predict_request
from tests.running import RunningServer, wait_until
from tests.server.batching_site import ONE_THREAD, BatchingSite, rows_seen, serving, values

BAD_START = 255
FULL = (
    "The batch scheduling queue to which this task was submitted is full; currently 1 batches "
    "enqueued and max_enqueued_batches is 1"
)

Serve = Callable[..., BatchingSite]


@pytest.fixture
def serve(tmp_path: Path, seen: Path) -> Iterator[Serve]:
    """Starts a server of the model `seen` with these parameters."""
    with ExitStack() as sites:

        def start(parameters: str | None, *flags: str, **models: Path) -> BatchingSite:
            site: AbstractContextManager[BatchingSite] = serving(
                tmp_path, models or {"seen": seen}, parameters, *flags
            )
            return sites.enter_context(site)

        yield start


def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    error = call.exception()
    assert isinstance(error, grpc.RpcError)
    return error.code(), error.details()


def model_with(seen: Path, folder: Path, files: dict[str, bytes]) -> Path:
    """A copy of the model with more files in its version's folder."""
    version = folder / "1"
    shutil.copytree(seen / "1", version)
    for name, content in files.items():
        file = version / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def test_batching_without_a_file_has_the_defaults_of_the_original(serve: Serve) -> None:
    site = serve(None, "--enable_batching")
    assert rows_seen([site.send(x=[1, 2])]) == [[2, 2]]
    with pytest.raises(grpc.RpcError, match="larger than maximum input batch size 1000"):
        site.client.predict("seen", {"x": np.zeros(1001, np.float32)})


def test_a_batch_is_filled_up_to_the_next_allowed_size(serve: Serve) -> None:
    sizes = "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8"
    site = serve(ONE_THREAD + sizes)
    call = site.send(x=[1, 2, 3])
    assert rows_seen([call]) == [[4, 4, 4]]
    assert values(call) == [1, 2, 3]
    gate = site.hold()
    calls = [site.send(x=[1, 2, 3]), site.send(x=[4, 5])]
    site.all_have_come()
    gate.open()
    assert rows_seen(calls) == [[8] * 3, [8] * 2]
    assert [values(call) for call in calls] == [[1, 2, 3], [4, 5]]
    name = ":tensorflow:serving:batching_session:padding_size_sum"
    assert site.metric(name + '{execution_batch_size="8"}') == 3


def test_rows_of_different_length_are_padded_where_it_is_asked_for(serve: Serve) -> None:
    site = serve(ONE_THREAD + "pad_variable_length_inputs: true")
    gate = site.hold()
    calls = [site.send("wide", x=[[1, 2, 3]]), site.send("wide", x=[[5]])]
    site.all_have_come()
    gate.open()
    assert rows_seen(calls) == [[2], [2]]
    assert [values(call) for call in calls] == [[1, 2, 3], [5, 5, 5]]


def test_a_request_larger_than_a_run_is_cut_where_it_is_asked_for(serve: Serve) -> None:
    splitting = (
        "max_batch_size { value: 10 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 4 }"
    )
    site = serve(splitting)
    call = site.send(x=range(9))
    assert rows_seen([call]) == [[4] * 8 + [1]]
    assert values(call) == list(range(9))
    post = site.post('{"instances": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}')
    assert [row["y"] for row in post.result().json()["predictions"]] == [1, 2, 3, 4, 5, 6]


def test_what_does_not_fit_into_the_queue_is_refused_at_once(serve: Serve) -> None:
    site = serve(ONE_THREAD + "max_batch_size { value: 2 } max_enqueued_batches { value: 1 }")
    gate = site.hold()
    good = site.send(x=[1, 2])
    site.all_have_come()
    assert failure(site.send(x=[3])) == (grpc.StatusCode.UNAVAILABLE, FULL)
    answer = site.post('{"instances": [3.0]}').result()
    assert (answer.status_code, answer.json()) == (503, {"error": FULL})
    assert site.metric(":salver:batching:refused_request_count{}") == 2
    gate.open()
    assert values(good) == [1, 2]


def test_pieces_that_do_not_fit_into_the_queue_are_refused_together(serve: Serve) -> None:
    site = serve(
        ONE_THREAD + "max_batch_size { value: 20 } max_enqueued_batches { value: 2 } "
        "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 }"
    )
    gate = site.hold()
    good = site.send(x=[1])
    site.all_have_come()
    assert failure(site.send(x=range(8))) == (
        grpc.StatusCode.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full; task size is 8 but "
        "scheduling capacity is only 7 (num_enqueued_batches=1, max_enqueued_batches=2, "
        "open_batch_size=1, max_execution_batch_size=4)",
    )
    gate.open()
    assert rows_seen([good]) == [[1]]


def test_who_hangs_up_while_waiting_makes_room(serve: Serve) -> None:
    site = serve(ONE_THREAD + "max_batch_size { value: 2 } max_enqueued_batches { value: 1 }")
    gate = site.hold()
    gone = site.send(x=[1, 2])
    site.all_have_come()
    assert failure(site.send(x=[3, 4]))[0] is grpc.StatusCode.UNAVAILABLE
    gone.cancel()
    calls: list[Any] = []

    def is_taken() -> bool:
        refused = site.metric(":salver:batching:refused_request_count{}")
        calls.append(site.send(x=[5, 6]))
        site.all_have_come()
        return site.metric(":salver:batching:refused_request_count{}") == refused

    wait_until(is_taken, "the next takes its place")
    gate.open()
    assert values(calls[-1]) == [5, 6]


def test_whose_time_is_up_in_the_queue_hears_so_and_is_not_run(serve: Serve) -> None:
    site = serve(ONE_THREAD, "--rest_api_timeout_in_ms=200")
    gate = site.hold()
    answer = site.post('{"instances": [1.0]}').result()
    assert answer.status_code == 429
    assert answer.json() == {"error": "Run() timeout exceeded while waiting in batching queue"}
    last = site.send(x=[2])
    site.all_have_come()
    gate.open()
    assert rows_seen([last]) == [[1]]


def test_a_batch_waits_for_others_until_its_time_limit(serve: Serve) -> None:
    site = serve("max_batch_size { value: 3 } batch_timeout_micros { value: 1000000000 }")
    calls = [site.send(x=[1]), site.send(x=[2])]
    site.all_have_come()
    assert not any(call.done() for call in calls)
    calls.append(site.send(x=[3]))
    assert rows_seen(calls) == [[3], [3], [3]]


# --- parameters of each version ----------------------------------------------------


def test_a_version_may_have_parameters_of_its_own_and_is_not_batched_without(
    serve: Serve, seen: Path, tmp_path: Path
) -> None:
    own = model_with(
        seen,
        tmp_path / "own",
        {"batching_params.pbtxt": b"max_batch_size { value: 4 } allowed_batch_sizes: 4"},
    )
    site = serve(
        ONE_THREAD + "max_batch_size { value: 2 } allowed_batch_sizes: 2",
        "--enable_per_model_batching_parameters",
        seen=seen,
        own=own,
    )
    assert rows_seen([site.send(model="own", x=[1])]) == [[4]]
    assert rows_seen([site.send(model="seen", x=[1, 2, 3])]) == [[3, 3, 3]]
    with pytest.raises(grpc.RpcError, match="larger than maximum input batch size 4"):
        site.client.predict("own", {"x": np.zeros(5, np.float32)})


def start(*flags: str) -> RunningServer:
    server = RunningServer("--max_num_load_retries=0", *flags)
    server.launch()
    return server


def last_line_of_a_bad_start(*flags: str) -> str:
    """What a server says that cannot start, after it has ended as it should."""
    server = start(*flags)
    try:
        assert server.wait_for_exit() == BAD_START
        assert not [line for line in server.lines if "Traceback" in line]
        return server.lines[-1]
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        (
            "batch_timeout_micros { value: -1 }",
            "batch_timeout_micros must be non-negative; was -1",
        ),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        (
            "max_batch_size { value: 4 } max_execution_batch_size { value: 5 } "
            "enable_large_batch_splitting { value: true }",
            "max_execution_batch_size (5) must not be larger than max_batch_size (4)",
        ),
        ("max_batch_size: 4", "Invalid protobuf file: '{file}'"),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: 2",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; "
            "expected 4",
        ),
    ],
)
def test_bad_parameters_end_the_start_with_one_clear_line(
    tmp_path: Path, seen: Path, text: str, error: str
) -> None:
    file = tmp_path / "batching.txt"
    file.write_text(text)
    line = last_line_of_a_bad_start(
        f"--model_base_path={seen}", "--enable_batching", f"--batching_parameters_file={file}"
    )
    assert line.startswith("Failed to start server. Error: ")
    assert error.format(file=file) in line


def test_bad_parameters_of_a_version_are_an_error_of_its_load(tmp_path: Path, seen: Path) -> None:
    base = model_with(
        seen, tmp_path / "own", {"batching_params.pbtxt": b"max_batch_size { value: 0 }"}
    )
    server = start(
        f"--model_base_path={base}", "--enable_batching", "--enable_per_model_batching_parameters"
    )
    try:
        assert server.wait_for_exit() == BAD_START
        assert any(
            "input_batch_size_limit must be positive; was 0" in line for line in server.lines
        )
    finally:
        server.kill()


# --- warm-up -----------------------------------------------------------------------


def warm_up(*requests_: Any) -> dict[str, bytes]:
    """The file of a warm-up with these Predict requests, beside a version."""
    records = []
    for request in requests_:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(request)
        records.append(log.SerializeToString())
    return {"assets.extra/tf_serving_warmup_requests": tf_record(records)}


def tf_record(records: list[bytes]) -> bytes:
    name = "ram://records"
    with tf.io.TFRecordWriter(name) as writer:
        for record in records:
            writer.write(record)
    with tf.io.gfile.GFile(name, "rb") as file:
        return bytes(file.read())


def predict_of(rows: Any) -> Any:
    return predict_request("seen", {"x": np.asarray(rows, np.float32)})


def test_a_warm_up_runs_in_batches(serve: Serve, seen: Path, tmp_path: Path) -> None:
    model = model_with(seen, tmp_path / "warm", warm_up(predict_of([1, 2]), predict_of([3])))
    site = serve("max_batch_size { value: 4 } allowed_batch_sizes: 4", seen=model)
    line = site.server.wait_for_line("Finished reading warmup data")
    assert "warmup records read: 2." in line
    assert rows_seen([site.send(x=[1])]) == [[4]]


def test_a_warm_up_that_no_batch_can_hold_fails_the_load(seen: Path, tmp_path: Path) -> None:
    base = model_with(seen, tmp_path / "warm", warm_up(predict_of([1, 2, 3])))
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 2 }")
    server = start(
        f"--model_base_path={base}", "--enable_batching", f"--batching_parameters_file={file}"
    )
    try:
        assert server.wait_for_exit() == BAD_START
        assert any(
            "Task size 3 is larger than maximum input batch size 2" in line for line in server.lines
        )
    finally:
        server.kill()


# --- automatic batching ------------------------------------------------------------


def test_automatic_batching_fails_nothing_that_would_be_right_without(
    serve: Serve, seen: Path, saved_model_folder: Path, tmp_path: Path
) -> None:
    large = np.zeros(3000, np.float32)
    model = model_with(seen, tmp_path / "warm", warm_up(predict_of(large), predict_of([1])))
    models = {name: saved_model_folder / name for name in ("several", "loops", "lookup", "echo")}
    site = serve(None, "--batching=auto", seen=model, **models)
    assert rows_seen([site.send(x=large)]) == [[3000] * 3000]
    assert site.client.predict("loops", {"n": np.int64(27)})["steps"] == 111
    several = {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "vector": np.array([1, 10, 100], np.float32),
        "label": np.array(b"done", object),
    }
    assert site.client.predict("several", several)["product"].tolist() == [210.0, 543.0]
    for array in (np.float32(3), np.zeros((0, 2), np.float32), np.ones((2, 2), np.float32)):
        found = site.client.predict("echo", {"x": array}, signature="float32")["y"]
        assert found.tolist() == array.tolist()


def test_automatic_batching_answers_many_clients_as_each_alone(
    serve: Serve, seen: Path, tmp_path: Path
) -> None:
    model = model_with(seen, tmp_path / "warm", warm_up(predict_of([1, 2])))
    site = serve(None, "--batching=auto", seen=model)
    calls = [site.send(x=[number, number + 0.5]) for number in range(300)]
    assert [values(call) for call in calls] == [[n, n + 0.5] for n in range(300)]
    # This model's answer tells how many rows a run had, so it must not share one.
    assert rows_seen(calls) == [[2, 2]] * 300


# --- the end -----------------------------------------------------------------------


def test_what_waits_in_the_queue_is_finished_before_the_server_ends(serve: Serve) -> None:
    site = serve(ONE_THREAD + "max_batch_size { value: 2 } max_enqueued_batches { value: 2 }")
    gate = site.hold()
    calls = [site.send(x=[1, 2]), site.send(x=[3])]
    post = site.post('{"instances": [4.0]}')
    site.all_have_come()
    site.server.send_signal(signal.SIGTERM)
    site.server.wait_for_line("finishing what is in flight")
    gate.open()
    assert [values(call) for call in calls] == [[1, 2], [3]]
    assert post.result().json() == {"predictions": [{"rows": 2, "y": 4.0}]}
    assert site.server.wait_for_exit() == 0


def test_what_waits_for_company_is_finished_at_once_when_the_server_is_to_end(
    serve: Serve,
) -> None:
    site = serve("max_batch_size { value: 9 } batch_timeout_micros { value: 1000000000 }")
    call = site.send(x=[1, 2])
    post = site.post('{"instances": [3.0]}')
    site.all_have_come()
    site.server.send_signal(signal.SIGTERM)
    assert rows_seen([call]) == [[3, 3]]
    assert post.result().json() == {"predictions": [{"rows": 3, "y": 3.0}]}
    assert site.server.wait_for_exit() == 0
