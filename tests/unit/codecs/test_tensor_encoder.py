"""Arrays into messages: compared with protobuf, TensorFlow and our own decoder."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from salver.codecs.messages import message_class
from salver.codecs.tensor_decoder import decode_tensor
from salver.codecs.tensor_encoder import encode_tensor
from salver.core.data_type import DataType, numpy_type_of
from salver.errors import InternalError
from tests.unit.codecs.tensorflow_child import TensorFlowChild, as_parsed

DATA_TYPES = [data_type for data_type in DataType if numpy_type_of(data_type) is not None]


def array_of(data_type: DataType, count: int) -> np.ndarray:
    """Values of every kind that the type has: every bit pattern of the small ones."""
    numpy_type = numpy_type_of(data_type)
    assert numpy_type is not None
    if data_type == DataType.STRING:
        return np.array([b"x" * i for i in range(count)], dtype=object)
    if data_type == DataType.BOOL:
        return np.array([i % 3 == 0 for i in range(count)], dtype=np.bool_)
    if data_type in (DataType.INT4, DataType.UINT4, DataType.INT2, DataType.UINT2):
        bits = 4 if data_type in (DataType.INT4, DataType.UINT4) else 2
        low = -(2 ** (bits - 1)) if data_type in (DataType.INT4, DataType.INT2) else 0
        return np.array([low + i % 2**bits for i in range(count)]).astype(numpy_type)
    raw = np.random.default_rng(1).bytes(count * numpy_type.itemsize)
    return np.frombuffer(raw, dtype=numpy_type).copy()


@pytest.fixture(scope="module")
def tensorflow() -> Iterator[TensorFlowChild]:
    child = TensorFlowChild()
    yield child
    child.stop()


def parsed(message: bytes) -> Any:
    return message_class("tensorflow.TensorProto").FromString(message)


@pytest.mark.parametrize("as_content", [False, True], ids=["typed field", "tensor_content"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4), (300,), (0,), (3, 0)], ids=str)
@pytest.mark.parametrize("data_type", DATA_TYPES, ids=lambda t: t.label)
def test_tensorflow_and_our_decoder_read_back_what_was_written(
    tensorflow: TensorFlowChild, data_type: DataType, shape: tuple[int, ...], as_content: bool
) -> None:
    array = array_of(data_type, int(np.prod(shape))).reshape(shape)
    message = encode_tensor(array, as_content)
    again = decode_tensor(message)
    assert as_parsed(again) == tensorflow.parse(message, data_type)
    assert again.dtype == array.dtype
    if data_type in (DataType.INT4, DataType.INT2):
        # The unused bits of their bytes may differ: they repeat the sign or are 0.
        again, array = again.astype(np.int8), array.astype(np.int8)
    assert as_parsed(again) == as_parsed(array)
    assert bool(parsed(message).tensor_content) == (as_content and array.size > 0)
    assert [dim.size for dim in parsed(message).tensor_shape.dim] == list(shape)
    assert parsed(message).HasField("tensor_shape")


@pytest.mark.parametrize(
    ("array", "field", "values"),
    [
        (np.array([1, 2], dtype=np.float32), "float_val", [1.0, 2.0]),
        (np.array([1, 1], dtype=np.float64), "double_val", [1.0, 1.0]),
        (np.array([-1, 5], dtype=np.int32), "int_val", [-1, 5]),
        (np.array([-300, 5], dtype=np.int16), "int_val", [-300, 5]),
        (np.array([-1, 127], dtype=np.int8), "int_val", [-1, 127]),
        (np.array([255, 0], dtype=np.uint8), "int_val", [255, 0]),
        (np.array([65535, 128], dtype=np.uint16), "int_val", [65535, 128]),
        (np.array([-(2**63), 2**63 - 1], dtype=np.int64), "int64_val", [-(2**63), 2**63 - 1]),
        (np.array([3, 4], dtype=np.longlong), "int64_val", [3, 4]),
        (np.array([2**32 - 1, 16384], dtype=np.uint32), "uint32_val", [2**32 - 1, 16384]),
        (np.array([2**64 - 1, 16383], dtype=np.uint64), "uint64_val", [2**64 - 1, 16383]),
        (np.array([True, False], dtype=np.bool_), "bool_val", [True, False]),
        (np.array([1, -2], dtype=np.float16), "half_val", [15360, 49152]),
        (np.array([1 + 2j], dtype=np.complex64), "scomplex_val", [1.0, 2.0]),
        (np.array([1 + 2j], dtype=np.complex128), "dcomplex_val", [1.0, 2.0]),
        (np.array([b"a", "é"], dtype=object), "string_val", [b"a", "é".encode()]),
        (np.array(["a", "€"]), "string_val", [b"a", "€".encode()]),
        (np.array([b"a", b"bc"]), "string_val", [b"a", b"bc"]),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_every_element_goes_to_the_field_of_its_type(
    array: np.ndarray, field: str, values: list[Any]
) -> None:
    message = parsed(encode_tensor(array))
    assert list(getattr(message, field)) == values
    assert {descriptor.name for descriptor, _ in message.ListFields()} == {
        "dtype",
        "tensor_shape",
        field,
    }


@pytest.mark.parametrize("as_content", [False, True])
@settings(max_examples=100, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.int8, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.bool_]),
        hnp.array_shapes(max_dims=4, max_side=6, min_side=0),
    )
)
def test_decoding_gives_back_the_array_that_was_encoded(
    array: np.ndarray, as_content: bool
) -> None:
    assert as_parsed(decode_tensor(encode_tensor(array, as_content))) == as_parsed(array)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(12).reshape(3, 4).T, id="transposed"),
        pytest.param(np.arange(12)[::-2], id="strided backwards"),
        pytest.param(np.asfortranarray(np.arange(6.0).reshape(2, 3)), id="column-major"),
        pytest.param(np.arange(4, dtype=">i4"), id="big-endian"),
        pytest.param(np.broadcast_to(np.float32(3), (2, 2)), id="broadcast"),
        pytest.param(np.array([[b"a", b"b"], [b"c", b"d"]], dtype=object).T, id="strings"),
        pytest.param(np.frombuffer(b"-" + bytes(range(16)), np.int64, offset=1), id="unaligned"),
    ],
)
@pytest.mark.parametrize("as_content", [False, True])
def test_any_memory_layout_is_written_in_row_major_order(
    array: np.ndarray, as_content: bool
) -> None:
    assert decode_tensor(encode_tensor(array, as_content)).tolist() == array.tolist()


def test_a_bool_of_any_bit_pattern_is_written_as_one() -> None:
    array = np.frombuffer(b"\x02\x00\xff", dtype=np.bool_)
    assert list(parsed(encode_tensor(array)).bool_val) == [True, False, True]
    assert encode_tensor(array)[-3:] == b"\x01\x00\x01"


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.array([1, None], dtype=object), id="objects that are no text"),
        pytest.param(np.array(["\ud800"], dtype=object), id="text that UTF-8 cannot hold"),
        pytest.param(np.zeros(2, dtype="datetime64[s]"), id="dates"),
        pytest.param(np.zeros(2, dtype=np.longdouble), id="extended precision"),
        pytest.param(np.zeros(2, dtype=[("a", "i4"), ("b", "i4")]), id="structures"),
        pytest.param(np.empty(2, dtype=object), id="elements never set"),
    ],
)
@pytest.mark.parametrize("as_content", [False, True])
def test_what_no_tensor_can_hold_is_an_internal_error(array: np.ndarray, as_content: bool) -> None:
    with pytest.raises(InternalError):
        encode_tensor(array, as_content)


def test_what_is_no_array_is_a_type_error() -> None:
    with pytest.raises(TypeError), warnings.catch_warnings():
        encode_tensor([1.0])  # type: ignore[arg-type]
