import re
from time import perf_counter

from salver.core.events import EventBus, StateChanged
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import Code
from salver.telemetry.load_metrics import WarmUpReport
from salver.telemetry.serving_metrics import ServingMetrics
from tests.unit.telemetry.signatures import prepared

ID = ServableId("m", 1)


def test_the_page_of_an_idle_server_has_the_types_in_the_order_of_the_names() -> None:
    assert ServingMetrics().page() == (
        "# TYPE :salver:access_log_lost_count counter\n"
        "# TYPE :salver:isolated_worker_restart_count counter\n"
        "# TYPE :salver:isolated_workers gauge\n"
        "# TYPE :salver:run_count counter\n"
        "# TYPE :salver:run_latency histogram\n"
        "# TYPE :salver:tls_handshake_failed_count counter\n"
        "# TYPE :salver:version_available gauge\n"
        "# TYPE :tensorflow:cc:saved_model:load_attempt_count counter\n"
        "# TYPE :tensorflow:cc:saved_model:load_latency counter\n"
        "# TYPE :tensorflow:serving:mlmd_map gauge\n"
        "# TYPE :tensorflow:serving:model_warmup_latency histogram\n"
        "# TYPE :tensorflow:serving:model_warmup_records_read counter\n"
        "# TYPE :tensorflow:serving:request_count counter\n"
        "# TYPE :tensorflow:serving:request_example_count_total counter\n"
        "# TYPE :tensorflow:serving:request_example_counts histogram\n"
        "# TYPE :tensorflow:serving:request_latency histogram\n"
        "# TYPE :tensorflow:serving:request_log_count counter\n"
        "# TYPE :tensorflow:serving:runtime_latency histogram\n"
    )


def test_the_examples_of_a_multi_inference_are_counted_under_their_model() -> None:
    metrics = ServingMetrics()
    metrics.inferred("m", 3)
    metrics.inferred("m", 16384)
    page = metrics.page()
    name = ":tensorflow:serving:request_example_count"
    assert f'{name}_total{{model="m"}} 16387\n' in page
    assert f'{name}s_bucket{{model="m",le="2"}} 0\n' in page
    assert f'{name}s_bucket{{model="m",le="4"}} 1\n' in page
    assert f'{name}s_bucket{{model="m",le="16384"}} 1\n' in page
    assert f'{name}s_bucket{{model="m",le="+Inf"}} 2\n' in page
    assert page.count(f"{name}s_bucket") == 16


def test_the_first_value_of_a_counter_is_found_under_its_internal_name() -> None:
    metrics = ServingMetrics()
    name = "/tensorflow/serving/request_count"
    assert metrics.first_value(name) == 0
    metrics.request_failed("n", Code.NOT_FOUND)
    for _ in range(3):
        metrics.request_failed("m", Code.NOT_FOUND)
    assert metrics.first_value(name) == 3
    assert metrics.first_value("/tensorflow/serving/request_latency") == 0
    assert metrics.first_value("/nothing") == 0


def test_a_success_counts_as_a_request_and_in_its_latency() -> None:
    metrics = ServingMetrics()
    for _ in range(2):
        metrics.request_succeeded("m", "Predict", "GRPC", perf_counter())
    metrics.request_succeeded("m", "predict", "REST", perf_counter())
    page = metrics.page()
    name = ":tensorflow:serving:request_latency_count"
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 3\n' in page
    assert f'{name}{{model_name="m",API="Predict",entrypoint="GRPC"}} 2\n' in page
    assert f'{name}{{model_name="m",API="predict",entrypoint="REST"}} 1\n' in page


def test_a_failure_counts_under_the_name_of_its_code_and_has_no_latency() -> None:
    metrics = ServingMetrics()
    metrics.request_failed("m", Code.NOT_FOUND)
    metrics.request_failed("", Code.INVALID_ARGUMENT)
    page = metrics.page()
    assert ':request_count{model_name="m",status="NOT_FOUND"} 1\n' in page
    assert ':request_count{model_name="",status="INVALID_ARGUMENT"} 1\n' in page
    assert "request_latency_count" not in page


