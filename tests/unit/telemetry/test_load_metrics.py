import pytest

from salver.core.events import StateChanged
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import DataLoss
from salver.telemetry.load_metrics import LoadMetrics, MeasuredLoader, WarmUpReport
from tests.fakes import FakeLoader

ID = ServableId("m", 1)


def lines(metrics: LoadMetrics) -> list[str]:
    return [line for metric in metrics.metrics() for line in metric.lines()]


def report(status: str, records: int | None) -> WarmUpReport:
    return WarmUpReport(ID, "/m/1", status, 0.002, records, [])


def test_attempts_are_counted_by_their_outcome_and_the_time_of_good_ones_is_added_up() -> None:
    metrics = LoadMetrics()
    metrics.load_attempted("/m/1", False, 9.0)
    metrics.load_attempted("/m/1", True, 0.25)
    metrics.load_attempted("/m/1", True, 0.5)
    name = ":tensorflow:cc:saved_model:load"
    assert f'{name}_attempt_count{{model_path="/m/1",status="fail"}} 1' in lines(metrics)
    assert f'{name}_attempt_count{{model_path="/m/1",status="success"}} 2' in lines(metrics)
    assert f'{name}_latency{{model_path="/m/1"}} 750000' in lines(metrics)


def test_records_of_a_warm_up_that_went_wrong_are_not_counted() -> None:
    metrics = LoadMetrics()
    metrics.warmed_up(report("OK", 7))
    metrics.warmed_up(report("INVALID_ARGUMENT: wrong", None))
    name = ":tensorflow:serving:model_warmup"
    wrong = 'model_path="/m/1",status="INVALID_ARGUMENT: wrong"'
    assert f'{name}_records_read{{model_path="/m/1",status="OK"}} 7' in lines(metrics)
    assert f"{name}_records_read{{{wrong}}}" not in "\n".join(lines(metrics))
    assert f"{name}_latency_count{{{wrong}}} 1" in lines(metrics)


def test_paths_of_ever_new_versions_do_not_fill_the_page() -> None:
    metrics = LoadMetrics()
    for version in range(3000):
        metrics.load_attempted(f"/m/{version}", True, 0.001)
    metrics.load_attempted("/m/0", True, 0.001)
    found = [line for line in lines(metrics) if "attempt_count{" in line]
    assert len(found) == 1001
    name = ":tensorflow:cc:saved_model:load_attempt_count"
    assert f'{name}{{model_path="(other)",status="success"}} 2000' in found
    assert f'{name}{{model_path="/m/0",status="success"}} 2' in found


def test_a_version_is_available_from_its_load_to_its_unload() -> None:
    metrics = LoadMetrics()
    line = ':salver:version_available{model_name="m",version="1"} 1'
    for state in (State.START, State.LOADING, State.AVAILABLE):
        assert line not in lines(metrics)
        metrics.on_state(StateChanged(ID, state))
    assert line in lines(metrics)
    metrics.on_state(StateChanged(ID, State.UNLOADING))
    assert line not in lines(metrics)
    metrics.on_state(StateChanged(ID, State.END, DataLoss("")))


def test_a_measured_loader_reports_each_attempt() -> None:
    reports: list[tuple[bool, float]] = []
    inner = FakeLoader("label", failures=[DataLoss("broken")])
    loader = MeasuredLoader(inner, lambda *report: reports.append(report))
    with pytest.raises(DataLoss):
        loader.load()
    assert loader.load().label == "label"
    loader.unload()
    assert [succeeded for succeeded, _ in reports] == [False, True]
    assert all(elapsed_s >= 0 for _, elapsed_s in reports)
    assert inner.unloads == 1
