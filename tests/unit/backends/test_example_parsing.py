from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.backends.example_parsing import DenseFeature, SparseFeature, parse_examples
from salver.codecs.messages import message_class
from salver.core.data_type import DataType

NOTHING = np.empty(0, object)


def example(**features: list[Any]) -> bytes:
    message = message_class("tensorflow.Example")()
    for name, values in features.items():
        feature = message.features.feature[name]
        lists = {bytes: feature.bytes_list, int: feature.int64_list, float: feature.float_list}
        lists[type(values[0])].value.extend(values)
    data: bytes = message.SerializeToString()
    return data


def dense(key: bytes, data_type: DataType, *shape: int, default: Any = ()) -> DenseFeature:
    return DenseFeature(key, data_type, shape, np.array(default, object))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9))
def test_floats_keep_their_values(values: list[float]) -> None:
    (array,) = parse_examples([example(x=values)], [], [dense(b"x", DataType.FLOAT, len(values))])

    assert array.dtype == np.float32
    assert array.tolist() == [values]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9))
def test_integers_keep_their_values(values: list[int]) -> None:
    (array,) = parse_examples([example(x=values)], [SparseFeature(b"x", DataType.INT64)], [])[1:2]

    assert array.dtype == np.int64
    assert array.tolist() == values


@given(st.lists(st.binary(max_size=5), min_size=4, max_size=4))
def test_bytes_keep_their_zeros_and_their_places(values: list[bytes]) -> None:
    (array,) = parse_examples([example(x=values)], [], [dense(b"x", DataType.STRING, 2, 2)])

    assert array.tolist() == [[values[:2], values[2:]]]


def test_the_arrays_come_in_the_order_of_the_operation() -> None:
    serialized = [example(a=[1, 2], b=[b"x"], c=[1.0]), example(b=[b"y", b"z"], c=[2.0])]

    arrays = parse_examples(
        serialized,
        [SparseFeature(b"a", DataType.INT64), SparseFeature(b"b", DataType.STRING)],
        [dense(b"c", DataType.FLOAT)],
    )

    assert [array.tolist() for array in arrays] == [
        [[0, 0], [0, 1]], [[0, 0], [1, 0], [1, 1]],
        [1, 2], [b"x", b"y", b"z"],
        [2, 2], [2, 2],
        [1.0, 2.0],
    ]  # fmt: skip


def test_no_examples_make_empty_arrays() -> None:
    arrays = parse_examples(
        [], [SparseFeature(b"a", DataType.INT64)], [dense(b"c", DataType.FLOAT, 3)]
    )

    assert [array.shape for array in arrays] == [(0, 2), (0,), (2,), (0, 3)]


def test_a_missing_feature_has_its_default() -> None:
    feature = dense(b"x", DataType.FLOAT, 2, default=[0.5, -1])
    (array,) = parse_examples([example(y=[1.0]), b"", example(x=[3.0, 4.0])], [], [feature])

    assert array.tolist() == [[0.5, -1], [0.5, -1], [3, 4]]


def test_the_last_of_two_features_of_one_name_counts() -> None:
    twice = example(x=[1.0]) + example(x=[2.0])

    assert parse_examples([twice], [], [dense(b"x", DataType.FLOAT)])[0].tolist() == [2.0]


@pytest.mark.parametrize(
    ("serialized", "message"),
    [
        pytest.param(example(y=[1.0]), "b'x' is required", id="missing"),
        pytest.param(example(x=[1.0, 2.0, 3.0]), "Values size: 3 .*shape: .2.", id="too many"),
        pytest.param(example(x=[1, 2]), "Data type: int64 but expected type: float", id="type"),
        pytest.param(b"\x0a\x7f", "longer than its message", id="cut"),
    ],
)
def test_an_example_that_does_not_fit_is_a_value_error(serialized: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_examples([serialized], [], [dense(b"x", DataType.FLOAT, 2)])