def test_latencies_are_in_microseconds_in_34_buckets() -> None:
    metrics = ServingMetrics()
    metrics.runs.ran(ID, prepared(), "Predict", 188.9568e-6 + 1e-9)
    metrics.runs.ran(ID, prepared(), "Predict", 3600.0)
    lines = metrics.page().splitlines()
    labels = 'model_name="m",API="Predict",runtime="TF1"'
    buckets = [line for line in lines if line.startswith(":tensorflow:serving:runtime_latency_b")]
    found = [re.search(r'le="([^"]+)"', line) for line in buckets]
    limits = [match[1] for match in found if match]
    assert len(limits) == 34
    assert limits[:10] == [
        "10", "18", "32.4", "58.32", "104.976", "188.957", "340.122", "612.22", "1102", "1983.59",
    ]  # fmt: skip
    assert limits[-2:] == ["1.47476e+09", "+Inf"]
    assert buckets[5] == f':tensorflow:serving:runtime_latency_bucket{{{labels},le="188.957"}} 0'
    assert buckets[6] == f':tensorflow:serving:runtime_latency_bucket{{{labels},le="340.122"}} 1'
    assert buckets[-1].endswith(" 2")
    assert f":tensorflow:serving:runtime_latency_sum{{{labels}}} 3.6e+09" in lines
    assert f":tensorflow:serving:runtime_latency_count{{{labels}}} 2" in lines


def test_the_time_since_the_arrival_is_what_counts() -> None:
    metrics = ServingMetrics()
    metrics.request_succeeded("m", "Predict", "GRPC", perf_counter() - 3600)
    page = metrics.page()
    assert 'entrypoint="GRPC",le="1.47476e+09"} 0\n' in page
    assert 'entrypoint="GRPC",le="+Inf"} 1\n' in page


def test_names_that_a_scanner_makes_up_do_not_fill_the_page() -> None:
    metrics = ServingMetrics()
    for number in range(5000):
        metrics.request_failed(f"made up {number}", Code.NOT_FOUND)
    metrics.request_failed("", Code.INVALID_ARGUMENT)
    page = metrics.page()
    assert page.count("\n") < 1100
    assert ':request_count{model_name="made up 0",status="NOT_FOUND"} 1\n' in page
    assert ':request_count{model_name="(other)",status="NOT_FOUND"} 4000\n' in page
    assert ':request_count{model_name="",status="INVALID_ARGUMENT"} 1\n' in page


def test_a_scanner_cannot_hide_the_models_that_are_served() -> None:
    metrics = ServingMetrics()
    events = EventBus()
    metrics.follow(events)
    for number in range(5000):
        metrics.request_failed(f"made up {number}", Code.NOT_FOUND)
    events.publish(StateChanged(ServableId("found", 1), State.START))
    metrics.request_failed("found", Code.UNAVAILABLE)
    metrics.request_succeeded("answers", "Predict", "GRPC", perf_counter())
    metrics.request_failed("answers", Code.INTERNAL)
    page = metrics.page()
    assert ':request_count{model_name="found",status="UNAVAILABLE"} 1\n' in page
    assert ':request_count{model_name="answers",status="OK"} 1\n' in page
    assert ':request_count{model_name="answers",status="INTERNAL"} 1\n' in page


def test_what_the_server_is_asked_for_is_read_when_the_page_is_made() -> None:
    metrics = ServingMetrics()
    numbers: list[int] = []
    metrics.read("numbers", lambda: len(numbers))
    numbers.append(7)
    assert "# TYPE :salver:numbers gauge\n:salver:numbers{} 1\n" in metrics.page()


def test_the_runs_of_a_warm_up_count_for_the_model_and_for_no_version() -> None:
    metrics = ServingMetrics()
    runs = [("Predict", 0.001), ("Predict", 0.002), ("MultiInference", 0.001)]
    metrics.warmed_up(WarmUpReport(ID, "/m/1", "OK", 0.5, 3, runs))
    page = metrics.page()
    labels = 'model_name="m",API="Predict",runtime="TF1"'
    assert f":tensorflow:serving:runtime_latency_count{{{labels}}} 2\n" in page
    assert ":salver:run_count{" not in page
    assert "MultiInference" not in page
    name = ":tensorflow:serving:model_warmup"
    assert f'{name}_latency_sum{{model_path="/m/1",status="OK"}} 500000\n' in page
    assert f'{name}_records_read{{model_path="/m/1",status="OK"}} 3\n' in page
