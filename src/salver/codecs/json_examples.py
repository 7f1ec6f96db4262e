"""Bodies of REST requests for classify and regress: JSON to serialized `tf.Example`s.

Source: json_tensor.cc for the rules and the texts, tensorflow/core/example/*.proto for the
numbers of the fields. The few messages are written by hand: a message that is serialized
at once needs no message object.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from salver.codecs.example_context import with_context
from salver.codecs.json_conversion import (
    base64_text,
    decode_base64,
    find_member,
    name_of,
    type_name,
)
from salver.codecs.json_parser import ABSENT, parse
from salver.codecs.json_quote import Node
from salver.codecs.json_request import refused, signature_name_of
from salver.codecs.json_tensor import float32_bytes
from salver.errors import InvalidArgument

_INT64_MAX = 2**63 - 1


class ExamplesBody:
    """The body of a classify or regress request. It means the same whatever the signature."""

    __slots__ = ("examples", "signature_name")

    def __init__(self, signature_name: str, examples: np.ndarray) -> None:
        self.signature_name = signature_name
        """"" when the body names none."""
        self.examples = examples
        """Serialized `tf.Example`s, an object array [n] of bytes; the context, if there is one,
        stands before each, so that a feature of the example wins."""

    @staticmethod
    def parse(body: bytes | bytearray) -> "ExamplesBody":
        """Read a body.

        Raises:
            InvalidArgument: it is no JSON, or not what the API takes.
        """
        document = parse(body)
        if not isinstance(document, tuple):
            raise refused(body, "Is not object")
        name = find_member(document, b"signature_name")
        signature_name = signature_name_of(body, name[0] if name else ABSENT)
        found = find_member(document, b"context")
        context = _example(found[0]) if found else b""
        found = find_member(document, b"examples")
        if not found:
            # The original says classify for both methods.
            reason = "When method is classify, key 'examples' is expected and was not found"
            raise refused(body, reason)
        values = found[0]
        if not isinstance(values, list):
            raise refused(body, "Expecting 'examples' value to be an list/array")
        if not values:
            raise refused(body, "'examples' value is an empty array")
        examples = with_context(context, [_example(value) for value in values])
        return ExamplesBody(signature_name, examples)


def _example(value: Node) -> bytes:
    if not isinstance(value, tuple):
        raise InvalidArgument(f"Example must be JSON object but got JSON {type_name(value)}")
    features = {}
    for index in range(0, len(value), 2):
        content = value[index + 1]
        name = name_of(value[index])
        features[name] = _feature(name, content if isinstance(content, list) else [content])
    if not features:
        return b""
    return _field(1, b"".join(_field(1, _entry(*item)) for item in features.items()))


def _entry(name: str, feature: bytes) -> bytes:
    """One entry of the map `Features.feature`."""
    return _field(1, name.encode("utf-8", "surrogateescape")) + _field(2, feature)


def _feature(name: str, values: list[Node]) -> bytes:
    """One `Feature`; the first value decides of which kind the others must be."""
    kind = ""
    elements: list[Node] = []
    for value in values:
        found = _kind(name, value)
        if kind not in ("", found):
            raise InvalidArgument(
                f"Unexpected element type in feature: {name} expecting type: {kind}"
            )
        kind = found
        elements.append(_element(name, value))
    return _SERIALIZE[kind](elements) if kind else b""


def _kind(name: str, value: Node) -> str:
    if isinstance(value, bytes) or base64_text(value) is not None:
        return "bytes"
    if value is None or isinstance(value, list | tuple):
        raise InvalidArgument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )
    return "float" if isinstance(value, float) else "int64"


def _element(name: str, value: Node) -> Node:
    if isinstance(value, tuple):
        return decode_base64(value)
    if isinstance(value, int) and value > _INT64_MAX:
        raise InvalidArgument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    return value


def _bytes_list(values: list[Any]) -> bytes:
    return _field(1, b"".join(_field(1, value) for value in values))


def _float_list(values: list[Any]) -> bytes:
    return _field(2, _field(1, float32_bytes(values)))


def _int64_list(values: list[Any]) -> bytes:
    return _field(3, _field(1, b"".join(map(_varint, values))))


_SERIALIZE: Mapping[str, Callable[[list[Any]], bytes]] = {
    "bytes": _bytes_list,
    "float": _float_list,
    "int64": _int64_list,
}


def _field(number: int, data: bytes) -> bytes:
    """A field with a length: a string, a message or packed numbers."""
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
