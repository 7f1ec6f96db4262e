"""`tf.Example`s from plain Python: for messages over gRPC, and as JSON for REST."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError

from salver.codecs.messages import WireMessage, message_class
from salver.errors import InvalidArgument

Feature: TypeAlias = str | bytes | bool | int | float | Sequence[Any] | np.ndarray | np.generic
Example: TypeAlias = Mapping[str, Feature] | bytes
"""Features by name, each one value or several of one kind; or a serialized `tf.Example`."""


def serialized(example: Example) -> bytes:
    """A serialized `tf.Example`.

    Text becomes UTF-8 in a list of bytes, whole numbers and truth values a list of int64, and
    numbers among which is a float a list of float32.

    Raises:
        InvalidArgument: a feature is none of these.
    """
    if isinstance(example, bytes):
        return example
    if not isinstance(example, Mapping):
        raise InvalidArgument(
            f"an example is a {type(example).__name__}, not a dict of features or the bytes of a "
            "tf.Example; several of them go into a list"
        )
    message = message_class("tensorflow.Example")()
    for name, value in example.items():
        _fill(message.features.feature[name], name, value)
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def json_form(example: Example) -> dict[str, list[Any]]:
    """The same for the body of a REST request: floats stay floats there, bytes are base64.

    Raises:
        InvalidArgument: a feature has a wrong value, or the bytes are no `tf.Example`.
    """
    message = message_class("tensorflow.Example")()
    try:
        message.ParseFromString(serialized(example))
    except DecodeError as error:
        raise InvalidArgument("an example is given as bytes, which are no tf.Example") from error
    return {name: _json_values(feature) for name, feature in message.features.feature.items()}


def _json_values(feature: WireMessage) -> list[Any]:
    kind = feature.WhichOneof("kind")
    if kind == "bytes_list":
        values = feature.bytes_list.value
        return [{"b64": base64.b64encode(value).decode()} for value in values]
    if kind == "float_list":
        return [float(value) for value in feature.float_list.value]
    return list(feature.int64_list.value) if kind == "int64_list" else []


def _fill(feature: WireMessage, name: str, value: Feature) -> None:
    values = _flat(value)
    kinds = {_kind(name, item) for item in values}
    if kinds == {"float", "int64"}:
        kinds = {"float"}
    if len(kinds) > 1:
        raise InvalidArgument(f"feature {name!r} has values of several kinds")
    try:
        if "bytes" in kinds:
            feature.bytes_list.value.extend(
                item.encode() if isinstance(item, str) else bytes(item) for item in values
            )
        elif "float" in kinds:
            feature.float_list.value.extend(map(float, values))
        elif kinds:
            feature.int64_list.value.extend(map(int, values))
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"feature {name!r}: {error}") from error


def _flat(value: Feature) -> list[Any]:
    if isinstance(value, np.ndarray):
        return list(value.ravel().tolist() if value.dtype.kind != "V" else value.ravel())
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return [value]
    return list(value)


def _kind(name: str, value: Any) -> str:
    if isinstance(value, str | bytes):
        return "bytes"
    if isinstance(value, bool | int | np.bool_ | np.integer):
        return "int64"
    if isinstance(value, float | np.floating) or getattr(value, "dtype", None) is not None:
        return "float"
    raise InvalidArgument(
        f"feature {name!r} has a {type(value).__name__}; text, bytes, numbers, or a list of these "
        "can be features"
    )
