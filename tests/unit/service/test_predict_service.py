from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, NotFound, ServingError
from salver.execution.prepared import PreparedServable
from salver.execution.runner import Runner, RunnerOptions
from salver.service.predict import Predict, Prediction
from salver.telemetry.serving_metrics import ServingMetrics
from tests.fakes import failure


class TracingServable:
    """Its programs answer with the positions of the fetched tensors in the order asked for."""

    signature_def_map = b""

    def __init__(self, signatures: Mapping[str, Signature], outcome: Any = None) -> None:
        self.signatures = signatures
        self.outcome = outcome
        self.runs: list[tuple[tuple[str, ...], tuple[str, ...], list[Any]]] = []

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> "TracingProgram":
        if fetches == ("lost:0",):
            raise NotFound("lost:0 is not in the graph")
        return TracingProgram(self, feeds, fetches)


class TracingProgram:
    def __init__(
        self, servable: TracingServable, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> None:
        self._servable = servable
        self._way = feeds, fetches

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self._servable.runs.append((*self._way, [array.tolist() for array in inputs]))
        outcome = self._servable.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return [np.array(fetch) for fetch in self._way[1]] if outcome is None else outcome


def specs(*names: str) -> dict[str, TensorSpec]:
    return {name: TensorSpec(f"{name}_tensor:0", DataType.FLOAT, None) for name in names}


PLAIN = Signature("serving_default", specs("b", "a"), specs("z", "x", "y"))
DEFAULTS = Signature(
    "with_defaults", specs("b", "a", "c"), specs("y"), defaults={"c": np.array(7), "d": np.array(8)}
)
NO_INPUTS = Signature("counter", {}, specs("y"))
SIGNATURES = {s.name: s for s in (PLAIN, DEFAULTS, NO_INPUTS)}


class Site:
    """A predict use case that runs all on the spot, and one version that is open."""

    def __init__(self, outcome: Any = None, check_method_names: bool = False) -> None:
        self.metrics = ServingMetrics()
        runner = Runner(RunnerOptions(workers=1, inline_budget_s=float("inf")))
        self.predict = Predict(runner, self.metrics.runs, check_method_names)
        self.servable = TracingServable(SIGNATURES, outcome)
        self.handle = Handle(ServableId("m", 3), PreparedServable(self.servable))
        self.handle.uses = 1
        self.answers: list[tuple[Prediction | None, str | None]] = []

    def on_predicted(self, prediction: Prediction | None, error: ServingError | None) -> None:
        self.answers.append((prediction, failure(error)))

    def run(self, output_filter: Sequence[str] = (), name: str = "serving_default") -> None:
        prepared = self.handle.servable.signatures[name]
        inputs = [np.array(number) for number in range(len(prepared.input_names))]
        self.predict.run(self.handle, prepared, inputs, output_filter, None, self.on_predicted)


def complaint(signature: Signature, *sent: str) -> str | None:
    prepared = PreparedServable(TracingServable(SIGNATURES)).signatures[signature.name]
    try:
        Predict.check_inputs(prepared, sent)
    except ServingError as error:
        return error.status
    return None


def test_an_empty_signature_name_means_the_default_one() -> None:
    site = Site()
    default = site.handle.servable.signatures["serving_default"]
    assert site.predict.signature(site.handle, "") is default
    assert site.predict.named_signature(site.handle, "") is default
    assert site.predict.signature(site.handle, "counter").signature is NO_INPUTS


def test_an_unknown_signature_is_refused_in_the_words_of_each_protocol() -> None:
    site = Site()
    with pytest.raises(ServingError) as over_grpc:
        site.predict.signature(site.handle, "nope")
    with pytest.raises(ServingError) as over_rest:
        site.predict.named_signature(site.handle, "nope")
    assert over_grpc.value.status == (
        'FAILED_PRECONDITION: Serving signature key "nope" not found.'
    )
    assert over_rest.value.status == (
        'INVALID_ARGUMENT: Serving signature name: "nope" not found in signature def'
    )


@pytest.mark.parametrize("method_name", ["", "tensorflow/serving/predict2"])
def test_a_foreign_method_name_is_refused_only_where_that_is_checked(method_name: str) -> None:
    signature = Signature("odd", specs("a"), specs("y"), method_name)
    handle = Handle(ServableId("m", 3), PreparedServable(TracingServable({"odd": signature})))
    assert Site().predict.signature(handle, "odd").signature is signature
    strict = Site(check_method_names=True).predict
    for look_up in (strict.signature, strict.named_signature):
        with pytest.raises(ServingError) as refusal:
            look_up(handle, "odd")
        assert refusal.value.status == (
            "INTERNAL: Expected prediction signature method_name to be one of "
            "{tensorflow/serving/predict, tensorflow/serving/classify, tensorflow/serving/regress}."
            f" Was: {method_name}"
        )


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_the_three_known_method_names_pass_the_check(verb: str) -> None:
    signature = Signature("s", specs("a"), specs("y"), f"tensorflow/serving/{verb}")
    handle = Handle(ServableId("m", 3), PreparedServable(TracingServable({"s": signature})))
    assert Site(check_method_names=True).predict.signature(handle, "s").signature is signature


@pytest.mark.parametrize(
    ("signature", "sent", "expected"),
    [
        pytest.param(PLAIN, ("a", "b"), None, id="all"),
        pytest.param(NO_INPUTS, (), None, id="none wanted, none sent"),
        pytest.param(DEFAULTS, ("a", "b", "c"), None, id="all, the defaults too"),
        pytest.param(DEFAULTS, ("b", "a"), None, id="all but one that has a default"),
        pytest.param(
            PLAIN,
            ("b",),
            "INVALID_ARGUMENT: input size does not match signature: 1!=2 len({b}) != len({a,b}). "
            "Sent extra: {}. Missing but required: {a}.",
            id="one missing, no defaults",
        ),
        pytest.param(
            PLAIN,
            ("q", "b", "a", "p"),
            "INVALID_ARGUMENT: input size does not match signature: 4!=2 "
            "len({a,b,p,q}) != len({a,b}). Sent extra: {p,q}. Missing but required: {}.",
            id="too many",
        ),
        pytest.param(
            DEFAULTS,
            ("q", "b", "p", "r"),
            "INVALID_ARGUMENT: input size does not match signature: 4!=3 "
            "len({b,p,q,r}) != len({a,b,c}). Sent extra: {p,q,r}. Missing but required: {a,c}.",
            id="too many, and others missing",
        ),
        pytest.param(
            NO_INPUTS,
            ("x",),
            "INVALID_ARGUMENT: input size does not match signature: 1!=0 len({x}) != len({}). "
            "Sent extra: {x}. Missing but required: {}.",
            id="one where none is wanted",
        ),
        pytest.param(
            PLAIN,
            ("b", "q"),
            "INVALID_ARGUMENT: Signature input alias: a(feed name: a_tensor:0) not found in "
            "request and no default value provided. Inputs expected to be in the request {b,q}, "
            "or default input alias set: ",
            id="a wrong name, as many as wanted",
        ),
        pytest.param(
            DEFAULTS,
            ("c", "b"),
            "INVALID_ARGUMENT: Signature input alias: a(feed name: a_tensor:0) not found in "
            "request and no default value provided. Inputs expected to be in the request {b,c}, "
            "or default input alias set: c,d",
            id="one missing that has no default",
        ),
        pytest.param(
            DEFAULTS,
            ("b", "q", "a"),
            "INVALID_ARGUMENT: Inputs contains invalid name. Used request inputs: a,b, "
            "request input: a,b,q",
            id="a surplus name in the place of a default",
        ),
    ],
)
def test_the_names_of_the_inputs_are_compared_with_the_signature(
    signature: Signature, sent: tuple[str, ...], expected: str | None
) -> None:
    assert complaint(signature, *sent) == expected


def test_without_a_filter_all_outputs_come_in_the_order_of_the_signature() -> None:
    site = Site()
    site.run()
    [(prediction, error)] = site.answers
    assert error is None
    assert prediction is not None
    assert prediction.id == ServableId("m", 3)
    assert prediction.signature_name == "serving_default"
    assert list(prediction.output_names) == ["z", "x", "y"]
    assert [a.item() for a in prediction.outputs] == ["z_tensor:0", "x_tensor:0", "y_tensor:0"]
    assert site.handle.uses == 0


def test_a_filter_chooses_the_outputs_that_are_computed_and_their_order() -> None:
    site = Site()
    site.run(["y", "z"])
    [(prediction, _)] = site.answers
    assert prediction is not None
    assert list(prediction.output_names) == ["y", "z"]
    feeds, fetches = ("b_tensor:0", "a_tensor:0"), ("y_tensor:0", "z_tensor:0")
    assert site.servable.runs == [(feeds, fetches, [0, 1])]
    assert site.handle.uses == 0


@pytest.mark.parametrize(
    ("output_filter", "message"),
    [
        pytest.param(
            ["y", "q", "y"],
            "output tensor alias not found in signature: q Outputs expected to be in the set "
            "{x,y,z}.",
            id="unknown",
        ),
        pytest.param(["y", "x", "y"], "duplicate output tensor alias: y", id="twice"),
    ],
)
def test_a_filter_that_fits_no_signature_is_refused_and_the_handle_released(
    output_filter: list[str], message: str
) -> None:
    site = Site()
    with pytest.raises(InvalidArgument) as refusal:
        site.run(output_filter)
    assert refusal.value.message == message
    assert (site.answers, site.servable.runs, site.handle.uses) == ([], [], 0)


def test_a_filtered_output_that_the_backend_lacks_releases_the_handle() -> None:
    outputs = {**specs("y"), "lost": TensorSpec("lost:0", DataType.FLOAT, None)}
    site = Site()
    servable = PreparedServable(TracingServable({"s": Signature("s", {}, outputs)}))
    site.handle = Handle(ServableId("m", 3), servable)
    site.handle.uses = 1
    with pytest.raises(NotFound):
        site.run(["lost"], "s")
    assert site.handle.uses == 0


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(NotFound("no row"), "NOT_FOUND: no row", id="the program fails"),
        pytest.param(
            OSError("disk"), "INTERNAL: The model failed: OSError: disk", id="the program crashes"
        ),
        pytest.param(
            [np.array(1)], "UNKNOWN: Predict internal error", id="not as many outputs as asked for"
        ),
        pytest.param([], "UNKNOWN: Predict internal error", id="no outputs"),
    ],
)
def test_a_failed_run_is_answered_with_its_error_and_releases_the_handle(
    outcome: Any, expected: str
) -> None:
    site = Site(outcome)
    site.run()
    assert site.answers == [(None, expected)]
    assert site.handle.uses == 0
    assert ":runtime_latency_count" not in site.metrics.page()


def test_the_handle_is_held_until_the_answer_is_given() -> None:
    site = Site()
    held: list[int] = []
    prepared = site.handle.servable.signatures["counter"]
    site.predict.run(site.handle, prepared, [], (), None, lambda *_: held.append(site.handle.uses))
    assert held == [1]
    assert site.handle.uses == 0


def test_the_time_of_a_successful_run_is_counted_under_the_model() -> None:
    site = Site()
    site.run()
    line = ':runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 1\n'
    assert line in site.metrics.page()
