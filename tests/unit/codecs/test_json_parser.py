"""The grammar: what is JSON here, what is not, and how that is said."""

import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from salver.codecs.json_parser import ABSENT, parse, parse_members
from salver.codecs.json_request import PredictBody
from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument

DEEP = 500_000


def error_of(body: bytes) -> str:
    with pytest.raises(InvalidArgument) as raised:
        parse(body)
    return raised.value.message


@pytest.mark.parametrize(
    ("body", "text", "offset"),
    [
        pytest.param(b" ", "The document is empty.", 1, id="a blank"),
        pytest.param(b"\n\t ", "The document is empty.", 3, id="white space"),
        pytest.param(b"}", "The document is empty.", 0, id="a closing brace"),
        pytest.param(b"]", "The document is empty.", 0, id="a closing bracket"),
        pytest.param(b",", "The document is empty.", 0, id="a comma"),
        pytest.param(b"\0{}", "The document is empty.", 0, id="a NUL"),
        pytest.param(b"abc", "Invalid value.", 0, id="a word"),
        pytest.param(b"<xml/>", "Invalid value.", 0, id="XML"),
        pytest.param(
            b'{"instances":[1,2',
            "Missing a comma or ']' after an array element.",
            17,
            id="a list without end",
        ),
        pytest.param(b"{", "Missing a name for object member.", 1, id="an object without end"),
        pytest.param(b"{'a':1}", "Missing a name for object member.", 1, id="single quotes"),
        pytest.param(b"{a:1}", "Missing a name for object member.", 1, id="no quotes"),
        pytest.param(b'{"a":1,}', "Missing a name for object member.", 7, id="comma, then brace"),
        pytest.param(b'{"a":[1,]}', "Invalid value.", 8, id="comma, then bracket"),
        pytest.param(b'{"a":[,1]}', "Invalid value.", 6, id="comma before the first element"),
        pytest.param(b'{"a":}', "Invalid value.", 5, id="no value"),
        pytest.param(b'{"a":[1,', "Invalid value.", 8, id="nothing after a comma"),
        pytest.param(
            b'{"a":01}', "Missing a comma or '}' after an object member.", 6, id="a leading zero"
        ),
        pytest.param(
            b"[0x10]", "Missing a comma or ']' after an array element.", 2, id="hexadecimal"
        ),
        pytest.param(b'{"a":1.}', "Miss fraction part in number.", 7, id="a point at the end"),
        pytest.param(b"[1e]", "Miss exponent in number.", 3, id="an exponent without digits"),
        pytest.param(b"[1e+]", "Miss exponent in number.", 4, id="an exponent with a sign only"),
        pytest.param(b"[+1]", "Invalid value.", 1, id="a plus sign"),
        pytest.param(b"[.5]", "Invalid value.", 1, id="a point at the start"),
        pytest.param(b"[-]", "Invalid value.", 2, id="a lone minus sign"),
        pytest.param(b"[--1]", "Invalid value.", 2, id="two minus signs"),
        pytest.param(b"[nan]", "Invalid value.", 2, id="nan in small letters"),
        pytest.param(b"[Nan]", "Invalid value.", 3, id="nan in other letters"),
        pytest.param(b"[infinity]", "Invalid value.", 1, id="infinity in small letters"),
        pytest.param(b"[Infinite]", "Invalid value.", 8, id="a word that starts like infinity"),
        pytest.param(
            b'{"a" 1}', "Missing a colon after a name of object member.", 5, id="no colon"
        ),
        pytest.param(b'{"a":True}', "Invalid value.", 5, id="a word in Python's spelling"),
        pytest.param(b"[trux]", "Invalid value.", 4, id="a word that breaks off"),
        pytest.param(b"[nul", "Invalid value.", 4, id="a word cut short"),
        pytest.param(b'{"a":1e400}', "Number too big to be stored in double.", 5, id="1e400"),
        pytest.param(b"[-1e309]", "Number too big to be stored in double.", 1, id="-1e309"),
        pytest.param(
            b"[" + b"9" * 400 + b"]", "Number too big to be stored in double.", 1, id="400 nines"
        ),
        pytest.param(b'{"a":"\\x"}', "Invalid escape character in string.", 6, id="bad escape"),
        pytest.param(b'["a\nb"]', "Invalid escape character in string.", 3, id="a raw newline"),
        pytest.param(
            b'{"a":"\\u12"}',
            "Incorrect hex digit after \\u escape in string.",
            6,
            id="two hex digits",
        ),
        pytest.param(
            b'{"a":"\\ud800"}',
            "The surrogate pair in string is invalid.",
            6,
            id="half a surrogate pair",
        ),
        pytest.param(
            b'["\\ud800\\u0041"]',
            "The surrogate pair in string is invalid.",
            2,
            id="a high surrogate before a letter",
        ),
        pytest.param(
            b'["abc', "Missing a closing quotation mark in string.", 5, id="a string without end"
        ),
        pytest.param(
            b'["a\0b"]', "Missing a closing quotation mark in string.", 3, id="a NUL in a string"
        ),
    ],
)
def test_a_mistake_is_named_with_its_offset(body: bytes, text: str, offset: int) -> None:
    message = f"JSON Parse error: {text} at offset: {offset}"
    assert error_of(body) == message
    with pytest.raises(InvalidArgument) as raised:
        parse_members(body, (b"a", b"instances"))
    assert raised.value.message == message


