"""Bodies of REST predict requests and answers, by the codecs of the server."""

import json
from collections.abc import Mapping

import numpy as np

from salver.codecs import json_conversion, json_tensor
from salver.codecs.json_parser import ABSENT, parse, parse_members
from salver.codecs.json_response import encode_predict
from salver.core.data_type import DataType, data_type_of
from salver.core.signature import Signature
from salver.errors import InternalError, InvalidArgument, ServingError

_BEFORE = b'{\n    "outputs": '
_AFTER = b"\n}"


def encode_inputs(inputs: Mapping[str, np.ndarray], signature_name: str) -> bytes:
    """The body of a predict request, inputs as columns.

    Raises:
        InvalidArgument: JSON has no form for an input's type.
    """
    members = [
        json.dumps(name).encode() + b": " + _tensor_text(name, array)
        for name, array in inputs.items()
    ]
    head = f'"signature_name": {json.dumps(signature_name)}, '.encode() if signature_name else b""
    return b'{%b"inputs": {%b}}' % (head, b", ".join(members))


def outputs_of(body: bytes, signature: Signature) -> dict[str, np.ndarray]:
    """The arrays of an answer, each of its declared type.

    Raises:
        InternalError: it is no answer of this signature.
    """
    try:
        members = parse_members(body, (b"outputs",))
        if members is None or members[0] is ABSENT:
            raise InternalError("the server's answer has no member 'outputs'")
        arrays = json_tensor.columns(members[0], signature.outputs, len(body))
        if arrays is None:
            document = parse(body)
            assert isinstance(document, tuple)
            found = json_conversion.find_member(document, b"outputs")
            assert found is not None
            arrays = json_conversion.columns(found[0], signature.outputs)
    except InternalError:
        raise
    except ServingError as error:
        raise InternalError(
            f"the server's answer does not fit signature {signature.name!r}: {error}"
        ) from error
    return arrays


def _tensor_text(name: str, array: np.ndarray) -> bytes:
    # Under a name that ends so strings are written in base64, which loses nothing.
    try:
        text = encode_predict({"_bytes": array}, False)
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"input {name!r}: an element cannot be encoded") from error
    except InvalidArgument as error:
        kind = data_type_of(array.dtype)
        if kind is DataType.STRING:
            raise InvalidArgument(f"input {name!r} has an element that is no text") from error
        given = array.dtype if kind is DataType.INVALID else kind.short_name
        raise InvalidArgument(
            f"input {name!r} is {given}, which the REST API cannot carry: use gRPC"
        ) from error
    return text[len(_BEFORE) : -len(_AFTER)]
