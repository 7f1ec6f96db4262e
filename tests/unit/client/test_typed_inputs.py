import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from salver.client.exchange import Operation
from salver.client.typed_inputs import Inputs, array_of_type, arrays_of, fitted
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument


def typed(value: Any, data_type: DataType) -> np.ndarray:
    return array_of_type("x", value, TensorSpec("x:0", data_type, None))


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (1, DataType.FLOAT),
        ([1, 2.5], DataType.HALF),
        ([[1.5]], DataType.BFLOAT16),
        ([True, 2], DataType.INT32),
        ([2**63 - 1, -(2**63)], DataType.INT64),
        ([2**64 - 1], DataType.UINT64),
        ([2**64 - 1, 5], DataType.UINT64),
        (2**70, DataType.DOUBLE),
        ([2**70, 1.5, math.inf], DataType.DOUBLE),
        ([65504.0, math.inf], DataType.HALF),
        ([-8, 7], DataType.INT4),
        ([True], DataType.BOOL),
        ([1, 2j], DataType.COMPLEX64),
        ([], DataType.INT8),
        ([[], []], DataType.BOOL),
    ],
)
def test_values_become_arrays_of_the_declared_type(value: Any, data_type: DataType) -> None:
    array = typed(value, data_type)
    assert array.dtype == numpy_type_of(data_type)
    assert array.tolist() == value


def test_text_becomes_bytes() -> None:
    assert typed([["ä", b"\0b\0"]], DataType.STRING).tolist() == [["ä".encode(), b"\0b\0"]]
    assert typed("word", DataType.STRING)[()] == b"word"


@pytest.mark.parametrize(
    ("value", "data_type", "reason"),
    [
        ([1.5], DataType.INT64, "takes int64, and was given float64"),
        ([1], DataType.BOOL, "takes bool, and was given int64"),
        (["1"], DataType.FLOAT, "takes float, and was given text"),
        ([300], DataType.UINT8, "cannot be an array of uint8"),
        ([8], DataType.INT4, "cannot be an array of int4"),
        ([2**64 - 1, -1], DataType.UINT64, "cannot be an array of uint64"),
        ([2**53 + 1, 1.0], DataType.INT64, "takes int64, and was given float64"),
        ([10**30], DataType.INT64, "cannot be an array of int64"),
        ([1e60], DataType.FLOAT, "a value is out of its range"),
        ([1, 1e6], DataType.HALF, "a value is out of its range"),
        ([1e30], DataType.FLOAT8_E4M3FN, "a value is out of its range"),
        ([10**400], DataType.FLOAT, "cannot be an array of float"),
        ([1.0, None], DataType.FLOAT, "takes float, and was given a NoneType"),
        ({"a": 1}, DataType.FLOAT, "takes float, and was given a dict"),
        ([1j], DataType.DOUBLE, "takes double, and was given complex"),
        ([[1], [1, 2]], DataType.FLOAT, "cannot be an array of float"),
        ([1], DataType.STRING, "takes text, and was given a int"),
        ([1], DataType.RESOURCE, "which has no values"),
        ([1.0, 1e300], DataType.FLOAT, "out of its range"),
    ],
)
def test_what_would_be_lost_is_refused(value: Any, data_type: DataType, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=f"input 'x'.*{reason}"):
        typed(value, data_type)


def test_arrays_of_other_types_are_fitted_and_the_rest_is_as_it_was() -> None:
    specs = {
        "x": TensorSpec("x:0", DataType.FLOAT, None),
        "n": TensorSpec("n:0", DataType.INT32, None),
    }
    signature = Signature("serving_default", specs, {})
    as_declared = {"x": np.ones(2, np.float32), "n": np.ones(2, np.int32)}
    assert fitted(as_declared, signature) is as_declared
    others = {"x": np.array([0.1, np.inf]), "n": np.array([7]), "unknown": np.ones(1)}
    arrays = fitted(others, signature)
    assert [(name, array.dtype.name) for name, array in arrays.items()] == [
        ("x", "float32"),
        ("n", "int32"),
        ("unknown", "float64"),
    ]
    assert arrays["x"].tolist() == [np.float32(0.1), np.inf]
    with pytest.raises(InvalidArgument, match="input 'n' takes int32, and was given float64"):
        fitted({"n": np.ones(1)}, signature)
    with pytest.raises(InvalidArgument, match=r"input 'n' cannot be an array of int32: .* range"):
        fitted({"n": np.array([2**40])}, signature)


def test_arrays_need_no_signature() -> None:
    def asked() -> Operation[Signature]:
        raise AssertionError

    inputs: Inputs = {"a": np.ones(2, ml_dtypes.bfloat16), "b": np.float32(1)}
    with pytest.raises(StopIteration) as end:
        next(arrays_of(inputs, asked))
    arrays = end.value.value
    assert arrays["a"] is inputs["a"]
    assert arrays["b"].shape == ()
    with pytest.raises(InvalidArgument, match=r"'c' is datetime64\[D\]"):
        next(arrays_of({"c": np.array("2020-01-01", "datetime64[D]")}, asked))


def test_inputs_without_names_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="named 1, which is no text"):
        next(arrays_of({1: np.ones(1)}, lambda: iter(())))  # type: ignore[dict-item,arg-type,return-value]
    with pytest.raises(InvalidArgument, match="the inputs are a ndarray"):
        next(arrays_of(np.ones(1), lambda: iter(())))  # type: ignore[arg-type,return-value]
