"""Bodies of REST answers, laid out as TensorFlow Serving lays them out.

Numbers and arrays are written by `json_writer`; the status page, which protobuf prints in
the original and not rapidjson, is written here.
"""

from collections.abc import Sequence

from salver.codecs.json_writer import (
    encode_classify,
    encode_error,
    encode_predict,
    encode_regress,
)
from salver.errors import Code

__all__ = [
    "encode_classify",
    "encode_error",
    "encode_predict",
    "encode_regress",
    "encode_status",
]

# Protobuf also escapes what could end a script element in an HTML page.
_ESCAPES = {byte: f"\\u{byte:04x}" for byte in (*range(0x20), 0x3C, 0x3E, 0x7F)} | {
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}


def encode_status(entries: Sequence[tuple[int, str, int, str]]) -> bytes:
    """The status of versions, in the given order.

    An entry is the version, the name of its state, and code and message of its error.
    """
    versions = ",\n".join(
        "  {\n"
        f'   "version": "{version}",\n'
        f'   "state": "{state}",\n'
        '   "status": {\n'
        f'    "error_code": "{Code(code).name}",\n'
        f'    "error_message": "{message.translate(_ESCAPES)}"\n'
        "   }\n"
        "  }"
        for version, state, code, message in entries
    )
    listed = f"[\n{versions}\n ]" if entries else "[]"
    return f'{{\n "model_version_status": {listed}\n}}\n'.encode("utf-8", "surrogateescape")
