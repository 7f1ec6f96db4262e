"""Answers, byte for byte."""

import base64
import json
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from salver.codecs.json_parser import parse
from salver.codecs.json_response import (
    encode_classify,
    encode_error,
    encode_predict,
    encode_regress,
    encode_status,
)
from salver.core.deep_array import deep_array
from salver.errors import Code, InvalidArgument, Unimplemented

ROW_START = '{\n    "predictions": ['
ROW_END = "\n    ]\n}"


def texts(array: np.ndarray) -> list[str]:
    """The numbers of one row answer, as they are written."""
    text = encode_predict({"y": array}, row_format=True).decode()
    assert text.startswith(ROW_START)
    assert text.endswith(ROW_END)
    return text[len(ROW_START) : -len(ROW_END)].split(", ")


@pytest.mark.parametrize(
    ("value", "single", "double"),
    [
        pytest.param(3, "3.0", "3.0", id="whole"),
        pytest.param(0.2, "0.2", "0.2", id="a fifth"),
        pytest.param(9000000, "9e+06", "9e+06", id="seven places"),
        pytest.param(999999, "999999.0", "999999.0", id="six places"),
        pytest.param(0.00003, "3e-05", "3e-05", id="four zeros"),
        pytest.param(0.0001, "0.0001", "0.0001", id="three zeros"),
        pytest.param(555557.5, "555557.5", "555557.5", id="seven digits"),
        pytest.param(1 / 3, "0.333333343", "0.33333333333333331", id="a third"),
        pytest.param(0.7831234, "0.783123374", "0.78312340000000003", id="rounded by float32"),
        pytest.param(123456789, "123456792.0", "123456789.0", id="nine digits"),
        pytest.param(-0.0, "-0.0", "-0.0", id="minus zero"),
        pytest.param(1e21, "1e+21", "1e+21", id="a great exponent"),
        pytest.param(1.5e-7, "1.5e-07", "1.5e-07", id="a negative exponent"),
        pytest.param(1e-40, "0.0", "1e-40", id="denormal as float32"),
        pytest.param(-5e-324, "-0.0", "-0.0", id="denormal as float64"),
        pytest.param(math.nan, "NaN", "NaN", id="NaN"),
        pytest.param(math.inf, "Infinity", "Infinity", id="infinity"),
        pytest.param(-math.inf, "-Infinity", "-Infinity", id="minus infinity"),
        pytest.param(9007199254740993, "9.00719925e+15", "9007199254740992.0", id="2**53 + 1"),
    ],
)
def test_a_float_is_written_like_the_original_does(value: float, single: str, double: str) -> None:
    assert texts(np.array([value], np.float32)) == [single]
    assert texts(np.array([value], np.float64)) == [double]


def printed(value: np.floating[Any], digits: str) -> str:
    """The rule, with Python's own formatting."""
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if abs(value) < np.finfo(type(value)).tiny:
        value = np.copysign(0, value)
    text = f"{float(value):g}"
    if type(value)(text) != value:
        text = f"{float(value):.{digits}g}"
    return text if "." in text or "e" in text else text + ".0"


