"""Values inside error messages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.codecs.json_parser import parse
from salver.codecs.json_quote import MAX_QUOTED_BYTES, escaped, quoted
from salver.codecs.json_shortest import shortest


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"null", "null", id="null"),
        pytest.param(b"[true, false]", "[true, false]", id="words"),
        pytest.param(b'[1,2.5,null,"s"]', '[1, 2.5, null, "s"]', id="a list stays on one line"),
        pytest.param(b"[[],{}]", "[[], {}]", id="empty lists and objects"),
        pytest.param(b'{"instances": []}', '{\n    "instances": []\n}', id="an object"),
        pytest.param(
            b'{"a":{"b":1},"c":2}',
            '{\n    "a": {\n        "b": 1\n    },\n    "c": 2\n}',
            id="an object in an object",
        ),
        pytest.param(
            b'[{"a":1},{"b":2}]',
            '[{\n        "a": 1\n    }, {\n        "b": 2\n    }]',
            id="objects in a list",
        ),
        pytest.param(b'{"a":1,"a":2}', '{\n    "a": 1,\n    "a": 2\n}', id="a name twice"),
        pytest.param(b'"\\u0001\\n\\"\\\\/\\u007f"', '"\\u0001\\n\\"\\\\/\x7f"', id="escapes"),
        pytest.param(b'"\\u001f"', '"\\u001F"', id="hexadecimal in capitals"),
        pytest.param(b"NaN", "", id="NaN"),
        pytest.param(b"[1,NaN,2]", "[1, ", id="NaN ends the text"),
        pytest.param(b"[Infinity]", "[", id="so does infinity"),
        pytest.param(b'"\xff"', '"\udcff"', id="invalid UTF-8"),
    ],
)
def test_a_value_is_quoted_in_the_layout_of_the_original(body: bytes, text: str) -> None:
    assert quoted(parse(body)) == text


def test_a_long_list_is_cut_before_the_token_that_would_start_too_late() -> None:
    text = quoted(list(range(1000)))
    assert text.startswith("[0, 1, 2")
    assert MAX_QUOTED_BYTES <= len(text) < MAX_QUOTED_BYTES + 5
    assert text.endswith(", 66")


def test_a_long_string_is_quoted_whole_but_nothing_after_it() -> None:
    assert quoted([b"x" * 1000, 1]) == '["' + "x" * 1000 + '"'


def test_deep_lists_are_cut_without_being_walked() -> None:
    assert quoted(parse(b"[" * 400_000 + b"]" * 400_000)) == "[" * 256


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.0, "0.0", id="zero"),
        pytest.param(-0.0, "-0.0", id="minus zero"),
        pytest.param(3.0, "3.0", id="whole"),
        pytest.param(0.1, "0.1", id="a tenth"),
        pytest.param(-1234.5678, "-1234.5678", id="digits on both sides of the point"),
        pytest.param(1e20, "100000000000000000000.0", id="21 places"),
        pytest.param(1e21, "1e21", id="an exponent from 22 places on"),
        pytest.param(1.5e300, "1.5e300", id="a point and an exponent"),
        pytest.param(0.000001, "0.000001", id="five zeros behind the point"),
        pytest.param(0.0000001, "1e-7", id="an exponent for more"),
        pytest.param(2.0**64, "18446744073709553000.0", id="not rounded after nine places"),
        pytest.param(1.7976931348623157e308, "1.7976931348623157e308", id="the greatest"),
        pytest.param(2.2250738585072014e-308, "2.2250738585072014e-308", id="the least normal"),
    ],
)
def test_a_double_has_the_digits_of_the_original(value: float, text: str) -> None:
    assert shortest(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_reads_back(value: float) -> None:
    assert math.copysign(1, float(shortest(value))) == math.copysign(1, value)
    assert float(shortest(value)) == value


@given(st.binary())
def test_an_escaped_string_parses_to_itself(text: bytes) -> None:
    assert parse(escaped(text)) == text
