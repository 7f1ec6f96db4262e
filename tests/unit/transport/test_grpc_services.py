"""Predict under overload: who is refused anyway is refused before its tensors are read."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from salver.codecs.messages import message_class
from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.errors import Code, ServingError, Unavailable
from salver.execution.prepared import PreparedServable
from salver.service.predict import Predict
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.grpc_services import PredictionService
from tests.batching import EchoServable

DEADLINE = 1000.0


class Same:
    """A program that gives back what it gets."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(inputs)


class Runner:
    """Runs at once, unless it is full."""

    def __init__(self) -> None:
        self.is_full = False
        self.asked: list[float | None] = []
        self.refusals = 0

    def refusal(self, executable: Any, deadline: float | None = None) -> ServingError | None:
        self.asked.append(deadline)
        return Unavailable("full") if self.is_full else None

    def refused(self, executable: Any) -> None:
        self.refusals += 1

    def run(
        self, executable: Any, inputs: Any, deadline: Any, on_done: Any, on_settled: Any
    ) -> None:
        on_done(executable.program.run(inputs), None, 0.0)
        on_settled()


class Call:
    record = None
    cancel = None
    started = 0.0
    deadline = DEADLINE

    def __init__(self) -> None:
        self.answers = 0
        self.errors: list[str] = []

    def succeed(self, framed: Any) -> None:
        self.answers += 1

    def fail(self, error: ServingError) -> None:
        self.errors.append(error.status)

    def refuse(self, error: ServingError, again: Callable[[], None]) -> None:
        self.fail(error)
        self.again = again


class Site:
    def __init__(self) -> None:
        self.runner = Runner()
        self.metrics = ServingMetrics()
        self.handle = Handle(ServableId("m", 1), PreparedServable(EchoServable(Same())))
        predict = Predict(cast("Any", self.runner), self.metrics.runs)
        opening = cast("Any", self)
        self.service = PredictionService(opening, predict, cast("Any", None), self.metrics)

    def open(self, name: str, version: int | None, label: str | None) -> Any:
        self.handle.uses += 1
        return self.handle

    def ask(self, damaged: bool = False, output_filter: tuple[str, ...] = ()) -> Call:
        request = message_class("tensorflow.serving.PredictRequest")()
        request.model_spec.name = "m"
        request.output_filter.extend(output_filter)
        tensor = request.inputs["x"]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add().size = 2
        tensor.tensor_content = np.ones(1 if damaged else 2, np.float32).tobytes()
        call = Call()
        self.service.predict(cast("Any", call), request.SerializeToString())
        return call


def test_a_request_that_has_room_is_answered() -> None:
    site = Site()
    assert site.ask().answers == 1
    assert site.runner.asked == [DEADLINE]
    assert site.runner.refusals == 0


def test_one_that_has_none_is_refused_whatever_its_tensors_are() -> None:
    site = Site()
    site.runner.is_full = True
    for damaged in (False, True):
        assert site.ask(damaged).errors == ["UNAVAILABLE: full"]
    assert site.runner.refusals == 2
    assert site.handle.uses == 0
    signature = site.handle.servable.signatures["serving_default"]
    assert signature.measured["Predict"].failures[Code.UNAVAILABLE] == 2
    page = site.metrics.page()
    assert 'request_count{model_name="m",status="UNAVAILABLE"} 2' in page


def test_those_that_are_refused_without_it_are_counted_alike() -> None:
    site = Site()
    site.runner.is_full = True
    call = site.ask()
    for _ in range(2):
        call.again()
    assert site.runner.refusals == 3
    signature = site.handle.servable.signatures["serving_default"]
    assert signature.measured["Predict"].failures[Code.UNAVAILABLE] == 3
    assert 'request_count{model_name="m",status="UNAVAILABLE"} 3' in site.metrics.page()


def test_other_outputs_than_all_have_a_queue_of_their_own() -> None:
    site = Site()
    site.runner.is_full = True
    with pytest.raises(ServingError, match="z"):
        site.ask(output_filter=("z",))
    assert site.runner.asked == []