@given(arrays.arrays(np.float32, 20, elements=st.floats(width=32)))
def test_every_float32_follows_the_rule(array: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        assert texts(array) == [printed(value, "9") for value in array]


@given(arrays.arrays(np.float64, 20, elements=st.floats()))
def test_every_float64_follows_the_rule(array: np.ndarray) -> None:
    assert texts(array) == [printed(value, "17") for value in array]


@pytest.mark.parametrize("data_type", [np.float32, np.float64])
def test_floats_of_few_digits_and_their_neighbours_follow_the_rule(data_type: Any) -> None:
    round_ones = np.array(
        [float(f"{n}e{e}") for n in (1, 5, 999999, 123457) for e in range(-36, 32)]
    )
    values = round_ones.astype(data_type)
    around = [np.nextafter(values, data_type(end)) for end in (-np.inf, np.inf)]
    digits = "9" if data_type is np.float32 else "17"
    for array in (values, -values, *around):
        assert texts(array) == [printed(value, digits) for value in array]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        pytest.param(np.array([-128, 127], np.int8), "-128, 127", id="int8"),
        pytest.param(np.array([0, 255], np.uint8), "0, 255", id="uint8"),
        pytest.param(np.array([-32768], np.int16), "-32768", id="int16"),
        pytest.param(np.array([-(2**31)], np.int32), "-2147483648", id="int32"),
        pytest.param(np.array([2**32 - 1], np.uint32), "4294967295", id="uint32"),
        pytest.param(np.array([-(2**63)], np.int64), "-9223372036854775808", id="int64"),
        pytest.param(np.array([2**64 - 1], np.uint64), "18446744073709551615", id="uint64"),
        pytest.param(np.array([True, False]), "true, false", id="bool"),
        pytest.param(np.array([[1, 2], [3, 4]]), "[1, 2], [3, 4]", id="a matrix"),
        pytest.param(np.zeros((2, 2, 0)), "[[], []], [[], []]", id="an inner size of zero"),
        pytest.param(np.arange(4)[::2], "0, 2", id="an array with strides"),
        pytest.param(np.array([1, 2], ">i4"), "1, 2", id="another byte order"),
        pytest.param(np.array([b"a", "é"], object), '"a", "é"', id="bytes and text"),
        pytest.param(np.array([b"ab", b"c"]), '"ab", "c"', id="strings of fixed width"),
        pytest.param(
            np.array([b'"\\\b\f\n\r\t\x01\x1f/\x7f'], object),
            '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001F/\x7f"',
            id="escapes",
        ),
    ],
)
def test_rows_are_written_on_one_line(array: np.ndarray, text: str) -> None:
    assert encode_predict({"y": array}, row_format=True).decode() == ROW_START + text + ROW_END


def test_zero_rows_are_an_empty_list() -> None:
    empty = np.zeros((0, 3), np.float32)
    for outputs in ({"y": empty}, {"a": empty, "b": empty}):
        assert encode_predict(outputs, row_format=True) == b'{\n    "predictions": []\n}'


def test_rows_of_several_outputs_are_objects() -> None:
    outputs = {"a": np.array([[2.5, 3.0], [4.0, 5.0]], np.float32), "b": np.array([1, 2])}
    assert encode_predict(outputs, row_format=True).decode() == (
        '{\n    "predictions": [\n'
        '        {\n            "a": [2.5, 3.0],\n            "b": 1\n        },\n'
        '        {\n            "a": [4.0, 5.0],\n            "b": 2\n        }\n'
        "    ]\n}"
    )


def test_columns_have_one_element_per_line() -> None:
    assert encode_predict({"y": np.array([[1, 2]])}, row_format=False).decode() == (
        '{\n    "outputs": [\n        [\n            1,\n            2\n        ]\n    ]\n}'
    )


@pytest.mark.parametrize(
    ("array", "text"),
    [
        pytest.param(np.array(5.0, np.float32), "5.0", id="a scalar"),
        pytest.param(np.zeros(0), "[]", id="an empty list"),
        pytest.param(np.zeros((1, 0)), "[\n        []\n    ]", id="an empty list in a list"),
    ],
)
def test_a_column_may_have_any_rank(array: np.ndarray, text: str) -> None:
    assert (
        encode_predict({"y": array}, row_format=False).decode() == f'{{\n    "outputs": {text}\n}}'
    )


def test_columns_of_several_outputs_are_members() -> None:
    outputs = {"z": np.array(-1.5), 'odd "name"': np.array([1])}
    assert encode_predict(outputs, row_format=False).decode() == (
        '{\n    "outputs": {\n        "z": -1.5,\n'
        '        "odd \\"name\\"": [\n            1\n        ]\n    }\n}'
    )


