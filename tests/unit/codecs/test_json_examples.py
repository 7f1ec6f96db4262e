"""Classify and regress requests: which examples come out, and the mistakes."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.codecs.json_examples import ExamplesBody
from salver.codecs.messages import message_class
from salver.errors import InvalidArgument


def features_of(serialized: bytes) -> dict[str, tuple[str | None, list[Any]]]:
    """Kind and values of each feature."""
    example = message_class("tensorflow.Example").FromString(serialized)
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return found


def parsed(document: Any) -> list[dict[str, tuple[str | None, list[Any]]]]:
    body = ExamplesBody.parse(json.dumps(document).encode())
    assert body.examples.dtype == object
    return [features_of(example) for example in body.examples]


def error_of(body: str) -> str:
    with pytest.raises(InvalidArgument) as raised:
        ExamplesBody.parse(body.encode())
    return raised.value.message


@pytest.mark.parametrize(
    ("value", "kind", "values"),
    [
        pytest.param('"hé"', "bytes_list", ["hé".encode()], id="a string"),
        pytest.param('{"b64": "AP8="}', "bytes_list", [b"\0\xff"], id="base64"),
        pytest.param('["a", {"b64": "QUI="}]', "bytes_list", [b"a", b"AB"], id="both"),
        pytest.param("0.5", "float_list", [0.5], id="a double"),
        pytest.param("[1.0, 2e0]", "float_list", [1.0, 2.0], id="doubles"),
        pytest.param("Infinity", "float_list", [np.inf], id="infinity"),
        pytest.param("1e39", "float_list", [np.inf], id="beyond float32"),
        pytest.param("1e-40", "float_list", [0.0], id="denormal"),
        pytest.param("18446744073709551616", "float_list", [2.0**64], id="beyond uint64"),
        pytest.param("1", "int64_list", [1], id="an integer"),
        pytest.param("[-1, 9223372036854775807]", "int64_list", [-1, 2**63 - 1], id="integers"),
        pytest.param("[true, false, 5]", "int64_list", [1, 0, 5], id="words are integers"),
        pytest.param("[]", None, [], id="an empty list has no kind"),
    ],
)
def test_the_values_decide_the_kind_of_a_feature(
    value: str, kind: str | None, values: list[Any]
) -> None:
    body = ExamplesBody.parse(f'{{"examples": [{{"x": {value}}}]}}'.encode())
    assert features_of(body.examples[0]) == {"x": (kind, values)}


def test_each_example_has_its_own_features() -> None:
    assert parsed({"examples": [{"x": 1, "y": "a"}, {}, {"z": []}]}) == [
        {"x": ("int64_list", [1]), "y": ("bytes_list", [b"a"])},
        {},
        {"z": (None, [])},
    ]


def test_an_example_without_features_is_empty() -> None:
    assert ExamplesBody.parse(b'{"examples": [{}]}').examples.tolist() == [b""]


def test_the_last_of_two_features_of_a_name_counts() -> None:
    body = ExamplesBody.parse(b'{"examples": [{"x": 1, "x": 2.5}]}')
    assert features_of(body.examples[0]) == {"x": ("float_list", [2.5])}


def test_the_context_stands_behind_each_example() -> None:
    document = {"context": {"x": 0.5, "c": "k"}, "examples": [{}, {"x": 0.25}]}
    assert parsed(document) == [
        {"x": ("float_list", [0.5]), "c": ("bytes_list", [b"k"])},
        {"x": ("float_list", [0.25]), "c": ("bytes_list", [b"k"])},
    ]


def test_a_signature_may_be_named() -> None:
    body = b'{"examples": [{}], "signature_name": "s"}'
    assert ExamplesBody.parse(body).signature_name == "s"
    assert ExamplesBody.parse(b'{"examples": [{}]}').signature_name == ""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("[]", "JSON Value: [] Is not object", id="no object"),
        pytest.param(
            "{", "JSON Parse error: Missing a name for object member. at offset: 1", id="no JSON"
        ),
        pytest.param(
            '{"signature_name": 1}',
            'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
            id="a signature name that is a number",
        ),
        pytest.param(
            "{}",
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
            id="no examples",
        ),
        pytest.param(
            '{"examples": null}',
            'JSON Value: {\n    "examples": null\n} '
            "Expecting 'examples' value to be an list/array",
            id="null for examples",
        ),
        pytest.param(
            '{"examples": []}',
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
            id="an empty list of examples",
        ),
        pytest.param(
            '{"examples": [[{"x": 1.0}]]}',
            "Example must be JSON object but got JSON Array",
            id="a list for an example",
        ),
        pytest.param(
            '{"examples": ["abc"]}',
            "Example must be JSON object but got JSON String",
            id="a string for an example",
        ),
        pytest.param(
            '{"context": true, "examples": []}',
            "Example must be JSON object but got JSON True",
            id="the context comes first",
        ),
        pytest.param(
            '{"examples": [{"x": null}]}',
            "Feature: x has element with unexpected JSON type: Null",
            id="null in a feature",
        ),
        pytest.param(
            '{"examples": [{"x": [[1]]}]}',
            "Feature: x has element with unexpected JSON type: Array",
            id="a list in a feature's list",
        ),
        pytest.param(
            '{"examples": [{"x": {"y": 1}}]}',
            "Feature: x has element with unexpected JSON type: Object",
            id="an object in a feature",
        ),
        pytest.param(
            '{"examples": [{"x": [1, 2.0]}]}',
            "Unexpected element type in feature: x expecting type: int64",
            id="a double after an integer",
        ),
        pytest.param(
            '{"examples": [{"x": [1.0, 2]}]}',
            "Unexpected element type in feature: x expecting type: float",
            id="an integer after a double",
        ),
        pytest.param(
            '{"examples": [{"x": ["a", true]}]}',
            "Unexpected element type in feature: x expecting type: bytes",
            id="a word after a string",
        ),
        pytest.param(
            '{"examples": [{"x": 9223372036854775808}]}',
            "Feature: x has uint64_t element. Only int64_t is supported.",
            id="beyond int64",
        ),
        pytest.param(
            '{"examples": [{"x": {"b64": "*"}}]}', "Unable to base64 decode", id="bad base64"
        ),
    ],
)
def test_a_mistake_is_described(body: str, message: str) -> None:
    assert error_of(body) == message


VALUES = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.lists(st.floats(width=32, allow_nan=False, allow_subnormal=False), min_size=1),
    st.lists(st.text(st.characters(codec="utf-8")), min_size=1),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=3))
def test_every_value_arrives(examples: list[dict[str, list[Any]]]) -> None:
    expected = [
        {
            name: [value.encode() if isinstance(value, str) else value for value in values]
            for name, values in example.items()
        }
        for example in examples
    ]
    found = [
        {name: values for name, (_, values) in example.items()}
        for example in parsed({"examples": examples})
    ]
    assert found == expected


def test_a_context_is_not_repeated_without_bounds() -> None:
    context = {"words": ["x" * 100_000]}
    body = {"context": context, "examples": [{}] * 3}
    assert all(len(example) > 100_000 for example in ExamplesBody.parse(encoded(body)).examples)
    body = {"context": context, "examples": [{}] * 5000}
    with pytest.raises(InvalidArgument, match="too long for 5000 examples"):
        ExamplesBody.parse(encoded(body))


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()
