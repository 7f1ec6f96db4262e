"""Predict requests: which arrays come out, and what is said about the mistakes."""

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from salver.codecs.json_request import PredictBody
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, ServingError, Unimplemented


def signature(**inputs: DataType) -> Signature:
    specs = {name: TensorSpec(f"{name}:0", kind, None) for name, kind in inputs.items()}
    return Signature("serving_default", specs, {})


def inputs_of(body: bytes | str, **inputs: DataType) -> dict[str, np.ndarray]:
    text = body if isinstance(body, bytes) else body.encode()
    return PredictBody.parse(text).inputs(signature(**inputs or {"x": DataType.FLOAT}))


def error_of(body: bytes | str, **inputs: DataType) -> ServingError:
    with pytest.raises(ServingError) as raised:
        inputs_of(body, **inputs)
    return raised.value


def wrapped(message: str, at: str = "0") -> str:
    return f"Failed to process element: {at} of 'instances' list. Error: {message}"


# ---------------------------------------------------------------- the body as a whole


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("[]", "JSON Value: [] Is not object", id="a list"),
        pytest.param("null", "JSON Value: null Is not object", id="null"),
        pytest.param('"a"', 'JSON Value: "a" Is not object', id="a string"),
        pytest.param("1", "JSON Value: 1 Is not object", id="a number"),
        pytest.param("NaN", "JSON Value:  Is not object", id="NaN"),
        pytest.param(
            '{"signature_name": 5, "instances": [1.0]}',
            'JSON Value: {\n    "signature_name": 5,\n    "instances": [1.0]\n} not formatted '
            "correctly. 'signature_name' key must be a string value.",
            id="a signature name that is a number",
        ),
        pytest.param(
            '{"signature_name": null}',
            'JSON Value: {\n    "signature_name": null\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
            id="a signature name that is null",
        ),
    ],
)
def test_what_is_wrong_whatever_the_model_is_said_first(body: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        PredictBody.parse(body.encode())
    assert raised.value.message == message


def test_a_signature_name_may_be_left_out() -> None:
    assert PredictBody.parse(b"{}").signature_name == ""
    assert PredictBody.parse(b'{"signature_name": "a\\u00e9"}').signature_name == "aé"


def test_a_signature_name_nested_half_a_million_deep_is_no_string() -> None:
    deep = b"[" * 500_000 + b"]" * 500_000
    with pytest.raises(InvalidArgument, match="key must be a string value"):
        PredictBody.parse(b'{"signature_name":' + deep + b"}")


def test_the_request_decides_the_format_of_the_answer() -> None:
    assert PredictBody.parse(b'{"instances": [1]}').row_format
    assert not PredictBody.parse(b'{"inputs": [1]}').row_format


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            '{"instances": [1.0], "inputs": null}',
            'JSON Value: {\n    "instances": [1.0],\n    "inputs": null\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
            id="both",
        ),
        pytest.param('{"Instances": [1]}', "Missing 'inputs' or 'instances' key", id="neither"),
        pytest.param(
            '{"instances": 3.0}',
            "JSON Value: {\n    \"instances\": 3.0\n} Expecting 'instances' to be an list/array",
            id="a number of instances",
        ),
        pytest.param(
            '{"instances": {"x": 1}}',
            'JSON Value: {\n    "instances": {\n        "x": 1\n    }\n} '
            "Expecting 'instances' to be an list/array",
            id="an object of instances",
        ),
        pytest.param(
            '{"instances": []}',
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
            id="no instances",
        ),
    ],
)
def test_one_of_instances_and_inputs_is_wanted(body: str, message: str) -> None:
    error = error_of(body)
    assert isinstance(error, InvalidArgument)
    assert error.message == message


