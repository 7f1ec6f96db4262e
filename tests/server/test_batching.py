"""Batching on a real server: which requests share a run, and what each of them hears."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)

from tests.grpc_client import TIMEOUT_S, predict_request
from tests.saved_models import ECHO_TYPES
from tests.server.batching_site import ONE_THREAD, BatchingSite, rows_seen, serving, values

SESSION = ":tensorflow:serving:batching_session:"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, seen: Path, saved_model_folder: Path
) -> Iterator[BatchingSite]:
    """One thread, and batches as large as they come."""
    models = {"seen": seen, "echo": saved_model_folder / "echo"}
    with serving(tmp_path_factory.mktemp("site"), models, ONE_THREAD) as site:
        yield site


def code_and_details(call: Any) -> tuple[grpc.StatusCode, str]:
    error = call.exception()
    assert isinstance(error, grpc.RpcError)
    return error.code(), error.details()


def test_requests_that_come_while_the_thread_is_busy_share_a_run(site: BatchingSite) -> None:
    gate = site.hold()
    calls = [site.send(x=[1]), site.send(x=[2, 3])]
    post = site.post('{"instances": [4.0]}')
    site.all_have_come()
    gate.open()
    assert rows_seen(calls) == [[4], [4, 4]]
    assert [values(call) for call in calls] == [[1], [2, 3]]
    assert post.result().json() == {"predictions": [{"rows": 4, "y": 4.0}]}


def test_a_request_alone_leaves_at_once(site: BatchingSite) -> None:
    assert rows_seen([site.send(x=[5])]) == [[1]]


def test_only_the_request_at_fault_hears_of_it(site: BatchingSite) -> None:
    before = site.metric(':salver:batching:ran_apart_count{reason="failed"}')
    gate = site.hold()
    calls = [site.send("checked", x=[x]) for x in (1, -2, 3)]
    site.all_have_come()
    gate.open()
    assert values(calls[0]) == [2]
    assert values(calls[2]) == [6]
    code, details = code_and_details(calls[1])
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "x must be above zero" in details
    assert "[-2]" in details
    site.server.wait_for_line("name: seen version: 1}: a batch of 3 requests failed and was run")
    after = site.metric(':salver:batching:ran_apart_count{reason="failed"}')
    assert after == before + 1


def test_requests_of_different_shapes_do_not_fail_each_other(site: BatchingSite) -> None:
    gate = site.hold()
    calls = [site.send("wide", x=[[1, 2]]), site.send("wide", x=[[3]]), site.send("wide", x=[[4]])]
    site.all_have_come()
    gate.open()
    assert rows_seen(calls) == [[1], [2], [2]]
    assert [values(call) for call in calls] == [[1, 2], [3], [4]]
    site.server.wait_for_line("3 requests in a batch differ in type or shape and were run apart")


def test_requests_of_different_signatures_run_apart(site: BatchingSite) -> None:
    gate = site.hold()
    calls = [site.send(x=[1]), site.send("checked", x=[1]), site.send(x=[1])]
    site.all_have_come()
    gate.open()
    assert rows_seen(calls) == [[2], [1], [2]]


def test_values_of_every_type_are_in_a_batch_what_they_are_alone(site: BatchingSite) -> None:
    arrays = {name: array for name, array in ECHO_TYPES.items() if client_knows(array)}
    assert len(arrays) > 15

    def send(name: str) -> list[Any]:
        array = arrays[name]
        return [site.send(name, "echo", x=values) for values in (array, array[::-1])]

    alone = {name: [call.result().outputs["y"] for call in send(name)] for name in arrays}
    gate = site.hold()
    runs = site.metric(f"{SESSION}wrapped_run_count{{}}")
    calls = {name: send(name) for name in arrays}
    site.all_have_come()
    gate.open()
    for name, both in calls.items():
        assert [call.result().outputs["y"] for call in both] == alone[name], name
    assert site.metric(f"{SESSION}wrapped_run_count{{}}") == runs + 1 + len(calls)


def client_knows(values: np.ndarray) -> bool:
    """Whether TensorFlow's client library can send them."""
    try:
        tf.make_tensor_proto(values)
    except (TypeError, ValueError):
        return False
    return True


def example(x: float) -> bytes:
    message = tf.train.Example()
    message.features.feature["x"].float_list.value.append(x)
    return bytes(message.SerializeToString())


def fill(request: Any, xs: Sequence[float]) -> None:
    for x in xs:
        request.input.example_list.examples.add().ParseFromString(example(x))


def classify(site: BatchingSite, *xs: float) -> Any:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "seen", "classify"
    fill(request, xs)
    site.also_sent(1)
    return site.client.prediction.Classify.future(request, timeout=TIMEOUT_S)


def test_two_outputs_that_are_one_tensor_both_have_its_values(site: BatchingSite) -> None:
    gate = site.hold()
    calls = [site.send("twins", x=[1]), site.send("twins", x=[2, 3])]
    site.all_have_come()
    gate.open()
    for call, expected in zip(calls, ([5], [10, 15]), strict=True):
        outputs = call.result().outputs
        assert [list(outputs[name].float_val) for name in ("one", "other")] == [expected] * 2


