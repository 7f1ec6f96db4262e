"""PredictRequest and PredictResponse against protobuf's own classes."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salver.backends.protobuf_wire import encoded_content
from salver.codecs.messages import message_class
from salver.codecs.predict_codec import (
    PredictRequest,
    decode_predict_request,
    encode_predict_response,
    first_tensor_data,
)
from salver.core.data_type import DataType, numpy_type_of
from salver.errors import InternalError, InvalidArgument

NAMES = st.text(max_size=3) | st.sampled_from(["x", "y", "a name of more than 48 bytes " * 3])


def request_message(**fields: Any) -> Any:
    return message_class("tensorflow.serving.PredictRequest")(**fields)


def response_of(message: bytes) -> Any:
    return message_class("tensorflow.serving.PredictResponse").FromString(message)


@st.composite
def model_specs(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": draw(NAMES), "signature_name": draw(NAMES)}
    kind = draw(st.sampled_from(["version", "version_label", None]))
    if kind == "version":
        spec["version"] = {"value": draw(st.sampled_from([0, 1, 2**63 - 1, -1]))}
    elif kind == "version_label":
        spec["version_label"] = draw(NAMES)
    return spec


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One or several messages in a row, which protobuf merges into one."""
    message = b""
    for _ in range(draw(st.integers(1, 3))):
        fields: dict[str, Any] = {"output_filter": draw(st.lists(NAMES, max_size=2))}
        if draw(st.booleans()):
            fields["model_spec"] = draw(model_specs())
        part = request_message(**fields)
        for name in draw(st.lists(NAMES, max_size=3)):
            tensor = part.inputs[name]
            tensor.dtype = 1
            tensor.float_val.append(draw(st.integers(0, 9)))
        message += part.SerializeToString()
    return message


def agrees(request: PredictRequest, expected: Any) -> bool:
    spec = expected.model_spec
    choice = spec.WhichOneof("version_choice")
    return (
        request.has_model_spec == expected.HasField("model_spec")
        and request.model_name == spec.name
        and request.signature_name == spec.signature_name
        and request.version == (spec.version.value if choice == "version" else None)
        and request.version_label == (spec.version_label if choice == "version_label" else None)
        and request.output_filter == list(expected.output_filter)
        and sorted(request.input_names) == sorted(expected.inputs)
    )


@settings(max_examples=300, deadline=None)
@given(message=requests())
def test_a_request_is_read_as_protobuf_reads_it(message: bytes) -> None:
    expected = message_class("tensorflow.serving.PredictRequest").FromString(message)
    request = decode_predict_request(message)
    assert agrees(request, expected)
    for name in request.input_names:
        assert request.tensor(name).tolist() == expected.inputs[name].float_val[0]


@settings(max_examples=1000, deadline=None)
@given(message=requests(), data=st.data())
def test_a_damaged_request_is_refused_where_protobuf_refuses_it(
    message: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged)))
        cut = data.draw(st.integers(0, 2))
        damaged[place : place + cut] = data.draw(st.binary(max_size=2))
    try:
        expected = message_class("tensorflow.serving.PredictRequest").FromString(bytes(damaged))
    except DecodeError:
        # The insides of messages that are never used are not looked at.
        if not {0x2A, 0x3A, 0x72, 0x7A} & set(damaged):
            with pytest.raises(InvalidArgument):
                decode_predict_request(damaged)
    else:
        request = decode_predict_request(damaged)
        for name in set(request.input_names) - set(expected.inputs):
            # An entry with fields besides key and value: Python's library sets it aside,
            # that of C++ takes it. So do we.
            expected.inputs[name].SetInParent()
        assert agrees(request, expected), bytes(damaged)


def test_an_empty_message_is_a_request_without_anything() -> None:
    request = decode_predict_request(b"")
    assert agrees(request, request_message())
    assert request.input_names == []


def test_a_version_of_zero_is_not_the_same_as_none() -> None:
    message = request_message(model_spec={"name": "m", "version": {}})
    assert decode_predict_request(message.SerializeToString()).version == 0


