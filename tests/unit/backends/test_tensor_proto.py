from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from salver.backends.tensor_proto import array_of_proto, known_data_type, shape_of
from salver.codecs.messages import message_class
from salver.core.data_type import DataType, data_type_of

PLAIN = [np.float32, np.float64, np.int32, np.uint8, np.int16, np.int8, np.int64, np.bool_,
         np.uint16, np.uint32, np.uint64, np.float16, np.complex64, np.complex128]  # fmt: skip


def decoded(data_type: DataType, shape: tuple[int, ...] | None = (), **fields: Any) -> np.ndarray:
    proto = message_class("tensorflow.TensorProto")(dtype=data_type, **fields)
    if shape is None:
        proto.tensor_shape.unknown_rank = True
    for size in shape or ():
        proto.tensor_shape.dim.add(size=size)
    return array_of_proto(memoryview(proto.SerializeToString()))


@given(
    arrays.arrays(
        st.sampled_from([np.dtype(plain) for plain in PLAIN]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_content_has_the_bytes_of_the_array(array: np.ndarray) -> None:
    read = decoded(data_type_of(array.dtype), array.shape, tensor_content=array.tobytes())

    assert read.dtype == array.dtype
    assert read.shape == array.shape
    if array.size:
        assert read.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("data_type", "fields", "expected"),
    [
        (DataType.FLOAT, {"float_val": [1.5, -2]}, np.array([1.5, -2], np.float32)),
        (DataType.DOUBLE, {"double_val": [1.5, -2]}, np.array([1.5, -2])),
        (DataType.INT32, {"int_val": [7, -7]}, np.array([7, -7], np.int32)),
        (DataType.INT64, {"int64_val": [7, -7]}, np.array([7, -7])),
        (DataType.UINT8, {"int_val": [300, -1]}, np.array([44, 255], np.uint8)),
        (DataType.INT8, {"int_val": [200, 1]}, np.array([-56, 1], np.int8)),
        (DataType.UINT16, {"int_val": [70000, 1]}, np.array([4464, 1], np.uint16)),
        (DataType.UINT32, {"uint32_val": [2**32 - 1, 1]}, np.array([2**32 - 1, 1], np.uint32)),
        (DataType.UINT64, {"uint64_val": [2**64 - 1, 1]}, np.array([2**64 - 1, 1], np.uint64)),
        (DataType.BOOL, {"bool_val": [True, False]}, np.array([True, False])),
        (DataType.HALF, {"half_val": [15360, 0]}, np.array([1, 0], np.float16)),
        (DataType.BFLOAT16, {"half_val": [16256, 0]}, np.array([1, 0], ml_dtypes.bfloat16)),
        (DataType.COMPLEX64, {"scomplex_val": [1, 2, 3, 4, 9]}, np.array([1 + 2j, 3 + 4j], "c8")),
        (DataType.COMPLEX128, {"dcomplex_val": [1, 2, 3, 4]}, np.array([1 + 2j, 3 + 4j])),
        (DataType.STRING, {"string_val": [b"a", b""]}, np.array([b"a", b""], object)),
        (DataType.QINT8, {"int_val": [3, -3]}, np.array([3, -3], np.int8).view([("qint8", "i1")])),
        (DataType.INT4, {"int_val": [3, -3]}, np.array([3, -3], ml_dtypes.int4)),
        (
            DataType.FLOAT8_E5M2,
            {"float8_val": b"\x3c\x00"},
            np.array([1, 0], ml_dtypes.float8_e5m2),
        ),
    ],
    ids=lambda value: value.label if isinstance(value, DataType) else "",
)
def test_each_type_has_its_field(
    data_type: DataType, fields: dict[str, Any], expected: np.ndarray
) -> None:
    read = decoded(data_type, (2,), **fields)

    assert read.dtype == expected.dtype
    assert read.tolist() == expected.tolist()


@pytest.mark.parametrize(("data_type", "fields"), [(DataType.STRING, {"string_val": [b"a"]}),
                                                   (DataType.INT8, {})])  # fmt: skip
def test_a_few_bytes_of_a_file_do_not_fill_the_memory(
    data_type: DataType, fields: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="are too many"):
        decoded(data_type, (100_000, 100_000), **fields)
    assert decoded(data_type, (100, 1000), **fields).shape == (100, 1000)


def test_the_last_value_stands_for_the_missing_ones() -> None:
    assert decoded(DataType.FLOAT, (2, 2), float_val=[1, 2]).tolist() == [[1, 2], [2, 2]]


def test_values_too_many_are_ignored() -> None:
    assert decoded(DataType.INT64, (1,), int64_val=[1, 2]).tolist() == [1]


def test_no_values_are_zeros() -> None:
    assert decoded(DataType.FLOAT, (2,)).tolist() == [0, 0]
    assert decoded(DataType.STRING, (2,)).tolist() == [b"", b""]


def test_values_of_another_type_are_ignored() -> None:
    assert decoded(DataType.FLOAT, (1,), double_val=[3]).tolist() == [0]


def test_content_wins_over_values() -> None:
    read = decoded(DataType.INT8, (1,), int_val=[1], tensor_content=b"\x05")

    assert read.tolist() == [5]


def test_an_unknown_rank_is_a_scalar() -> None:
    assert decoded(DataType.FLOAT, None, float_val=[3]).shape == ()


def test_strings_in_content_come_after_their_sizes() -> None:
    read = decoded(DataType.STRING, (3,), tensor_content=b"\x01\x00\x02abc")

    assert read.tolist() == [b"a", b"", b"bc"]


@pytest.mark.parametrize(
    ("data_type", "shape", "fields"),
    [
        pytest.param(DataType.INVALID, (), {}, id="no type"),
        pytest.param(DataType.RESOURCE, (), {}, id="resource"),
        pytest.param(DataType.FLOAT, (-1,), {}, id="unknown size"),
        pytest.param(DataType.FLOAT, (2,), {"tensor_content": b"abc"}, id="short content"),
        pytest.param(DataType.STRING, (1,), {"tensor_content": b"\x09abc"}, id="short text"),
        pytest.param(DataType.STRING, (1,), {"tensor_content": b"\x01abc"}, id="long text"),
    ],
)
def test_what_tensorflow_would_not_read_is_refused(
    data_type: DataType, shape: tuple[int, ...], fields: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decoded(data_type, shape, **fields)


def test_a_reference_has_the_type_of_its_value() -> None:
    assert known_data_type(101) is DataType.FLOAT
    assert known_data_type(99) is DataType.INVALID


def test_no_shape_is_that_of_a_scalar() -> None:
    assert shape_of(memoryview(b"")) == ()
