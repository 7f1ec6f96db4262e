"""Tensors out of messages: compared with TensorFlow, and with damaged bytes."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from salver.codecs.messages import message_class
from salver.codecs.tensor_decoder import decode_tensor
from salver.codecs.tensor_encoder import encode_tensor
from salver.core.data_type import DataType, numpy_type_of
from salver.core.deep_array import DeepArray
from salver.errors import InvalidArgument
from tests.unit.codecs.tensorflow_child import TensorFlowChild, as_parsed

START_GROUP = 3
"""The wire type."""

TYPED_FIELD = {
    DataType.FLOAT: "float_val",
    DataType.DOUBLE: "double_val",
    DataType.INT32: "int_val",
    DataType.UINT8: "int_val",
    DataType.INT16: "int_val",
    DataType.INT8: "int_val",
    DataType.STRING: "string_val",
    DataType.COMPLEX64: "scomplex_val",
    DataType.INT64: "int64_val",
    DataType.BOOL: "bool_val",
    DataType.QINT8: "int_val",
    DataType.QUINT8: "int_val",
    DataType.QINT32: "int_val",
    DataType.BFLOAT16: "half_val",
    DataType.QINT16: "int_val",
    DataType.QUINT16: "int_val",
    DataType.UINT16: "int_val",
    DataType.COMPLEX128: "dcomplex_val",
    DataType.HALF: "half_val",
    DataType.UINT32: "uint32_val",
    DataType.UINT64: "uint64_val",
    DataType.FLOAT8_E5M2: "float8_val",
    DataType.FLOAT8_E4M3FN: "float8_val",
    DataType.FLOAT8_E4M3FNUZ: "float8_val",
    DataType.FLOAT8_E4M3B11FNUZ: "float8_val",
    DataType.FLOAT8_E5M2FNUZ: "float8_val",
    DataType.INT4: "int_val",
    DataType.UINT4: "int_val",
    DataType.INT2: "int_val",
    DataType.UINT2: "int_val",
}
VALUES: dict[str, list[Any]] = {
    "float_val": [1.5, -2.0, 3e38, 0.0],
    "double_val": [1.5, -2.0, 1e300, 0.0],
    "int_val": [300, -1, 70000, -40000],
    "string_val": [b"a", b"", b"\xff\x00", b"long enough for no small buffer " * 9],
    "scomplex_val": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    "int64_val": [1, -1, 2**63 - 1, -(2**63)],
    "bool_val": [True, False, True, True],
    "dcomplex_val": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    "half_val": [15360, 49152, 70000, -1],
    "uint32_val": [1, 128, 2**32 - 1, 0],
    "uint64_val": [1, 128, 2**64 - 1, 0],
    "float8_val": [1, 128, 255, 0],
}
# How many wire values make one element.
PER_ELEMENT = {"scomplex_val": 2, "dcomplex_val": 2}
Fields = dict[str, Any]


def tensor_proto(data_type: int, shape: list[int] | None, fields: Fields) -> Any:
    message = message_class("tensorflow.TensorProto")(dtype=data_type, **fields)
    for size in shape or []:
        message.tensor_shape.dim.add(size=size)
    if shape == []:
        message.tensor_shape.SetInParent()
    return message


def typed(data_type: DataType, count: int, surplus: int = 0) -> Fields:
    """The typed field with `count` elements, and half an element more for `surplus`."""
    field = TYPED_FIELD[data_type]
    values = VALUES[field][: count * PER_ELEMENT.get(field, 1) + surplus]
    return {field: bytes(values) if field == "float8_val" else values}


def content(data_type: DataType, count: int, surplus: int = 0) -> Fields:
    if data_type == DataType.STRING:
        texts = [b"ab", b"", b"c" * 200, b"d"][:count]
        lengths = b"".join(
            b"\xc8\x01" if len(text) == 200 else bytes([len(text)]) for text in texts
        )
        return {"tensor_content": lengths + b"".join(texts) + b"x" * surplus}
    numpy_type = numpy_type_of(data_type)
    assert numpy_type is not None
    size = count * numpy_type.itemsize + surplus
    raw = bytes(i % 2 for i in range(size)) if data_type == DataType.BOOL else bytes(range(size))
    return {"tensor_content": raw}


FORMS: dict[str, Callable[[DataType], tuple[list[int] | None, Fields]]] = {
    "all values in the typed field": lambda t: ([2, 2], typed(t, 4)),
    "the last value is repeated": lambda t: ([4], typed(t, 2)),
    "one value for many elements": lambda t: ([3, 33], typed(t, 1)),
    "no value is zero": lambda t: ([5], {}),
    "surplus values are ignored": lambda t: ([2], typed(t, 4)),
    "half an element is dropped": lambda t: ([4], typed(t, 2, surplus=1)),
    "no shape is a scalar": lambda t: (None, typed(t, 3)),
    "an empty shape is a scalar": lambda t: ([], typed(t, 1)),
    "a zero dimension": lambda t: ([2, 0], typed(t, 4)),
    "a zero dimension with content": lambda t: ([0], content(t, 2)),
    "another field is ignored": lambda t: (
        [2],
        {"int64_val": [1]} if TYPED_FIELD[t] != "int64_val" else {"int_val": [1]},
    ),
    "tensor_content": lambda t: ([2, 2], content(t, 4)),
    "tensor_content wins": lambda t: ([4], typed(t, 2) | content(t, 4)),
    "tensor_content of a scalar": lambda t: (None, content(t, 1)),
    "tensor_content too long": lambda t: ([4], content(t, 4, surplus=1)),
    "tensor_content too short": lambda t: ([4], content(t, 3)),
    "a negative dimension": lambda t: ([2, -1], typed(t, 2)),
    "more elements than 64 bits count": lambda t: ([2**40, 2**40], typed(t, 2)),
    "overflow before a zero dimension": lambda t: ([2**40, 2**40, 0], {}),
    "a zero dimension before overflow": lambda t: ([0, 2**40, 2**40], {}),
    "rank 9": lambda t: ([1, 2, 1, 1, 1, 1, 1, 1, 2], typed(t, 4)),
}


@pytest.fixture(scope="module")
def tensorflow() -> Iterator[TensorFlowChild]:
    child = TensorFlowChild()
    yield child
    child.stop()


def parsed_or_none(message: bytes) -> Any:
    try:
        return as_parsed(decode_tensor(message))
    except InvalidArgument:
        return None


def refusal(message: bytes) -> str:
    """Why a message is refused; empty if it is not."""
    try:
        decode_tensor(message)
    except InvalidArgument as error:
        return str(error)
    return ""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("data_type", TYPED_FIELD, ids=lambda t: t.label)
def test_a_tensor_is_what_tensorflow_makes_of_it(
    tensorflow: TensorFlowChild, data_type: DataType, form: str
) -> None:
    message = tensor_proto(data_type, *FORMS[form](data_type)).SerializeToString()
    expected = tensorflow.parse(message, data_type)
    if expected is None:
        with pytest.raises(InvalidArgument):
            decode_tensor(message)
    else:
        array = decode_tensor(message)
        assert as_parsed(array) == expected
        assert array.dtype == numpy_type_of(data_type)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[bytes, DataType]:
    """Any tensor in any form: pieces packed and single, in any order."""
    data_type = draw(st.sampled_from(list(TYPED_FIELD)))
    shape = draw(st.none() | st.lists(st.integers(-1, 3), max_size=3))
    pieces = [tensor_proto(data_type, None, {}).SerializeToString()]
    if shape is not None:
        pieces.append(tensor_proto(0, shape, {}).SerializeToString())
    for field in draw(st.lists(st.sampled_from([TYPED_FIELD[data_type], "int_val", "float_val"]))):
        values = draw(st.lists(st.sampled_from(VALUES[field]), max_size=8))
        whole = {field: bytes(values) if field == "float8_val" else values}
        pieces.append(tensor_proto(0, None, whole).SerializeToString())
    if draw(st.integers(0, 3)) == 0:
        amount = draw(st.integers(0, 12))
        pieces.append(tensor_proto(0, None, content(data_type, min(amount, 4))).SerializeToString())
    unknown = [b"\xf8\x07\x01", b"\xa3\x06\x08\x01\x5d....\xa4\x06", b"\xfa\x07\x02hi", b"\x28\x01"]
    pieces += draw(st.lists(st.sampled_from(unknown), max_size=2))
    return b"".join(draw(st.permutations(pieces))), data_type


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=tensors())
def test_any_form_of_a_tensor_is_what_tensorflow_makes_of_it(
    tensorflow: TensorFlowChild, case: tuple[bytes, DataType]
) -> None:
    message, data_type = case
    assert parsed_or_none(message) == tensorflow.parse(message, data_type)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    message = bytearray(draw(tensors())[0])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(message)))
        cut = draw(st.integers(0, 3))
        message[place : place + cut] = draw(st.binary(max_size=3))
    return bytes(message)


def has_number_zero(fields: Any) -> bool:
    """Whether one of an `UnknownFieldSet` has the number 0.

    C++'s protobuf, and so the original, refuses it (`FieldParser` in google/protobuf's
    parse_context.h); Python's skips it within a group that it does not know.
    """
    return any(
        field.field_number == 0 or (field.wire_type == START_GROUP and has_number_zero(field.data))
        for field in fields
    )


def test_a_field_without_a_number_is_refused_in_an_unknown_group() -> None:
    with pytest.raises(InvalidArgument, match="malformed"):
        decode_tensor(b"\xa3\x06\x08\x01\x00\x01\xa4\x06")
    assert decode_tensor(b"\x08\x01\x12\x00\xa3\x06\x08\x01\xa4\x06\x2a\x04\0\0\0\0") == 0


@settings(max_examples=1000, deadline=None)
@given(message=damaged())
@example(b"\xa3\x06\x08\x01\x00\x01\xa4\x06")
def test_damaged_bytes_are_refused_where_protobuf_refuses_them(message: bytes) -> None:
    try:
        tensor = message_class("tensorflow.TensorProto").FromString(message)
    except DecodeError:
        # Resource handles and variants have no array: what is inside them is not looked at.
        if not {14, 15} & {byte >> 3 for byte in message}:
            with pytest.raises(InvalidArgument):
                decode_tensor(message)
        return
    elements = np.prod([float(dim.size) for dim in tensor.tensor_shape.dim] or [1.0])
    if elements <= 1e6 and not has_number_zero(UnknownFieldSet(tensor)):
        assert "malformed" not in refusal(message)


@pytest.mark.parametrize(
    ("data_type", "fields"),
    [
        (DataType.FLOAT, {"float_val": [1.0, 2.0, 3.0]}),
        (DataType.COMPLEX128, {"dcomplex_val": [1.0, 2.0] * 3}),
        (DataType.INT32, {"tensor_content": bytes(12)}),
        (DataType.FLOAT8_E5M2, {"float8_val": b"123"}),
    ],
)
def test_values_in_one_piece_are_not_copied(data_type: DataType, fields: Fields) -> None:
    message = bytearray(tensor_proto(data_type, [3], fields).SerializeToString())
    array = decode_tensor(message)
    assert not array.flags.writeable
    assert array.flags.c_contiguous
    before = array.tobytes()
    for i in range(len(message)):
        message[i] ^= 0xFF
    assert array.tobytes() == bytes(byte ^ 0xFF for byte in before)


def test_an_array_keeps_the_message_alive() -> None:
    values = np.arange(10000, dtype=np.float64)
    message = tensor_proto(DataType.DOUBLE, [10000], {"tensor_content": values.tobytes()})
    array = decode_tensor(message.SerializeToString())
    gc.collect()
    np.testing.assert_array_equal(array, values)


def test_arrays_with_memory_of_their_own_can_be_written() -> None:
    array = decode_tensor(tensor_proto(DataType.INT32, [2], {"int_val": [1]}).SerializeToString())
    array[0] = 5
    assert array.tolist() == [5, 1]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_like_object_is_read(kind: type) -> None:
    message = tensor_proto(DataType.FLOAT, [2], {"float_val": [1.0, 2.0]}).SerializeToString()
    assert decode_tensor(kind(message)).tolist() == [1.0, 2.0]


def test_what_is_no_buffer_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        decode_tensor("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 100])
@pytest.mark.parametrize("largest", [1, 127, 128, 16383, 16384, 2**31 - 1])
def test_varints_of_all_lengths_are_read(count: int, largest: int) -> None:
    values = [largest if i % 3 else i for i in range(count)]
    message = tensor_proto(DataType.INT32, [count], {"int_val": values}).SerializeToString()
    assert decode_tensor(message).tolist() == values


@pytest.mark.parametrize(
    ("data_type", "shape"),
    [
        (DataType.FLOAT, [2**29 + 1]),
        (DataType.INT8, [2**20, 2**12]),
        (DataType.STRING, [2**28 + 1]),
        (DataType.DOUBLE, [2**62]),
    ],
)
def test_a_small_message_cannot_ask_for_more_than_two_gib(
    data_type: DataType, shape: list[int]
) -> None:
    with pytest.raises(InvalidArgument, match="limit 2 GiB"):
        decode_tensor(tensor_proto(data_type, shape, {}).SerializeToString())


@pytest.mark.parametrize(
    ("data_type", "values"),
    [(DataType.FLOAT, "float_val"), (DataType.INT8, "int_val"), (DataType.STRING, "string_val")],
)
def test_a_small_message_cannot_have_much_memory_filled_in(
    data_type: DataType, values: str
) -> None:
    fields = {values: [b"a" if data_type is DataType.STRING else 1]}
    size = 2**28 + 100 if data_type is DataType.INT8 else 2**26 + 100
    with pytest.raises(InvalidArgument, match="too many would be filled in"):
        decode_tensor(tensor_proto(data_type, [size], fields).SerializeToString())
    message = tensor_proto(data_type, [2**20], fields).SerializeToString()
    assert decode_tensor(message).shape == (2**20,)


@pytest.mark.parametrize("data_type", [0, 20, 21, 33, 101, -1, 2**31 - 1])
def test_types_without_an_array_are_refused(data_type: int) -> None:
    with pytest.raises(InvalidArgument):
        decode_tensor(tensor_proto(data_type, [1], {}).SerializeToString())


DEEP = [2, 1, 3, *[1] * 100]
"""More dimensions than NumPy has."""


@pytest.mark.parametrize(
    ("data_type", "fields", "elements"),
    [
        (DataType.FLOAT, {"float_val": [1.0, 2.0]}, [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]),
        (DataType.INT64, {"int64_val": [7, -1]}, [7, -1, -1, -1, -1, -1]),
        (DataType.STRING, {"string_val": [b"a", b""]}, [b"a", b"", b"", b"", b"", b""]),
        (DataType.DOUBLE, {"tensor_content": np.arange(6.0).tobytes()}, list(range(6))),
    ],
)
def test_a_tensor_of_more_dimensions_than_numpy_has_is_read_and_written(
    data_type: DataType, fields: dict[str, Any], elements: list[object]
) -> None:
    array = decode_tensor(tensor_proto(data_type, DEEP, fields).SerializeToString())
    assert isinstance(array, DeepArray)
    assert array.tolist() == elements
    assert array.dims.tolist() == DEEP
    again = decode_tensor(encode_tensor(array))
    assert isinstance(again, DeepArray)
    assert (again.tolist(), again.dims.tolist()) == (elements, DEEP)


def test_up_to_254_dimensions_are_read() -> None:
    fields = {"float_val": [4.0]}
    for rank, kind in ((64, np.ndarray), (65, DeepArray), (254, DeepArray)):
        message = tensor_proto(DataType.FLOAT, [1] * rank, fields).SerializeToString()
        assert type(decode_tensor(message)) is kind
    message = tensor_proto(DataType.FLOAT, [1] * 255, fields).SerializeToString()
    with pytest.raises(InvalidArgument, match="255 dimensions, limit 254"):
        decode_tensor(message)
    empty = decode_tensor(tensor_proto(DataType.FLOAT, [1] * 99 + [0], {}).SerializeToString())
    assert isinstance(empty, DeepArray)
    assert (empty.size, empty.dims[-1]) == (0, 0)


@pytest.mark.parametrize("groups", [100, 101, 100000])
def test_groups_are_skipped_up_to_the_depth_that_protobuf_allows(groups: int) -> None:
    message = b"\x08\x01" + b"\xa3\x06" * groups + b"\xa4\x06" * groups
    if groups > 100:
        with pytest.raises(InvalidArgument):
            decode_tensor(message)
    else:
        assert decode_tensor(message).tolist() == 0.0


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"\x08", id="tag without a value"),
        pytest.param(b"\x08\x80", id="varint cut short"),
        pytest.param(b"\x08" + b"\x80" * 10 + b"\x01", id="varint of eleven bytes"),
        pytest.param(b"\x00\x01", id="field number 0"),
        pytest.param(b"\x0e\x01", id="wire type 6"),
        pytest.param(b"\xa4\x06", id="end of no group"),
        pytest.param(b"\xa3\x06\xac\x06", id="end of another group"),
        pytest.param(b"\x22\x05abc", id="content longer than the message"),
        pytest.param(b"\x2a\x05\x00\x00\x00\x00\x00", id="packed floats of 5 bytes"),
        pytest.param(b"\x3a\x02\x01\x80", id="packed varint cut short"),
        pytest.param(b"\x3a\x0b" + b"\x80" * 10 + b"\x01", id="packed varint of eleven bytes"),
        pytest.param(b"\x2d\x00\x00", id="float cut short"),
        pytest.param(b"\x12\x02\x12\x05", id="dimension cut short"),
        pytest.param(b"\x12\x05\x12\x03\x12\x01\xff", id="dimension with a name not in UTF-8"),
        pytest.param(b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="length of 64 bits"),
    ],
)
def test_what_is_no_tensor_is_refused(message: bytes) -> None:
    with pytest.raises(DecodeError):
        message_class("tensorflow.TensorProto").FromString(message)
    with pytest.raises(InvalidArgument, match="malformed TensorProto"):
        decode_tensor(message)


@pytest.mark.parametrize("name", ["ascii", "é", "€", "😀", "\ud7ff\ue000\U0010ffff"])
def test_names_of_dimensions_may_be_any_text(name: str) -> None:
    message = tensor_proto(DataType.FLOAT, None, {})
    message.tensor_shape.dim.add(size=1, name=name)
    assert decode_tensor(message.SerializeToString()).shape == (1,)