@pytest.mark.parametrize(
    ("parts", "version", "label"),
    [
        ([{"version": {"value": 5}}, {"version": {}}], 5, None),
        ([{"version": {"value": 5}}, {"version_label": "a"}], None, "a"),
        ([{"version": {"value": 5}}, {"version_label": "a"}, {"version": {}}], 0, None),
        ([{"version_label": "a"}, {"name": "m"}], None, "a"),
    ],
)
def test_specs_are_merged_as_protobuf_merges_them(
    parts: list[dict[str, Any]], version: int | None, label: str | None
) -> None:
    message = b"".join(request_message(model_spec=p).SerializeToString() for p in parts)
    request = decode_predict_request(message)
    assert (request.version, request.version_label) == (version, label)
    expected = message_class("tensorflow.serving.PredictRequest").FromString(message)
    assert agrees(request, expected)


def test_a_name_sent_twice_has_the_last_tensor() -> None:
    message = b""
    for name, data_type in [("x", 3), ("y", 3), ("x", 1)]:
        part = request_message()
        part.inputs[name].dtype = data_type
        message += part.SerializeToString()
    request = decode_predict_request(message)
    assert request.input_names == ["x", "y"]
    assert request.tensor("x").dtype == np.float32


def test_a_value_sent_twice_in_one_entry_is_merged() -> None:
    entry = b"\x0a\x01x" + b"\x12\x04\x08\x01\x12\x00" + b"\x12\x06\x2a\x04\x00\x00\x80\x3f"
    message = bytes([0x12, len(entry)]) + entry
    array = decode_predict_request(message).tensor("x")
    assert array.tolist() == 1.0
    expected = message_class("tensorflow.serving.PredictRequest").FromString(message)
    assert list(expected.inputs["x"].float_val) == [1.0]


def test_an_entry_without_a_value_has_a_tensor_of_no_type() -> None:
    request = decode_predict_request(b"\x12\x03\x0a\x01x")
    assert request.input_names == ["x"]
    with pytest.raises(InvalidArgument):
        request.tensor("x")


def test_many_inputs_are_all_found() -> None:
    message = request_message()
    for i in range(500):
        message.inputs[f"input {i}"].dtype = 3
        message.inputs[f"input {i}"].int_val.append(i)
    request = decode_predict_request(message.SerializeToString())
    assert [int(request.tensor(f"input {i}")) for i in range(500)] == list(range(500))


def test_a_name_that_was_not_sent_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        decode_predict_request(b"").tensor("x")


def test_an_array_outlives_its_request() -> None:
    message = request_message()
    message.inputs["x"].dtype = 1
    message.inputs["x"].tensor_shape.dim.add(size=1000)
    message.inputs["x"].float_val.extend([2.0] * 1000)
    array = decode_predict_request(bytearray(message.SerializeToString())).tensor("x")
    assert array.sum() == 2000.0


