"""The metadata answer of the REST API: signatures as protobuf's JSON.

Source: http_rest_api_util.cc, which puts the pieces together as text: the outer
part is not indented, the messages inside by one blank.
"""

from google.protobuf import json_format
from google.protobuf.message import Message

from salver.codecs.messages import message_class


def encode_metadata(name: str, version: int, signature_def_map: bytes) -> bytes:
    """The body for a version and its serialized `SignatureDefMap`."""
    spec = message_class("tensorflow.serving.ModelSpec")()
    spec.name = name
    spec.version.value = version
    definitions = message_class("tensorflow.serving.SignatureDefMap")()
    definitions.ParseFromString(signature_def_map)
    return (
        f'{{\n"model_spec":{_json(spec)}\n,\n'
        f'"metadata": {{"signature_def": {_json(definitions)}\n}}\n}}\n'
    ).encode("utf-8", "surrogateescape")


def _json(message: Message) -> str:
    text: str = json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=1,
        ensure_ascii=False,
    )
    return text