@pytest.mark.parametrize(
    ("name", "shown"), [("", "DEFAULT"), ("init", "init")], ids=["unnamed", "named"]
)
def test_a_signature_without_inputs_cannot_be_called(name: str, shown: str) -> None:
    body = PredictBody.parse(json.dumps({"signature_name": name, "instances": 5}).encode())
    with pytest.raises(InvalidArgument) as raised:
        body.inputs(signature())
    assert raised.value.message == f"Failed to get input map for signature: {shown}"


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        pytest.param("[1.0, 2, 3e0]", [1, 2, 3], id="scalars"),
        pytest.param("[[1, 2], [3, 4]]", [[1, 2], [3, 4]], id="lists"),
        pytest.param("[[[]]]", np.zeros((1, 1, 0)), id="empty lists"),
        pytest.param("[[], []]", np.zeros((2, 0)), id="empty instances"),
        pytest.param('[{"x": 1}, {"x": 2}]', [1, 2], id="objects"),
        pytest.param('[{"x": [1, 2]}, {"x": [3, 4]}]', [[1, 2], [3, 4]], id="objects of lists"),
        pytest.param('[{"\\u0078": 1}]', [1], id="an escaped name"),
        pytest.param("[" * 9 + "1" + "]" * 9, np.ones((1,) * 9), id="nine dimensions"),
        pytest.param("[" * 64 + "1, 2" + "]" * 64, [1.0, 2.0], id="64 dimensions"),
        pytest.param('[{"x": 1, "x": 2}]', [1], id="a name twice: the first value is taken"),
        pytest.param(
            '[{"x": 1, "x": 2}, {"x": 3}]', [1, 2], id="a name twice: its values move the others"
        ),
        pytest.param("[18446744073709551615, 0.5]", [2.0**64, 0.5], id="uint64 among doubles"),
    ],
)
def test_instances_are_stacked(instances: str, expected: Any) -> None:
    (array,) = inputs_of(f'{{"instances": {instances}}}').values()
    wanted = np.array(expected, np.float32)
    assert array.dtype == np.float32
    if array.ndim < 64:
        assert array.shape == wanted.shape
    np.testing.assert_array_equal(array.reshape(wanted.shape), wanted)


def test_each_input_is_stacked_on_its_own() -> None:
    body = '{"instances": [{"a": 1.5, "b": [2], "c": "hi"}, {"c": "", "a": 20, "b": [3]}]}'
    found = inputs_of(body, a=DataType.FLOAT, b=DataType.INT32, c=DataType.STRING)
    assert {name: array.tolist() for name, array in found.items()} == {
        "a": [1.5, 20.0],
        "b": [[2], [3]],
        "c": [b"hi", b""],
    }
    assert [array.dtype for array in found.values()] == [np.float32, np.int32, object]


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        pytest.param(
            "[1.0, [2.0]]",
            wrapped("INVALID_ARGUMENT: Expecting shape [] but got: [1]", "1"),
            id="a list after a scalar",
        ),
        pytest.param(
            "[[1.0], 2.0]",
            wrapped("INVALID_ARGUMENT: Expecting shape [1] but got: []", "1"),
            id="a scalar after a list",
        ),
        pytest.param(
            "[[[1,2,3],[4,5,6]], [[1,2],[3,4],[5,6]]]",
            wrapped("INVALID_ARGUMENT: Expecting shape [2,3] but got: [3,2]", "1"),
            id="another shape",
        ),
        pytest.param(
            "[[1,2], [3]]",
            wrapped("INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1", "1"),
            id="another size",
        ),
        pytest.param(
            "[[[1,2],[3]]]",
            wrapped(
                "INVALID_ARGUMENT: Encountered list at unexpected size: 1 at level: 1 "
                "expected size: 2"
            ),
            id="a ragged instance",
        ),
        pytest.param(
            "[[1,[2]]]",
            wrapped("INVALID_ARGUMENT: Encountered list at unexpected level: 1 expected < 1"),
            id="a list too deep",
        ),
        pytest.param(
            "[[[1],2]]",
            wrapped(
                "INVALID_ARGUMENT: JSON Value: 2 found at incorrect level: 2 in the JSON DOM. "
                "Expected at level: 2"
            ),
            id="a value not deep enough",
        ),
        pytest.param(
            '[{"x": 1.0, "z": 2}]',
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: z",
            id="an unknown name",
        ),
        pytest.param(
            '[{"x": 1.0}, {}]',
            "Failed to process element: 1 of 'instances' list. JSON object: {} "
            "keys must be equal to: x",
            id="a name that is missing",
        ),
        pytest.param(
            '[1.0, {"x": 2.0}]',
            "Expecting value/list but got object at item 1 of input list",
            id="an object among values",
        ),
        pytest.param(
            '[{"x": 2.0}, [1.0]]',
            "Expecting object but got list at item 1 of input list",
            id="a list among objects",
        ),
        pytest.param(
            '[{"x": null}]',
            "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON Value: null Type: Null is not of expected type: float",
            id="null under a name",
        ),
        pytest.param(
            "[" * 65 + "1" + "]" * 65, "tensor parsing error: x", id="more than 64 dimensions"
        ),
    ],
)
def test_a_wrong_instance_is_described(instances: str, message: str) -> None:
    error = error_of(f'{{"instances": {instances}}}')
    assert isinstance(error, InvalidArgument)
    assert error.message == message