def test_requests_are_made_by_decoding_only() -> None:
    with pytest.raises(TypeError):
        PredictRequest()


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"\x0a\x05\x0a", id="spec cut short"),
        pytest.param(b"\x0a\x03\x0a\x01\xff", id="name not in UTF-8"),
        pytest.param(b"\x0a\x03\x22\x01\xff", id="label not in UTF-8"),
        pytest.param(b"\x0a\x03\x1a\x01\xff", id="signature not in UTF-8"),
        pytest.param(b"\x1a\x03\xed\xa0\x80", id="filter with a surrogate"),
        pytest.param(b"\x12\x03\x0a\x01\xff", id="input not in UTF-8"),
        pytest.param(b"\x12\x04\x12\x02\x08\x80", id="tensor cut short"),
        pytest.param(b"\x12\x04\x12\x02\x22\x05", id="content longer than the tensor"),
        pytest.param(b"hello, is this a request?", id="text"),
    ],
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    with pytest.raises(DecodeError):
        message_class("tensorflow.serving.PredictRequest").FromString(message)
    with pytest.raises(InvalidArgument, match="malformed PredictRequest"):
        decode_predict_request(message)


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("version", [0, 1, 2**63 - 1, -5])
@pytest.mark.parametrize("outputs", [0, 1, 2, 20])
def test_a_response_holds_all_that_was_given(outputs: int, version: int, as_content: bool) -> None:
    arrays = [np.full((2, i), i, np.float32) for i in range(outputs)]
    names = [f"output é {i}" for i in range(outputs)]
    framed = encode_predict_response(
        names, arrays, "modèle", version, "serving_default", as_content, grpc_prefix=True
    )
    message = framed[5:]
    assert framed[:5] == b"\0" + len(message).to_bytes(4, "big")
    assert message == encode_predict_response(
        tuple(names), tuple(arrays), "modèle", version, "serving_default", as_content
    )
    response = response_of(message)
    assert response.model_spec.name == "modèle"
    assert response.model_spec.version.value == version
    assert response.model_spec.WhichOneof("version_choice") == "version"
    assert response.model_spec.signature_name == "serving_default"
    assert sorted(response.outputs) == sorted(names)
    for name, array in zip(names, arrays, strict=True):
        tensor = response.outputs[name]
        values = np.frombuffer(tensor.tensor_content, "f4") if as_content else tensor.float_val
        assert np.array_equal(np.reshape(values, array.shape), array)


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int32", "bool", "bfloat16"])
def test_the_pieces_of_a_response_are_its_bytes(dtype: str, as_content: bool) -> None:
    type_ = numpy_type_of(DataType.BFLOAT16) if dtype == "bfloat16" else np.dtype(dtype)
    arrays = [np.arange(size).astype(type_).reshape(2, -1) for size in (100_000, 2, 80_000, 0)]
    names = ["large", "small", "larger", "empty"]
    whole = encode_predict_response(names, arrays, "m", 3, "s", as_content, grpc_prefix=True)
    pieces = encode_predict_response(
        names, arrays, "m", 3, "s", as_content, grpc_prefix=True, in_pieces=True
    )
    assert b"".join(pieces if isinstance(pieces, list) else [pieces]) == whole


def test_large_values_are_sent_from_where_they_are() -> None:
    array = np.arange(100_000, dtype=np.float32)
    pieces = encode_predict_response(["y"], [array], "m", 1, "s", in_pieces=True)
    assert isinstance(pieces, list)
    assert any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in pieces)


def test_small_responses_come_in_one_piece() -> None:
    array = np.zeros(16_000, np.float32)
    assert isinstance(encode_predict_response(["y"], [array], "m", 1, "s", in_pieces=True), bytes)


@pytest.mark.parametrize("as_content", [False, True])
def test_the_values_of_a_large_tensor_are_found_by_how_the_message_begins(as_content: bool) -> None:
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "m"
    request.model_spec.version.value = 7
    request.inputs["small"].float_val[:] = [1.0]
    request.inputs["small"].dtype = DataType.FLOAT
    values = np.arange(5000, dtype=np.float32)
    tensor = request.inputs["large"]
    tensor.dtype = DataType.FLOAT
    tensor.tensor_shape.dim.add().size = 5000
    if as_content:
        tensor.tensor_content = values.tobytes()
    else:
        tensor.float_val[:] = values
    message = request.SerializeToString()
    found = first_tensor_data(memoryview(message)[:8192])
    assert message[found : found + values.nbytes] == values.tobytes()


@given(st.binary(max_size=200))
@example(b"\x12\xff\xff\x03\x12\xff\xff\x03\x22\xff\xff\x03")
def test_the_search_for_a_tensor_ends_in_any_bytes(head: bytes) -> None:
    assert -1 <= first_tensor_data(head) <= len(head)


def test_a_value_given_many_times_takes_no_more_memory_than_the_message() -> None:
    def field(number: int, content: bytes) -> bytes:
        return encoded_content(number, content)

    message = field(2, field(1, b"x") + field(2, b"\x08\x01") * 20_000)
    tracemalloc.start()
    try:
        request = decode_predict_request(message)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(message)
    finally:
        tracemalloc.stop()
    assert request.tensor("x").tolist() == 0.0


def test_empty_names_are_left_out() -> None:
    response = response_of(encode_predict_response([""], [np.zeros(1)], "", 1, ""))
    assert list(response.outputs) == [""]
    assert response.model_spec.name == ""


def test_names_and_arrays_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 names for 1 arrays"):
        encode_predict_response(["a", "b"], [np.zeros(1)], "m", 1, "s")


def test_an_output_that_no_tensor_can_hold_is_an_internal_error() -> None:
    with pytest.raises(InternalError):
        encode_predict_response(["a"], [np.array([object()])], "m", 1, "s")
