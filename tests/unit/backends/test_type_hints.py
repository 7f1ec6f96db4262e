import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray

from salver.backends.type_hints import hinted_inputs, hinted_outputs, parts
from salver.core.data_type import DataType

Rows = Annotated[NDArray[np.float32], (None, 4)]


class Named(NamedTuple):
    label: Annotated[NDArray[np.str_], (None,)]
    score: Rows


class Typed(TypedDict):
    label: Annotated[NDArray[np.str_], (None,)]
    score: Rows


@dataclass
class Data:
    label: Annotated[NDArray[np.str_], (None,)]
    score: Rows


@pytest.mark.parametrize(
    ("hint", "data_type", "shape"),
    [
        (NDArray[np.int64], DataType.INT64, None),
        (Rows, DataType.FLOAT, (-1, 4)),
        (Annotated[NDArray[np.bool_], ()], DataType.BOOL, ()),
        (np.ndarray[tuple[int, Literal[3]], np.dtype[np.uint8]], DataType.UINT8, (-1, 3)),
        (np.ndarray[tuple[int, ...], np.dtype[np.float64]], DataType.DOUBLE, None),
        (np.ndarray[Any, np.dtype[np.float16]], DataType.HALF, None),
        (NDArray[np.object_], DataType.STRING, None),
        (NDArray[np.bytes_], DataType.STRING, None),
    ],
)
def test_a_hint_tells_type_and_shape(
    hint: Any, data_type: DataType, shape: tuple[int, ...] | None
) -> None:
    def function(x: Any) -> Any: ...

    function.__annotations__ = {"x": hint, "return": hint}
    for found in (hinted_inputs(function)["x"], hinted_outputs(function)["output"]):
        assert (found.spec.data_type, found.spec.shape) == (data_type, shape)
        assert not found.as_str


@pytest.mark.parametrize("result", [Named, Typed, Data])
def test_fields_are_outputs(result: Any) -> None:
    def function() -> Any: ...

    function.__annotations__ = {"return": result}
    outputs = hinted_outputs(function)

    assert list(outputs) == ["label", "score"]
    assert outputs["label"].as_str
    assert outputs["score"].spec.shape == (-1, 4)


def nothing(x, y: Rows): ...  # type: ignore[no-untyped-def]


def number(x: float) -> float: ...  # type: ignore[empty-body]


def many(*x: Rows) -> None: ...


def dates(x: NDArray[np.datetime64]) -> None: ...


def noted(x: Annotated[NDArray[np.float32], "rows"]) -> None: ...


def odd(x: Annotated[NDArray[np.float32], ("rows",)]) -> None: ...


def unknown(x: "Missing") -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (nothing, "nothing(x) has no type hint"),
        (number, "number(x) is no array like NDArray[np.float32], but <class 'float'>"),
        (many, "many(*x) cannot be a signature"),
        (dates, "dates(x): no tensor can have the type datetime64"),
        (noted, "noted(x) is annotated with no shape"),
        (odd, "odd(x): 'rows' is no size"),
        (unknown, "NameError: name 'Missing' is not defined"),
    ],
)
def test_what_tells_no_array_is_named(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        hinted_inputs(function)


def test_a_result_without_a_hint_is_named() -> None:
    with pytest.raises(ValueError, match="the result of nothing has no type hint"):
        hinted_outputs(nothing)


@pytest.mark.parametrize("result", [Named(1, 2), {"label": 1, "score": 2}, Data(1, 2)])  # type: ignore[arg-type]
def test_parts_have_names(result: object) -> None:
    assert parts(result) == {"label": 1, "score": 2}


def test_an_array_has_no_parts() -> None:
    assert parts(np.zeros(2)) is None
    assert parts((1, 2)) is None


def test_an_alias_is_what_it_stands_for() -> None:
    # As `type Scores = ...` makes them, and NumPy `NDArray`, from Python 3.12 on.
    alias_type = pytest.importorskip("typing_extensions").TypeAliasType
    scores = alias_type("Scores", Rows)

    def predict(x: Any) -> Any:
        return x

    predict.__annotations__ = {"x": scores, "return": alias_type("Outputs", Named)}
    assert hinted_inputs(predict)["x"].spec.shape == (-1, 4)
    assert list(hinted_outputs(predict)) == ["label", "score"]


def test_an_alias_that_stands_for_itself_is_none() -> None:
    class Scores:
        """As `type Scores = Scores` makes it."""

        def __repr__(self) -> str:
            return "Scores"

        @property
        def __value__(self) -> "Scores":
            return self

    def predict(x: Any) -> Any:
        return x

    predict.__annotations__ = {"x": Rows, "return": Scores()}
    with pytest.raises(ValueError, match="the type alias Scores stands for itself"):
        hinted_outputs(predict)