def test_names_that_are_missing_are_listed_in_order() -> None:
    error = error_of(
        '{"instances": [{"b": 2}]}', c=DataType.STRING, b=DataType.INT32, a=DataType.FLOAT
    )
    assert error.message == (
        "Failed to process element: 0 of 'instances' list. JSON object: "
        '{\n    "b": 2\n} keys must be equal to: a,b,c'
    )


@pytest.mark.parametrize(
    "instances", ["[1]", "[[1]]", '["a"]', "[null]"], ids=["scalar", "list", "string", "null"]
)
def test_a_plain_list_cannot_feed_several_inputs(instances: str) -> None:
    error = error_of(f'{{"instances": {instances}}}', a=DataType.FLOAT, b=DataType.FLOAT)
    assert error.message == (
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map"
    )


def test_base64_slips_through_as_a_plain_list_and_feeds_one_of_several_inputs() -> None:
    found = inputs_of('{"instances": [{"b64": "QUI="}]}', a=DataType.STRING, b=DataType.STRING)
    assert {name: array.tolist() for name, array in found.items()} == {"a": [b"AB"]}


def test_a_plain_list_of_an_input_called_b64() -> None:
    assert inputs_of('{"instances": [{"b64": 2.5}]}', b64=DataType.FLOAT)["b64"].tolist() == [2.5]
    error = error_of('{"instances": [{"b64": "AAAA"}]}', b64=DataType.FLOAT)
    assert error.message.endswith("Type: Object is not of expected type: float")


def test_a_ragged_list_costs_no_memory_for_the_shape_that_it_promises() -> None:
    ones = ",".join(["1"] * 20_000)
    tracemalloc.start()
    error = error_of(f'{{"instances": [[{ones}], {ones}]}}')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.message.endswith("Expecting tensor size: 20000 but got: 1")
    assert peak < 20_000_000


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("1.5", 1.5, id="a scalar"),
        pytest.param("[1.0, 2.0]", [1, 2], id="a list"),
        pytest.param("[]", np.zeros(0), id="an empty list"),
        pytest.param('{"x": [[1], [2]]}', [[1], [2]], id="a member"),
        pytest.param('{"x": 1.5}', 1.5, id="a scalar member"),
        pytest.param('{"x": [1], "zz": null}', [1], id="surplus members are ignored"),
        pytest.param('{"x": [1], "x": [2]}', [1], id="the first member of a name counts"),
    ],
)
def test_inputs_are_whole_tensors(value: str, expected: Any) -> None:
    (array,) = inputs_of(f'{{"inputs": {value}}}').values()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array(expected, np.float32), strict=True)


