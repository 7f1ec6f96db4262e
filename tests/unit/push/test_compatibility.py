from collections.abc import Mapping

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec
from salver.push.compatibility import incompatibilities

Shape = tuple[int, ...] | None


def spec(shape: Shape = (-1,), data_type: DataType = DataType.FLOAT) -> TensorSpec:
    return TensorSpec("tensor", data_type, shape)


def of(
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    defaults: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Signature]:
    return {"serving_default": Signature("serving_default", inputs, outputs, "", defaults or {})}


OLD = of({"x": spec()}, {"y": spec()})
ONE = {"z": np.zeros(1, np.float32)}


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        {**OLD, "more": OLD["serving_default"]},
        of({"x": spec(None)}, {"y": spec()}),
        of({"x": spec()}, {"y": spec(), "more": spec()}),
        of({"x": spec(), "z": spec()}, {"y": spec()}, ONE),
        of({"x": spec()}, {"y": spec((3,))}),
        of({"x": spec()}, {"y": spec(None)}),
    ],
)
def test_clients_can_go_on(new: dict[str, Signature]) -> None:
    assert list(incompatibilities(OLD, new)) == []


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (
            {"serving_defaults": OLD["serving_default"]},
            "signature 'serving_default' is gone; did you mean 'serving_defaults'?",
        ),
        (of({"X": spec()}, {"y": spec()}), "input 'x' is gone; did you mean 'X'?"),
        (of({"x": spec((4,))}, {"y": spec()}), "input 'x' was of shape [?] and is of shape [4]"),
        (of({"x": spec((-1, 1))}, {"y": spec()}), "is of shape [?,1], which does not take all"),
        (
            of({"x": spec((-1,), DataType.INT32)}, {"y": spec()}),
            "input 'x' was DT_FLOAT and is DT_INT32",
        ),
        (of({"x": spec(), "z": spec()}, {"y": spec()}), "input 'z' is new and has no default"),
        (of({"x": spec()}, {}), "output 'y' is gone; there are none"),
        (
            of({"x": spec()}, {"y": spec((-1, 2))}),
            "output 'y' was of shape [?] and is of shape [?,2]",
        ),
        (
            of({"x": spec()}, {"y": spec((-1,), DataType.DOUBLE)}),
            "output 'y' was DT_FLOAT and is DT_DOUBLE",
        ),
    ],
)
def test_what_clients_would_stumble_over_is_told(new: dict[str, Signature], problem: str) -> None:
    found = list(incompatibilities(OLD, new))
    assert problem in found[0]


def test_a_default_may_not_go_away() -> None:
    old = of({"x": spec(), "z": spec()}, {}, ONE)
    new = of({"x": spec(), "z": spec()}, {})
    (problem,) = incompatibilities(old, new)
    assert problem.endswith("input 'z' has no default any more")


def test_signatures_of_the_framework_itself_may_go() -> None:
    internal = {"__saved_model_init_op": Signature("__saved_model_init_op", {}, {})}
    assert list(incompatibilities({**OLD, **internal}, OLD)) == []


def test_a_fixed_size_of_an_output_may_not_become_another_one() -> None:
    (problem,) = incompatibilities(of({}, {"y": spec((3,))}), of({}, {"y": spec((4,))}))
    assert problem.endswith("output 'y' was of shape [3] and is of shape [4]")
