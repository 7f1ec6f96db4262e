import re
from time import perf_counter

from salver.errors import Code
from salver.telemetry.serving_metrics import ServingMetrics


def test_the_page_of_an_idle_server_has_the_types_in_the_order_of_the_names() -> None:
    assert ServingMetrics().page() == (
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
    metrics.ran("m", "Predict", 188.9568e-6 + 1e-9)
    metrics.ran("m", "Predict", 3600.0)
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
    metrics.request_succeeded("mine", "Predict", "GRPC", perf_counter())
    for number in range(12_000):
        metrics.request_failed(f"made up {number}", Code.NOT_FOUND)
    metrics.request_failed("mine", Code.NOT_FOUND)
    for _ in range(2):
        metrics.request_succeeded("late", "Predict", "GRPC", perf_counter())
    page = metrics.page()
    assert page.count("\n") < 10_100
    assert ':request_count{model_name="mine",status="NOT_FOUND"} 1\n' in page
    assert ':request_count{model_name="(other)",status="NOT_FOUND"} 2001\n' in page
    assert ':request_count{model_name="(other)",status="OK"} 2\n' in page
    assert ':request_latency_count{model_name="(other)",API="Predict",entrypoint="GRPC"} 2' in page
    assert "late" not in page.replace("latency", "")