def test_inputs_need_not_have_the_same_first_dimension() -> None:
    found = inputs_of('{"inputs": {"b": 3, "a": [1, 2]}}', a=DataType.INT32, b=DataType.INT32)
    assert {name: array.tolist() for name, array in found.items()} == {"a": [1, 2], "b": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(
            "null", "JSON Value: null Type: Null is not of expected type: float", id="null"
        ),
        pytest.param(
            "[[1.0, 2.0], [3.0]]",
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
            id="ragged",
        ),
        pytest.param("{}", "Missing named input: x in 'inputs' object.", id="no member"),
        pytest.param(
            '{"x": {"y": 1}}',
            'JSON Value: {\n    "y": 1\n} Type: Object is not of expected type: float',
            id="an object in an object",
        ),
        pytest.param(
            '{"b64": "AAAA"}',
            'JSON Value: {\n    "b64": "AAAA"\n} Type: Object is not of expected type: float',
            id="base64 for numbers",
        ),
    ],
)
def test_a_wrong_column_is_described_without_a_wrapper(value: str, message: str) -> None:
    assert error_of(f'{{"inputs": {value}}}').message == message


def test_a_plain_column_cannot_feed_several_inputs() -> None:
    for value in ("[1]", '{"b64": "AAAA"}'):
        error = error_of(f'{{"inputs": {value}}}', a=DataType.STRING, b=DataType.STRING)
        assert error.message == (
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )


# ---------------------------------------------------------------- element types


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        pytest.param(DataType.FLOAT, "1e39", np.inf, id="float beyond its range"),
        pytest.param(DataType.FLOAT, "-1e39", -np.inf, id="float below its range"),
        pytest.param(DataType.FLOAT, "1e-50", 0.0, id="float underflow"),
        pytest.param(DataType.FLOAT, "1e-40", 0.0, id="denormal float"),
        pytest.param(DataType.FLOAT, "-Infinity", -np.inf, id="float infinity"),
        pytest.param(DataType.FLOAT, "16777217", 16777216.0, id="integer for float"),
        pytest.param(DataType.FLOAT, "1435774380", 1435774336.0, id="great integer for float"),
        pytest.param(DataType.FLOAT, "18446744073709551615", 2.0**64, id="uint64 for float"),
        pytest.param(DataType.DOUBLE, "9007199254740993", 2.0**53, id="integer for double"),
        pytest.param(DataType.DOUBLE, "5e-324", 0.0, id="denormal double"),
        pytest.param(DataType.DOUBLE, "-0", 0.0, id="minus zero is an integer"),
        pytest.param(DataType.INT32, "-2147483648", -(2**31), id="least int32"),
        pytest.param(DataType.INT16, "32768", -32768, id="int16 wraps"),
        pytest.param(DataType.INT16, "40000", -25536, id="int16 wraps further"),
        pytest.param(DataType.INT8, "-129", 127, id="int8 wraps below"),
        pytest.param(DataType.INT8, "300", 44, id="int8 wraps above"),
        pytest.param(DataType.UINT8, "256", 0, id="uint8 wraps"),
        pytest.param(DataType.UINT8, "-1", 255, id="uint8 wraps below"),
        pytest.param(DataType.INT64, "-9223372036854775808", -(2**63), id="least int64"),
        pytest.param(DataType.UINT32, "4294967295", 2**32 - 1, id="greatest uint32"),
        pytest.param(DataType.UINT64, "18446744073709551615", 2**64 - 1, id="greatest uint64"),
        pytest.param(DataType.BOOL, "true", True, id="bool"),
        pytest.param(DataType.STRING, '"\\u00e9"', "é".encode(), id="string"),
        pytest.param(DataType.STRING, '{"b64": "/+8="}', b"\xff\xef", id="base64"),
    ],
)
def test_a_value_is_stored_as_its_declared_type(kind: DataType, text: str, value: Any) -> None:
    for body in (
        f'{{"instances": [{text}]}}',
        f'{{"instances": [{{"x": {text}}}]}}',
        f'{{"inputs": [{text}]}}',
    ):
        array = inputs_of(body, x=kind)["x"]
        assert array.dtype == numpy_type_of(kind)
        assert array.shape == (1,)
        assert array[0] == value


