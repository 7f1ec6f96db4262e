"""Warm-up requests are what their signatures take, or are refused before anything is written."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salver.codecs.messages import message_class
from salver.codecs.tf_record import read_records
from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument
from salver.export.warm_up_file import FILE_NAME, WarmUp, write_warm_up

SIGNATURES = {
    "serving_default": Signature(
        "serving_default",
        {
            "x": TensorSpec("x:0", DataType.FLOAT, (-1, 2)),
            "word": TensorSpec("w:0", DataType.STRING, None),
        },
        {},
        "tensorflow/serving/predict",
        {"word": np.array([b"none"], object)},
    ),
    "classify": Signature(
        "classify",
        {"inputs": TensorSpec("e:0", DataType.STRING, (-1,))},
        {},
        "tensorflow/serving/classify",
    ),
}
FEATURES = {"classify": {"age": SimpleNamespace(dtype=SimpleNamespace(name="float32"))}}


def logs(folder: Path, requests: Any) -> list[Any]:
    write_warm_up(folder, "m", requests, SIGNATURES, FEATURES)
    with (folder / FILE_NAME).open("rb") as file:
        kind = message_class("tensorflow.serving.PredictionLog")
        return [kind.FromString(content) for content in read_records(file)]


def test_a_request_has_the_types_that_the_signature_takes(tmp_path: Path) -> None:
    first, second = logs(tmp_path, [{"x": [[1.5, 2.0]]}, {"x": np.ones((3, 2)), "word": ["a"]}])

    assert first.predict_log.request.model_spec.name == "m"
    assert first.predict_log.request.model_spec.signature_name == "serving_default"
    assert first.predict_log.request.inputs["x"].dtype == DataType.FLOAT
    assert list(first.predict_log.request.inputs["x"].float_val) == [1.5, 2.0]
    assert list(second.predict_log.request.inputs["word"].string_val) == [b"a"]


def test_features_have_the_types_that_the_model_parses(tmp_path: Path) -> None:
    (log,) = logs(tmp_path, [WarmUp([{"age": 22}, {"age": [1, 2]}], "classify")])

    first, second = log.classify_log.request.input.example_list.examples
    assert list(first.features.feature["age"].float_list.value) == [22.0]
    assert list(second.features.feature["age"].float_list.value) == [1.0, 2.0]


def test_without_requests_there_is_no_file(tmp_path: Path) -> None:
    write_warm_up(tmp_path, "m", [], SIGNATURES, FEATURES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        pytest.param(
            WarmUp({"x": [[1.0, 2.0]]}, "clasify"),
            "warm_up[0]: there is no signature 'clasify'; did you mean 'classify'?",
            id="signature",
        ),
        pytest.param(
            {"xs": [[1.0, 2.0]]},
            "warm_up[0]: signature 'serving_default' has no input 'xs'; did you mean 'x'?",
            id="input",
        ),
        pytest.param(
            {"word": ["a"]},
            "warm_up[0]: signature 'serving_default' needs 'x', too",
            id="missing input",
        ),
        pytest.param(
            {"x": [["a", "b"]]},
            "warm_up[0]: input 'x' is <U1; the signature takes float32",
            id="type",
        ),
        pytest.param(
            {"x": [[1.0], [2.0, 3.0]]}, "warm_up[0]: input 'x' is no array", id="no array"
        ),
        pytest.param(
            {"x": [1.0, 2.0]},
            "warm_up[0]: input 'x' has the shape [2]; the signature takes [?, 2]",
            id="shape",
        ),
        pytest.param(
            np.ones((1, 2)),
            "warm_up[0] is ndarray; it must be a mapping from the inputs of signature",
            id="no mapping",
        ),
        pytest.param(
            WarmUp({"x": [[1.0, 2.0]]}, "classify"),
            "warm_up[0]: the signature reads Examples: give a list of them",
            id="tensors for examples",
        ),
        pytest.param(
            WarmUp([{"aeg": 1.0}], "classify"),
            "warm_up[0][0]: there is no feature 'aeg'; did you mean 'age'?",
            id="feature",
        ),
        pytest.param(
            WarmUp([{"age": "old"}], "classify"),
            "warm_up[0][0]: feature 'age' is <U3; it must be float32",
            id="type of a feature",
        ),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, request_: Any, told: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        write_warm_up(tmp_path, "m", [request_], SIGNATURES, FEATURES)
    assert str(raised.value).startswith(told)
    assert list(tmp_path.iterdir()) == []


def test_more_requests_than_servers_play_are_refused(tmp_path: Path) -> None:
    requests: list[Mapping[str, Any]] = [{"x": [[1.0, 2.0]]}] * 1001
    with pytest.raises(InvalidArgument, match="1001 requests"):
        write_warm_up(tmp_path, "m", requests, SIGNATURES, FEATURES)