def test_classifications_share_a_run(site: BatchingSite) -> None:
    gate = site.hold()
    calls = [classify(site, 1), classify(site, 2, 3)]
    site.all_have_come()
    gate.open()
    found = [
        [(c.classes[0].label, c.classes[0].score) for c in call.result().result.classifications]
        for call in calls
    ]
    assert found == [[("1", 3.0)], [("2", 3.0), ("3", 3.0)]]


def test_regressions_share_a_run_over_both_protocols(site: BatchingSite) -> None:
    gate = site.hold()
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "seen", "regress"
    fill(request, [1, 2])
    site.also_sent(1)
    call = site.client.prediction.Regress.future(request, timeout=TIMEOUT_S)
    post = site.post('{"signature_name": "regress", "examples": [{"x": 3.0}]}', "regress")
    site.all_have_come()
    gate.open()
    assert [regression.value for regression in call.result().result.regressions] == [3.0, 3.0]
    assert post.result().json() == {"results": [3.0]}


def test_multi_inferences_share_a_run(site: BatchingSite) -> None:
    gate = site.hold()
    request = inference_pb2.MultiInferenceRequest()
    for name, method in (("classify", "classify"), ("regress", "regress")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "seen", name
    fill(request, [1, 2])
    calls = []
    for _ in range(2):
        site.also_sent(1)
        calls.append(site.client.prediction.MultiInference.future(request, timeout=TIMEOUT_S))
    site.all_have_come()
    gate.open()
    for call in calls:
        classification, regression = call.result().results
        assert regression.regression_result.regressions[0].value == 4.0
        first = classification.classification_result.classifications[0].classes[0]
        assert (first.label, first.score) == ("1", 4.0)


@pytest.mark.parametrize(
    ("inputs", "details"),
    [
        (
            {"x": np.float32(1)},
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            {"x": np.zeros(1001, np.float32)},
            "Task size 1001 is larger than maximum input batch size 1000",
        ),
    ],
)
def test_what_cannot_be_in_a_batch_is_refused(
    site: BatchingSite, inputs: dict[str, Any], details: str
) -> None:
    request = predict_request("seen", inputs)
    call = site.client.prediction.Predict.future(request, timeout=TIMEOUT_S)
    assert code_and_details(call) == (grpc.StatusCode.INVALID_ARGUMENT, details)


def test_an_empty_batch_is_answered_though_the_thread_is_busy(site: BatchingSite) -> None:
    gate = site.hold()
    assert site.client.predict("seen", {"x": np.zeros(0, np.float32)})["y"].tolist() == []
    site.also_sent(1)
    gate.open()


def test_what_was_batched_is_on_the_metrics_page(site: BatchingSite) -> None:
    gate = site.hold()
    calls = [site.send(x=[1, 2, 3]), site.send(x=[4])]
    site.all_have_come()
    names = [
        'queuing_latency_count{thread_pool_name=""}',
        "wrapped_run_count{}",
        "processed_batch_size_count{}",
        "processed_batch_size_sum{}",
        'padding_size_count{execution_batch_size="4"}',
        'padding_size_sum{execution_batch_size="4"}',
        "input_batch_size_sum{}",
    ]
    before = [site.metric(SESSION + name) for name in names]
    gate.open()
    rows_seen(calls)
    after = [site.metric(SESSION + name) for name in names]
    # The run before the gate, and that of the two calls.
    assert [new - old for new, old in zip(after, before, strict=True)] == [3, 2, 2, 5, 1, 0, 0]
    types = [line for line in site.page().splitlines() if line.startswith("# TYPE")]
    assert types == sorted(types, key=lambda line: line.split()[2])
    assert f"# TYPE {SESSION}queuing_latency histogram" in types


def test_a_version_can_be_unloaded_after_requests_of_every_fate(tmp_path: Path, seen: Path) -> None:
    with serving(tmp_path, {"seen": seen, "other": seen}, ONE_THREAD) as site:
        gate = site.hold()
        gone = site.send(x=[1])
        request = predict_request("seen", {"x": np.array([2], np.float32)})
        late = site.client.prediction.Predict.future(request, timeout=0.05)
        site.also_sent(1)
        wrong = site.send("checked", x=[-1])
        good = site.send(x=[3])
        site.all_have_come()
        gone.cancel()
        # From the server, or from the client's own clock.
        assert code_and_details(late)[0] in (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        gate.open()
        assert rows_seen([good]) == [[1]]
        assert code_and_details(wrong)[0] is grpc.StatusCode.INVALID_ARGUMENT
        reload = model_management_pb2.ReloadConfigRequest()
        reload.config.model_config_list.config.add(
            name="other", base_path=str(seen), model_platform="tensorflow"
        )
        response = site.client.model.HandleReloadConfigRequest(reload, timeout=TIMEOUT_S)
        assert response.status.error_code == 0
        site.server.wait_for_line("Done unloading servable version {name: seen version: 1}")