@pytest.mark.parametrize("names", [(b"a",), (b"other",)], ids=["kept", "passed over"])
def test_a_member_is_checked_whether_it_is_kept_or_not(names: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidArgument, match="at offset: 12"):
        parse_members(b'{"a":["b",1,]}', names)


def test_an_empty_body_has_a_message_without_offset() -> None:
    assert error_of(b"") == "JSON Parse error: The document is empty"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param(b'{"a":1} junk', (b"a", 1), id="text after the value"),
        pytest.param(b'{"a":1}{"a":2}', (b"a", 1), id="two documents"),
        pytest.param(b"\xef\xbb\xbf[1]", [1], id="a byte order mark"),
        pytest.param(b"\xbb\xbf [1]", [1], id="part of a byte order mark"),
        pytest.param(b'{"a":1,"a":2}', (b"a", 1, b"a", 2), id="a name twice"),
        pytest.param(b"[[],{},[{}]]", [[], (), [()]], id="empty lists and objects"),
        pytest.param(b'"a\xff\xc3("', b"a\xff\xc3(", id="invalid UTF-8"),
        pytest.param(
            b'"\\u00e9\\ud83d\\ude00\\/\\b"', b"\xc3\xa9\xf0\x9f\x98\x80/\b", id="escapes"
        ),
        pytest.param(b'"\\udc00"', b"\xed\xb0\x80", id="a low surrogate alone"),
        pytest.param(b'"\\u0000"', b"\0", id="an escaped NUL"),
        pytest.param(b'"\x7f"', b"\x7f", id="DEL"),
        pytest.param(b"[true,false,null]", [True, False, None], id="words"),
    ],
)
def test_a_document_becomes_plain_values(body: bytes, value: object) -> None:
    assert parse(body) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("-0", 0, id="minus zero is an integer"),
        pytest.param("-0.0", -0.0, id="minus zero with a point"),
        pytest.param("1.0", 1.0, id="a whole double"),
        pytest.param("1e2", 100.0, id="an exponent makes a double"),
        pytest.param("9223372036854775807", 2**63 - 1, id="greatest int64"),
        pytest.param("-9223372036854775808", -(2**63), id="least int64"),
        pytest.param("-9223372036854775809", -(2.0**63), id="below int64"),
        pytest.param("18446744073709551615", 2**64 - 1, id="greatest uint64"),
        pytest.param("18446744073709551616", 2.0**64, id="beyond uint64"),
        pytest.param("Inf", math.inf, id="Inf"),
        pytest.param("Infinity", math.inf, id="Infinity"),
        pytest.param("-Inf", -math.inf, id="-Inf"),
        pytest.param("-Infinity", -math.inf, id="-Infinity"),
        pytest.param("1e-400", 0.0, id="underflow"),
        pytest.param("-5e-324", -0.0, id="a denormal number counts as zero"),
        pytest.param("0.001e310", 1e307, id="a great exponent, a small number"),
        pytest.param("0e0000000000000001", 0.0, id="zeros in the exponent"),
        pytest.param("12e308", math.inf, id="an overflow that the limit does not see"),
        pytest.param("NaN.5", 0.5, id="a fraction behind NaN"),
    ],
)
def test_a_number_token_becomes_the_value_it_stands_for(text: str, value: float) -> None:
    number = parse(text.encode())
    assert type(number) is type(value)
    assert number == value
    assert math.copysign(1, number) == math.copysign(1, value)


@pytest.mark.parametrize("text", ["NaN", "-NaN"])
def test_nan_is_a_number(text: str) -> None:
    number = parse(text.encode())
    assert isinstance(number, float)
    assert math.isnan(number)


def test_the_first_member_of_a_name_counts() -> None:
    assert parse_members(b'{"b":"x","a":1,"a":2}', (b"a", b"b", b"c")) == [1, b"x", ABSENT]


def test_a_name_may_be_written_with_escapes() -> None:
    assert parse_members(b'{"\\u0061":1}', (b"a",)) == [1]


def test_a_document_that_is_no_object_has_no_members() -> None:
    assert parse_members(b"[1]", (b"a",)) is None


@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["lists", "objects"])
@pytest.mark.parametrize("names", [(b"ignored",), (b"other",)], ids=["kept", "passed over"])
def test_half_a_million_levels_are_parsed_and_let_go(
    opening: bytes, names: tuple[bytes, ...]
) -> None:
    closing = b"]" if opening == b"[" else b"}"
    deep = opening * DEEP + b"1" + closing * DEEP
    members = parse_members(b'{"ignored":' + deep + b',"x":1}', (*names, b"x"))
    assert members is not None
    assert members[1] == 1