def test_a_sign_survives_an_underflow() -> None:
    assert np.signbit(inputs_of('{"inputs": -1e-50}')["x"])
    assert np.signbit(inputs_of('{"inputs": [-0.0]}', x=DataType.DOUBLE)["x"]).all()


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        pytest.param(DataType.FLOAT, "true", "true Type: True", id="bool for float"),
        pytest.param(DataType.FLOAT, '"1"', '"1" Type: String', id="string for float"),
        pytest.param(DataType.DOUBLE, "null", "null Type: Null", id="null for double"),
        pytest.param(DataType.INT32, "1.0", "1.0 Type: Number", id="double for int32"),
        pytest.param(DataType.INT32, "NaN", " Type: Number", id="NaN for int32"),
        pytest.param(DataType.INT32, "1e2", "100.0 Type: Number", id="exponent for int32"),
        pytest.param(DataType.INT32, "2147483648", "2147483648 Type: Number", id="beyond int32"),
        pytest.param(DataType.INT16, "1.0", "1.0 Type: Number", id="double for int16"),
        pytest.param(DataType.INT8, "2147483648", "2147483648 Type: Number", id="far beyond int8"),
        pytest.param(DataType.UINT8, "false", "false Type: False", id="bool for uint8"),
        pytest.param(
            DataType.INT64,
            "9223372036854775808",
            "9223372036854775808 Type: Number",
            id="beyond int64",
        ),
        pytest.param(DataType.UINT32, "-1", "-1 Type: Number", id="below uint32"),
        pytest.param(DataType.UINT32, "4294967296", "4294967296 Type: Number", id="beyond uint32"),
        pytest.param(DataType.UINT64, "-1", "-1 Type: Number", id="below uint64"),
        pytest.param(
            DataType.UINT64,
            "18446744073709551616",
            "18446744073709553000.0 Type: Number",
            id="beyond uint64",
        ),
        pytest.param(DataType.BOOL, "1", "1 Type: Number", id="number for bool"),
        pytest.param(DataType.BOOL, '"true"', '"true" Type: String', id="string for bool"),
        pytest.param(DataType.STRING, "1", "1 Type: Number", id="number for string"),
        pytest.param(DataType.STRING, "null", "null Type: Null", id="null for string"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: DataType, text: str, shown: str) -> None:
    message = f"JSON Value: {shown} is not of expected type: {kind.short_name}"
    assert error_of(f'{{"inputs": [{text}]}}', x=kind).message == message
    error = error_of(f'{{"instances": [{text}]}}', x=kind)
    assert error.message == wrapped(f"INVALID_ARGUMENT: {message}")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (DataType.UINT16, "uint16"),
        (DataType.HALF, "half"),
        (DataType.BFLOAT16, "bfloat16"),
        (DataType.COMPLEX64, "complex64"),
        (DataType.QINT8, "qint8"),
        (DataType.FLOAT8_E5M2, "float8_e5m2"),
    ],
)
def test_some_types_cannot_be_given_in_json(kind: DataType, name: str) -> None:
    message = f"Conversion of JSON Value: 1.0 to type: {name}"
    column = error_of('{"inputs": [1.0]}', x=kind)
    assert isinstance(column, Unimplemented)
    assert column.message == message
    row = error_of('{"instances": [[1.0]]}', x=kind)
    assert isinstance(row, InvalidArgument)
    assert row.message == wrapped(f"UNIMPLEMENTED: {message}")