@pytest.mark.parametrize(
    ("outputs", "row_format", "text"),
    [
        pytest.param(
            {"y_bytes": np.array([b"ABC", b"\0\xff"], object)},
            True,
            '{\n    "predictions": [{\n            "b64": "QUJD"\n        }, {\n'
            '            "b64": "AP8="\n        }\n    ]\n}',
            id="rows",
        ),
        pytest.param(
            {"y_bytes": np.array([[b"a"]], object)},
            True,
            '{\n    "predictions": [[{\n                "b64": "YQ=="\n            }]\n    ]\n}',
            id="a matrix",
        ),
        pytest.param(
            {"up_bytes": np.array([b"ABC"], object), "text": np.array([b"abc"], object)},
            True,
            '{\n    "predictions": [\n        {\n            "up_bytes": {\n'
            '                "b64": "QUJD"\n            },\n            "text": "abc"\n'
            "        }\n    ]\n}",
            id="rows of several outputs",
        ),
        pytest.param(
            {"y_bytes": np.array([b""], object)},
            False,
            '{\n    "outputs": [\n        {\n            "b64": ""\n        }\n    ]\n}',
            id="columns",
        ),
        pytest.param(
            {"n_bytes": np.array([3])},
            True,
            '{\n    "predictions": [3\n    ]\n}',
            id="numbers stay numbers",
        ),
    ],
)
def test_strings_of_an_output_called_bytes_are_base64(
    outputs: dict[str, np.ndarray], row_format: bool, text: str
) -> None:
    assert encode_predict(outputs, row_format).decode() == text


def test_invalid_utf8_is_copied() -> None:
    body = encode_predict({"y": np.array([b"\xff\xfe"], object)}, row_format=True)
    assert body == b'{\n    "predictions": ["\xff\xfe"\n    ]\n}'


@pytest.mark.parametrize(
    ("data_type", "name"),
    [
        pytest.param(np.float16, "half", id="half"),
        pytest.param(ml_dtypes.bfloat16, "bfloat16", id="bfloat16"),
        pytest.param(np.uint16, "uint16", id="uint16"),
        pytest.param(np.complex64, "complex64", id="complex64"),
        pytest.param(np.complex128, "complex128", id="complex128"),
    ],
)
def test_other_types_cannot_be_written(data_type: Any, name: str) -> None:
    for row_format in (True, False):
        with pytest.raises(InvalidArgument) as raised:
            encode_predict({"y": np.ones(2, data_type)}, row_format)
        assert raised.value.message == f"Failed to write JSON value for tensor type: {name}"
    # Where there is nothing to write, nothing fails.
    assert (
        encode_predict({"y": np.ones(0, data_type)}, row_format=False) == b'{\n    "outputs": []\n}'
    )