def test_what_is_passed_over_takes_no_memory() -> None:
    body = b'{"ignored":[' + b'"text",' * 100_000 + b'{}],"x":1}'
    tracemalloc.start()
    parse_members(body, (b"x",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_half_a_million_levels_that_stay_open_are_an_error() -> None:
    assert error_of(b"[" * DEEP) == f"JSON Parse error: Invalid value. at offset: {DEEP}"


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_subnormal=False)
    | st.text(st.characters(codec="utf-8")),
    lambda values: (
        st.lists(values) | st.dictionaries(st.text(st.characters(codec="utf-8")), values)
    ),
    max_leaves=30,
)


def plain(value: Any) -> Any:
    """What Python's own parser gives, in the shape of our nodes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return tuple(plain(item) for pair in value.items() for item in pair)
    return value


@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 1, 7]))
@example(3.67558963674395e-270, False, None)
def test_a_valid_document_means_the_same_as_to_python(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps({"v": value}, ensure_ascii=ascii_only, indent=indent)
    assert_alike(parse(text.encode()), (b"v", plain(value)))


def assert_alike(found: Any, wanted: Any) -> None:
    """The same but for doubles, which the plain parse has a little off, as the original has."""
    assert type(found) is type(wanted)
    if isinstance(wanted, float):
        assert math.isclose(found, wanted, rel_tol=1e-13)
        assert math.copysign(1, found) == math.copysign(1, wanted)
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_alike(one, other)
    else:
        assert found == wanted


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
@example(9007199254740993.0)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
def test_a_kept_double_is_rounded_correctly(value: float) -> None:
    for text in (repr(value), f"{value:.25e}", f"{value:.17g}"):
        members = parse_members(b'{"a":"",\n"b":%b}' % text.encode(), (b"b",))
        assert members is not None
        assert float(members[0]) == float(text)  # type: ignore[arg-type]


def digits_of(most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=1, max_size=most)


@st.composite
def between_two_doubles(draw: st.DrawFn) -> str:
    """Decimals in the middle of two neighbours, which the even one gets, or next to it."""
    middle = 2 * draw(st.integers(2**52, 2**53 - 1)) + 1
    tens = draw(st.integers(-22, 4))
    whole = middle * 5**tens if tens >= 0 else middle
    return f"{whole + draw(st.integers(-1, 1))}e{-tens}"


DECIMALS = (
    st.tuples(st.sampled_from("0123456789"), digits_of(24)).map(".".join)
    | st.tuples(digits_of(19), digits_of(8)).map(lambda parts: f"1{parts[0]}.{parts[1]}")
    | st.tuples(digits_of(19), st.integers(-70, 70)).map(lambda parts: f"1{parts[0]}e{parts[1]}")
    | st.tuples(st.integers(0, 20), digits_of(19)).map(
        lambda parts: f"0.{'0' * parts[0]}{parts[1]}"
    )
    | between_two_doubles()
)


@given(st.lists(st.tuples(st.sampled_from(["", "-"]), DECIMALS).map("".join), min_size=1))
@example(
    ["9007199254740993.0", "9007199254740995.0", "4503599627370497.5", "-0.0000000000", "7e22"]
)
@example(["0.1234567890123456789", "9.999999999999999999", "1.12345678", "-0.12345678e1", "0.5"])
def test_each_number_of_an_array_is_rounded_correctly(texts: list[str]) -> None:
    # What stands close to the end of a text is read in another way than what does not.
    for blanks in (b"", b" " * 40):
        body = b'{"inputs":[%b]%b}' % (",".join(texts).encode(), blanks)
        doubles = {"x": TensorSpec("x:0", DataType.DOUBLE, None)}
        array = PredictBody.parse(body).inputs(Signature("s", doubles, {}))["x"]
        assert list(map(repr, array.tolist())) == [repr(float(text)) for text in texts]


PIECES = st.sampled_from(
    b'{ } [ ] , : " \\ \\u d800 \\udc00 NaN Inf inity - + . e E5 0 1 99999999999999999999'.split()
    + b'true nul "a" "b": \x00 \xff \x1f \xef\xbb\xbf'.split()
    + [b" ", b"\n"]
)


@given(st.lists(PIECES, max_size=20).map(b"".join) | st.binary(max_size=40))
def test_hostile_text_is_parsed_or_refused_the_same_way_twice(body: bytes) -> None:
    outcomes = []
    for read in (parse, lambda body: parse_members(body, (b"a",)), lambda b: parse_members(b, ())):
        try:
            read(body)
            outcomes.append("")
        except InvalidArgument as error:
            outcomes.append(error.message)
    assert len(set(outcomes)) == 1