def test_a_list_without_values_fits_every_type() -> None:
    for kind in DataType:
        if numpy_type_of(kind) is not None:
            array = inputs_of('{"inputs": [[], []]}', x=kind)["x"]
            assert array.shape == (2, 0)
            assert array.dtype == numpy_type_of(kind)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        pytest.param("", b"", id="nothing"),
        pytest.param("QUI=", b"AB", id="padded"),
        pytest.param("QUI", b"AB", id="padding left out"),
        pytest.param("QQ", b"A", id="two pads left out"),
        pytest.param("QQ==", b"A", id="two pads"),
        pytest.param("QUI.", b"AB", id="padded with a point"),
        pytest.param("Q U\\nI=", b"AB", id="white space"),
        pytest.param("QUI= ", b"AB", id="white space at the end"),
        pytest.param("QUJDREVG", b"ABCDEF", id="no padding needed"),
        pytest.param("QUI=QUI=", None, id="text after the padding"),
        pytest.param("QUI..", None, id="too much padding"),
        pytest.param("Q", None, id="one letter"),
        pytest.param("QQ=", None, id="too little padding"),
        pytest.param("QUJD=", None, id="padding that is not needed"),
        pytest.param("-_8=", None, id="the alphabet for URLs"),
        pytest.param("QU*=", None, id="a letter of no alphabet"),
    ],
)
def test_base64_is_read_like_the_original_does(text: str, data: bytes | None) -> None:
    body = f'{{"inputs": {{"b64": "{text}"}}}}'
    if data is None:
        assert error_of(body, x=DataType.STRING).message == "Unable to base64 decode"
    else:
        assert inputs_of(body, x=DataType.STRING)["x"].item() == data


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param('{"b64": 1}', '{\n    "b64": 1\n}', id="a number"),
        pytest.param(
            '{"b64": "", "a": 1}', '{\n    "b64": "",\n    "a": 1\n}', id="another member"
        ),
    ],
)
def test_another_object_is_no_string(value: str, shown: str) -> None:
    error = error_of(f'{{"inputs": [{value}]}}', x=DataType.STRING)
    assert error.message == f"JSON Value: {shown} not formatted correctly for base64 data"


# ---------------------------------------------------------------- laws

KINDS = [
    DataType.FLOAT,
    DataType.DOUBLE,
    DataType.INT32,
    DataType.INT64,
    DataType.UINT32,
    DataType.UINT64,
    DataType.INT8,
    DataType.BOOL,
]


@st.composite
def tensors(draw: st.DrawFn) -> tuple[DataType, np.ndarray]:
    kind = draw(st.sampled_from(KINDS))
    numpy_type = numpy_type_of(kind)
    assert numpy_type is not None
    elements: Any = None
    if numpy_type.kind == "f":
        elements = {"allow_nan": False, "allow_subnormal": False}
    shape = draw(arrays.array_shapes(max_dims=4, max_side=4))
    return kind, draw(arrays.arrays(numpy_type, shape, elements=elements))


@given(tensors(), st.sampled_from([None, 2]))
def test_what_python_writes_is_read_back(
    tensor: tuple[DataType, np.ndarray], indent: int | None
) -> None:
    kind, array = tensor
    values = array.tolist()
    for document in (
        {"instances": values},
        {"inputs": values},
        {"instances": [{"x": value} for value in values]},
        {"inputs": {"x": values}},
    ):
        found = inputs_of(json.dumps(document, indent=indent), x=kind)["x"]
        np.testing.assert_array_equal(found, array, strict=True)


@given(st.binary(max_size=60))
def test_base64_reads_back(data: bytes) -> None:
    body = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]})
    assert inputs_of(body, x=DataType.STRING)["x"].tolist() == [data]


DOCUMENTS = st.sampled_from(
    [
        b'{"instances": [1.5, [2], {"x": 3}], "signature_name": "s"}',
        b'{"instances": [{"x": [[1, 2], [3, 4]]}, {"x": [[5, 6], [7, 8e9]]}]}',
        b'{"inputs": {"x": ["a\\u00e9", {"b64": "QUI="}], "y": null}}',
        b'{"inputs": [[true, false], [NaN, -Infinity]]}',
        b'{"instances": [18446744073709551615, -1, 0.5]}',
    ]
)


@given(
    DOCUMENTS,
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), st.binary(max_size=3)), max_size=4),
    st.sampled_from(DataType),
)
def test_a_damaged_document_is_read_or_refused(
    document: bytes, damage: list[tuple[int, int, bytes]], kind: DataType
) -> None:
    for at, removed, added in damage:
        document = document[:at] + added + document[at + removed :]
    try:
        found = inputs_of(document, x=kind)
    except (InvalidArgument, Unimplemented):
        return
    assert all(array.dtype == numpy_type_of(kind) for array in found.values())
