"""The warm-up file of a version: what is played, how often, and what fails the load."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from salver.core.servable import Program, ServableId
from salver.errors import ServingError
from salver.execution.prepared import PreparedServable
from salver.telemetry.load_metrics import WarmUpReport
from salver.transport.warm_up import WarmUp
from tests.fakes import failure
from tests.fuzz.model import Everything
from tests.fuzz.structure import record

ID = ServableId("m", 1)
FILE = "assets.extra/tf_serving_warmup_requests"


class Counted(Everything):
    """Counts the runs of each way through the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[str, ...]] = []

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        program, runs = super().program(feeds, fetches), self.runs

        class Counting:
            def run(self, inputs: Any) -> list[np.ndarray]:
                runs.append(feeds)
                return program.run(inputs)

        return Counting()


class Site:
    """A version folder with a warm-up file, and a servable to play it to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servable = Counted()
        self.reports: list[WarmUpReport] = []

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def write(self, *logs: prediction_log_pb2.PredictionLog) -> None:
        self.write_bytes(b"".join(record(log.SerializeToString()) for log in logs))

    def write_bytes(self, data: bytes) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_bytes(data)

    def play(self, iterations: int = 0) -> str | None:
        """The failure of the load, if it fails."""
        try:
            WarmUp(iterations, False, self.reports.append).play(
                PreparedServable(self.servable), ID, str(self.folder)
            )
        except ServingError as error:
            return failure(error)
        return None


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def predict(value: float = 1.0, signature: str = "") -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "whatever"
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([value], tf.float32))
    return log


def examples_of(kind: str) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, f"{kind}_log").request
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    if kind == "multi_inference":
        for method in ("classify", "regress"):
            task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
            task.model_spec.name, task.model_spec.signature_name = "m", method
    else:
        request.model_spec.signature_name = kind
    return log


def test_without_a_file_nothing_is_played(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert site.play() is None
    assert caplog.messages == [f"No warmup data file found at {site.file}"]
    assert site.reports == []


@pytest.mark.parametrize(
    ("log", "api"),
    [
        pytest.param(predict, "Predict", id="predict"),
        pytest.param(lambda: examples_of("classify"), "Classify", id="classify"),
        pytest.param(lambda: examples_of("regress"), "Regress", id="regress"),
        pytest.param(lambda: examples_of("multi_inference"), "MultiInference", id="multi"),
    ],
)
@pytest.mark.parametrize(("iterations", "times"), [(0, 1), (1, 1), (3, 3)])
def test_every_kind_of_log_is_played_as_often_as_asked_for(
    site: Site,
    log: Callable[[], prediction_log_pb2.PredictionLog],
    api: str,
    iterations: int,
    times: int,
) -> None:
    site.write(log())
    assert site.play(iterations) is None
    assert len(site.servable.runs) == times
    (report,) = site.reports
    assert {run[0] for run in report.runs} == {api}
    assert (report.status, report.records) == ("OK", 1)


def test_records_are_played_in_order(site: Site) -> None:
    site.write(predict(), examples_of("classify"), predict())
    assert site.play() is None
    assert [feeds[0].partition("/")[0] for feeds in site.servable.runs] == [
        "serving_default", "classify", "serving_default",
    ]  # fmt: skip
    assert site.reports[0].records == 3


@pytest.mark.parametrize(("kind", "number"), [("session_run", 5), ("predict_streamed", 7)])
def test_a_log_that_cannot_be_played_fails_the_load(site: Site, kind: str, number: int) -> None:
    log = prediction_log_pb2.PredictionLog()
    getattr(log, f"{kind}_log").SetInParent()
    site.write(predict(), log)
    assert site.play() == f"UNIMPLEMENTED: Unsupported log_type for warmup: {number}"
    assert site.reports[0].status == site.play()


def test_a_log_of_nothing_is_passed_over(site: Site) -> None:
    site.write(prediction_log_pb2.PredictionLog(), predict())
    assert site.play() is None
    assert len(site.servable.runs) == 1


def test_a_thousand_records_are_played_and_no_more(site: Site) -> None:
    site.write(*[predict()] * 1000)
    assert site.play() is None
    site.servable.runs.clear()
    site.write(*[predict()] * 1002)
    assert site.play() == (
        f"INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at {site.file}"
    )
    assert len(site.servable.runs) == 1001


def test_what_is_no_log_fails_the_load(site: Site) -> None:
    site.write_bytes(record(b"\xff\xff"))
    error = site.play()
    assert error is not None
    assert error.startswith("INVALID_ARGUMENT: Failed to parse warmup record: ")
    assert error.endswith(f" from {site.file}")


def test_what_is_no_file_of_records_fails_the_load(site: Site) -> None:
    site.write_bytes(b"this is no file of records")
    assert site.play() == (
        "DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?). "
        "Please verify your warmup data is in TFRecord format."
    )
    assert site.reports[0].status.startswith("DATA_LOSS: corrupted record at 0")


def test_a_request_that_fails_fails_the_load_and_ends_the_play(site: Site) -> None:
    site.write(predict(), predict(signature="none such"), predict())
    error = site.play()
    assert error is not None
    assert "none such" in error
    assert len(site.servable.runs) == 1
    assert site.reports[0].records is None
