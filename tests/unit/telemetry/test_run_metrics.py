from salver.core.events import StateChanged
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import Code
from salver.telemetry.run_metrics import RunMetrics
from tests.unit.telemetry.signatures import prepared

FIRST, SECOND = ServableId("m", 1), ServableId("m", 2)
RUNTIME = ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"}'


def lines(metrics: RunMetrics) -> list[str]:
    return [line for metric in metrics.metrics() for line in metric.lines()]


def counts(metrics: RunMetrics) -> list[str]:
    return [line for line in lines(metrics) if line.startswith(":salver:run_count")]


def test_runs_are_counted_for_each_version_and_signature_by_their_outcome() -> None:
    metrics = RunMetrics()
    default, other, second = prepared(), prepared("other"), prepared()
    for _ in range(3):
        metrics.ran(FIRST, default, "Predict", 0.001)
    metrics.ran(FIRST, default, "Classify", 0.001)
    metrics.run_failed(FIRST, other, "Predict", Code.INVALID_ARGUMENT)
    metrics.run_failed(FIRST, default, "Predict", Code.DEADLINE_EXCEEDED)
    metrics.ran(SECOND, second, "Predict", 0.002)
    name = ":salver:run_count"
    assert counts(metrics) == [
        f'{name}{{model_name="m",version="1",signature_name="other",API="Predict",'
        'status="INVALID_ARGUMENT"} 1',
        f'{name}{{model_name="m",version="1",signature_name="serving_default",API="Classify",'
        'status="OK"} 1',
        f'{name}{{model_name="m",version="1",signature_name="serving_default",API="Predict",'
        'status="DEADLINE_EXCEEDED"} 1',
        f'{name}{{model_name="m",version="1",signature_name="serving_default",API="Predict",'
        'status="OK"} 3',
        f'{name}{{model_name="m",version="2",signature_name="serving_default",API="Predict",'
        'status="OK"} 1',
    ]


def test_the_latency_of_a_version_is_in_microseconds() -> None:
    metrics = RunMetrics()
    metrics.ran(FIRST, prepared(), "Predict", 0.25)
    labels = 'model_name="m",version="1",signature_name="serving_default",API="Predict"'
    assert f":salver:run_latency_sum{{{labels}}} 250000" in lines(metrics)
    assert f":salver:run_latency_count{{{labels}}} 1" in lines(metrics)


def test_the_metric_of_the_model_is_the_sum_of_its_versions_and_outlives_them() -> None:
    metrics = RunMetrics()
    metrics.ran(FIRST, prepared(), "Predict", 0.001)
    metrics.ran(SECOND, prepared(), "Predict", 0.001)
    assert f"{RUNTIME} 2" in lines(metrics)
    for state in (State.UNLOADING, State.END):
        metrics.on_state(StateChanged(FIRST, state))
    assert f"{RUNTIME} 2" in lines(metrics)
    assert len(counts(metrics)) == 1
    metrics.on_state(StateChanged(SECOND, State.END))
    assert f"{RUNTIME} 2" in lines(metrics)
    assert counts(metrics) == []


def test_a_version_that_comes_back_begins_anew_and_the_model_goes_on() -> None:
    metrics = RunMetrics()
    metrics.ran(FIRST, prepared(), "Predict", 0.001)
    metrics.on_state(StateChanged(FIRST, State.END))
    metrics.ran(FIRST, prepared(), "Predict", 0.001)
    assert f"{RUNTIME} 2" in lines(metrics)
    (line,) = counts(metrics)
    assert line.endswith(" 1")


def test_multi_inference_counts_for_the_version_alone() -> None:
    metrics = RunMetrics()
    metrics.ran(FIRST, prepared(), "MultiInference", 0.001)
    metrics.on_state(StateChanged(SECOND, State.END))
    assert len(counts(metrics)) == 1
    assert "# TYPE :tensorflow:serving:runtime_latency histogram" in lines(metrics)
    assert not any(line.startswith(":tensorflow:serving:runtime") for line in lines(metrics))


def test_a_page_shows_no_more_signatures_than_it_can_carry() -> None:
    metrics = RunMetrics()
    for number in range(2100):
        metrics.ran(FIRST, prepared(f"s{number}"), "Predict", 0.001)
    assert len(counts(metrics)) == 2000
    assert f"{RUNTIME} 2100" in lines(metrics)
