"""Bodies of REST requests for predict: JSON to named arrays.

Source: TensorFlow Serving's json_tensor.cc and rapidjson 1.1.0. What is wrong with a body
is said in the original's words, at the place where the original finds it.
"""

import numpy as np

from salver.codecs import json_conversion, json_tensor
from salver.codecs.json_parser import ABSENT, parse, parse_members
from salver.codecs.json_quote import Node, quoted, text_of
from salver.core.signature import Signature
from salver.errors import InvalidArgument

_PREDICT_MEMBERS = (b"signature_name", b"instances", b"inputs")


def refused(body: bytes | bytearray, reason: str) -> InvalidArgument:
    """The error for a body as a whole, which it quotes."""
    return InvalidArgument(f"JSON Value: {quoted(parse(body))} {reason}")


def signature_name_of(body: bytes | bytearray, value: object) -> str:
    """The member `signature_name`, "" when absent.

    Raises:
        InvalidArgument: it is no string.
    """
    if value is ABSENT:
        return ""
    if not isinstance(value, bytes):
        raise refused(body, "not formatted correctly. 'signature_name' key must be a string value.")
    return text_of(value)


class PredictBody:
    """The body of a predict request, parsed; what it means depends on the signature."""

    __slots__ = ("_body", "_inputs", "_instances", "row_format", "signature_name")

    row_format: bool
    """Whether the answer goes by rows, as the request did; known once `inputs` has returned."""
    signature_name: str
    """"" when the body names none."""

    def __init__(self, body: bytes | bytearray, members: list[object]) -> None:
        self._body = body
        name, self._instances, self._inputs = members
        self.signature_name = "" if name is ABSENT else signature_name_of(body, name)
        self.row_format = self._instances is not ABSENT

    @staticmethod
    def parse(body: bytes | bytearray) -> "PredictBody":
        """Read a body.

        Raises:
            InvalidArgument: it is no JSON or no object, or its signature name is no string.
        """
        members = parse_members(body, _PREDICT_MEMBERS)
        if members is None:
            raise refused(body, "Is not object")
        return PredictBody(body, members)

    def inputs(self, signature: Signature) -> dict[str, np.ndarray]:
        """The tensors by input name, each of its declared type and of the shape that was sent.

        Raises:
            InvalidArgument: they are missing, or do not fit the types of the signature.
            Unimplemented: an input's type cannot be given in JSON (column format only).
        """
        declared = signature.inputs
        if self._inputs is ABSENT and self._instances is not ABSENT:
            arrays = json_tensor.rows(self._instances, declared, len(self._body))
        elif self._instances is ABSENT and self._inputs is not ABSENT:
            arrays = json_tensor.columns(self._inputs, declared, len(self._body))
        else:
            arrays = None
        # Without inputs there is nothing that could be wrong, and nothing to run.
        return arrays or self._inputs_by_value(signature)

    def _inputs_by_value(self, signature: Signature) -> dict[str, np.ndarray]:
        declared = signature.inputs
        if not declared:
            name = self.signature_name or "DEFAULT"
            raise InvalidArgument(f"Failed to get input map for signature: {name}")
        if self._instances is ABSENT and self._inputs is ABSENT:
            raise InvalidArgument("Missing 'inputs' or 'instances' key")
        if self._instances is not ABSENT and self._inputs is not ABSENT:
            raise refused(
                self._body,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' "
                "keys to exist ",
            )
        document = parse(self._body)
        if self._inputs is not ABSENT:
            return json_conversion.columns(self._member(document, b"inputs"), declared)
        instances = self._member(document, b"instances")
        if not isinstance(instances, list):
            raise refused(self._body, "Expecting 'instances' to be an list/array")
        if not instances:
            raise refused(self._body, "No values in 'instances' array")
        return json_conversion.rows(instances, declared)

    @staticmethod
    def _member(document: Node, name: bytes) -> Node:
        assert isinstance(document, tuple)
        found = json_conversion.find_member(document, name)
        assert found is not None
        return found[0]