@pytest.mark.parametrize(
    ("outputs", "row_format", "message"),
    [
        pytest.param(
            {"c": np.array(1.0)}, True, "Tensor name: c has no shape information ", id="a scalar"
        ),
        pytest.param(
            {"a": np.zeros(2), "b": np.zeros(3)},
            True,
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
            id="other sizes",
        ),
        pytest.param(
            {"a": np.zeros(2), "b": np.zeros(0)},
            True,
            "Tensor name: b has inconsistent batch size: 0 expecting: 2",
            id="a size of zero",
        ),
        pytest.param({}, True, "Cannot convert empty tensor map to JSON", id="no rows"),
        pytest.param({}, False, "Cannot convert empty tensor map to JSON", id="no columns"),
    ],
)
def test_outputs_that_make_no_answer_are_named(
    outputs: dict[str, np.ndarray], row_format: bool, message: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        encode_predict(outputs, row_format)
    assert raised.value.message == message


def as_python(array: np.ndarray) -> Any:
    """What a client should see."""
    if array.dtype == object:
        return json.loads(json.dumps(array.tolist(), default=bytes.decode))
    return array.tolist()


ARRAYS = st.one_of(
    *(
        arrays.arrays(data_type, arrays.array_shapes(max_dims=4, min_side=0))
        for data_type in (np.int8, np.uint8, np.int32, np.int64, np.uint64, np.bool_)
    ),
    arrays.arrays(
        np.float64,
        arrays.array_shapes(max_dims=3),
        elements=st.floats(allow_nan=False, allow_subnormal=False),
    ),
    arrays.arrays(
        object,
        arrays.array_shapes(max_dims=2),
        elements=st.text(st.characters(codec="utf-8")).map(str.encode),
    ),
)


@given(ARRAYS, st.booleans())
def test_an_answer_reads_back_with_another_parser(array: np.ndarray, row_format: bool) -> None:
    answer = json.loads(encode_predict({"y": array}, row_format))
    assert answer == {"predictions" if row_format else "outputs": as_python(array)}


@given(ARRAYS)
def test_several_outputs_read_back_with_another_parser(array: np.ndarray) -> None:
    rows = json.loads(encode_predict({"a": array, "b": array}, row_format=True))
    assert rows == {"predictions": [{"a": item, "b": item} for item in as_python(array)]}


@given(st.binary(max_size=50))
def test_base64_reads_back(data: bytes) -> None:
    body = encode_predict({"y_bytes": np.array([data], object)}, row_format=True)
    assert base64.b64decode(json.loads(body)["predictions"][0]["b64"]) == data


def test_classes_and_scores_are_pairs() -> None:
    classes = np.array([[b"car", b"bike"], [b"car", b"bike"]], object)
    scores = np.array([[0.2, 0.7], [0.7, 0.1]], np.float32)
    assert encode_classify(classes, scores).decode() == (
        '{\n    "results": [[["car", 0.2], ["bike", 0.7]], [["car", 0.7], ["bike", 0.1]]\n    ]\n}'
    )


def test_a_label_that_is_missing_is_empty_and_a_score_zero() -> None:
    classes = np.array([[b"no", b"yes"]], object)
    scores = np.array([[math.nan, math.inf]], np.float32)
    assert encode_classify(classes, None) == (
        b'{\n    "results": [[["no", 0.0], ["yes", 0.0]]\n    ]\n}'
    )
    assert encode_classify(None, scores) == (
        b'{\n    "results": [[["", NaN], ["", Infinity]]\n    ]\n}'
    )


def test_regressions_are_on_one_line() -> None:
    body = encode_regress(np.array([0.2, 0.9, math.nan], np.float32))
    assert body == b'{\n    "results": [0.2, 0.9, NaN]\n}'


def test_no_examples_make_no_answer() -> None:
    for classes, scores in (
        (np.empty((0, 2), object), None),
        (None, np.zeros((0, 2), np.float32)),
        (None, None),
    ):
        with pytest.raises(InvalidArgument, match="Cannot convert empty ClassificationResults to"):
            encode_classify(classes, scores)
    with pytest.raises(InvalidArgument, match="Cannot convert empty RegressionResults to JSON"):
        encode_regress(np.zeros(0, np.float32))


@pytest.mark.parametrize(
    ("message", "body"),
    [
        pytest.param("plain", b'"plain"', id="text"),
        pytest.param('Bad key: "key"\n', b'"Bad key: \\"key\\"\\n"', id="escapes"),
        pytest.param("é\udcff", b'"\xc3\xa9\xff"', id="bytes that were no UTF-8"),
        pytest.param(b"\xff", b'"\xff"', id="bytes"),
        pytest.param("\ud800", b'"\xed\xa0\x80"', id="a lone surrogate"),
    ],
)
def test_an_error_is_an_object_with_its_message(message: str | bytes, body: bytes) -> None:
    assert encode_error(message) == b'{\n    "error": %b\n}' % body


@given(st.binary())
def test_every_message_arrives(message: bytes) -> None:
    assert parse(encode_error(message)) == (b"error", message)


def test_a_status_lists_the_versions() -> None:
    assert encode_status([(123, "AVAILABLE", Code.OK, "")]).decode() == (
        '{\n "model_version_status": [\n  {\n   "version": "123",\n   "state": "AVAILABLE",\n'
        '   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


def test_a_status_carries_the_errors_of_versions() -> None:
    entries = [
        (2, "END", int(Code.NOT_FOUND), 'no "file" \\ <x>\n\x01é'),
        (1, "AVAILABLE", int(Code.OK), ""),
    ]
    listed = json.loads(encode_status(entries))["model_version_status"]
    assert [entry["version"] for entry in listed] == ["2", "1"]
    assert listed[0]["state"] == "END"
    assert listed[0]["status"] == {
        "error_code": "NOT_FOUND",
        "error_message": 'no "file" \\ <x>\n\x01é',
    }


@pytest.mark.parametrize("row_format", [True, False])
def test_more_dimensions_than_numpy_has_are_not_written(row_format: bool) -> None:
    array = deep_array(np.zeros(2, np.float32), [2] + [1] * 64)
    with pytest.raises(Unimplemented, match="65 axes"):
        encode_predict({"y": array}, row_format=row_format)
