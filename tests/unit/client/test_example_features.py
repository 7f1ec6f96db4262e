import json

import numpy as np
import pytest
import tensorflow as tf

from salver.client.example_features import Example, json_form, serialized
from salver.codecs.json_examples import ExamplesBody
from salver.errors import InvalidArgument

FEATURES: Example = {
    "age": 22.5,
    "heights": [1, 2.5, np.float32(0.1)],
    "count": 3,
    "counts": np.array([[2**62, -1]]),
    "flag": True,
    "name": "ä",
    "names": [b"\xff", "b"],
    "texts": np.array(["x", "yy"]),
    "special": [float("nan"), float("inf")],
    "empty": [],
}


def test_an_example_is_what_tensorflow_reads() -> None:
    read = tf.train.Example.FromString(serialized(FEATURES)).features.feature
    assert list(read["age"].float_list.value) == [22.5]
    assert list(read["heights"].float_list.value) == [1, 2.5, np.float32(0.1)]
    assert list(read["count"].int64_list.value) == [3]
    assert list(read["counts"].int64_list.value) == [2**62, -1]
    assert list(read["flag"].int64_list.value) == [1]
    assert list(read["name"].bytes_list.value) == ["ä".encode()]
    assert list(read["names"].bytes_list.value) == [b"\xff", b"b"]
    assert list(read["texts"].bytes_list.value) == [b"x", b"yy"]
    assert read["empty"].WhichOneof("kind") is None


def test_over_rest_it_is_the_same_example() -> None:
    body = json.dumps({"examples": [json_form(FEATURES)]}).encode()
    (read,) = ExamplesBody.parse(body).examples
    left = tf.train.Example.FromString(read)
    assert str(left) == str(tf.train.Example.FromString(serialized(FEATURES)))


def test_bytes_are_an_example_already() -> None:
    data = serialized({"x": 1.0})
    assert serialized(data) == data
    assert json_form(data) == {"x": [1.0]}
    with pytest.raises(InvalidArgument, match=r"no tf\.Example"):
        json_form(b"\xff")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "feature 'x' has a NoneType"),
        ([1, "a"], "feature 'x' has values of several kinds"),
        ([[1]], "feature 'x' has a list"),
        (2**63, "feature 'x'"),
    ],
)
def test_what_is_no_feature_is_refused(value: object, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        serialized({"x": value})  # type: ignore[dict-item]


def test_what_is_no_example_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="an example is a str"):
        serialized("x")  # type: ignore[arg-type]
