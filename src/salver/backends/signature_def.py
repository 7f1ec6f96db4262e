"""Signatures and their messages: read from a MetaGraphDef, written for models without one.

Source: tensorflow/core/protobuf/meta_graph.proto.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from salver.backends.protobuf_wire import Message, encoded_content, encoded_integer
from salver.backends.tensor_proto import array_of_proto, known_data_type, shape_of
from salver.core.data_type import DataType, data_type_of
from salver.core.signature import Signature, TensorSpec

_logger = logging.getLogger(__name__)

_SIGNATURE_DEFS = 5
"""`MetaGraphDef.signature_def`, a map like `SignatureDefMap.signature_def`, whose number is 1."""
_INPUTS, _OUTPUTS, _METHOD_NAME, _DEFAULTS = 1, 2, 3, 4
"""Fields of `tensorflow.SignatureDef`."""
_MOST_BYTES_OF_AN_INTEGER = 0xFFFF_FFFF_FFFF_FFFF


def signature_entries(meta_graph: memoryview) -> dict[str, bytes]:
    """The map entries of all signatures in a serialized MetaGraphDef, by name, in order of name.

    Raises:
        ValueError: the bytes are no MetaGraphDef.
    """
    entries = {
        Message(entry).text(1): bytes(entry)
        for entry in Message(meta_graph).contents(_SIGNATURE_DEFS)
    }
    return dict(sorted(entries.items()))


def signature_def_map(entries: dict[str, bytes]) -> bytes:
    """The entries as a serialized `tensorflow.serving.SignatureDefMap`, nothing left out."""
    return b"".join(encoded_content(1, entry) for entry in entries.values())


def signature_of(entry: bytes) -> Signature:
    """Decode one map entry of a name and a SignatureDef.

    Raises:
        ValueError: the bytes are no such entry.
    """
    name, proto = _map_entry(memoryview(entry))
    definition = Message(proto)
    return Signature(
        name=name,
        inputs=dict(_tensor_spec(info) for info in definition.contents(_INPUTS)),
        outputs=dict(_tensor_spec(info) for info in definition.contents(_OUTPUTS)),
        method_name=definition.text(_METHOD_NAME),
        defaults=_defaults(name, definition.contents(_DEFAULTS)),
    )


def signature_def_map_of(signatures: Iterable[Signature]) -> bytes:
    """The `tensorflow.serving.SignatureDefMap` of signatures that no file states in this form."""
    entries = {
        signature.name: map_entry(signature.name, _definition(signature))
        for signature in signatures
    }
    return signature_def_map(dict(sorted(entries.items())))


def with_signature(definitions: bytes, signature: Signature) -> bytes:
    """A serialized `SignatureDefMap` with one signature added, or in the place of its namesake."""
    others = {
        Message(entry).text(1): bytes(entry)
        for entry in Message(memoryview(definitions)).contents(1)
    }
    added = map_entry(signature.name, _definition(signature))
    return signature_def_map(dict(sorted({**others, signature.name: added}.items())))


def map_entry(name: str, content: bytes) -> bytes:
    """A serialized entry of a map from names to messages."""
    return encoded_content(1, name.encode()) + encoded_content(2, content)


def tensor_info(name: str, data_type: DataType, shape: bytes | None) -> bytes:
    """A serialized `tensorflow.TensorInfo`; `shape` is a whole TensorShapeProto, or None."""
    return (
        encoded_content(1, name.encode())
        + encoded_integer(2, data_type)
        + (b"" if shape is None else encoded_content(3, shape))
    )


def shape_proto(shape: Sequence[int] | None) -> bytes:
    """A serialized `tensorflow.TensorShapeProto`, as `shape_of` reads it."""
    if shape is None:
        return encoded_integer(3, 1)
    return b"".join(
        # A size of 0 is protobuf's default, which is left out.
        encoded_content(2, encoded_integer(1, size & _MOST_BYTES_OF_AN_INTEGER) if size else b"")
        for size in shape
    )


def _definition(signature: Signature) -> bytes:
    def infos(number: int, specs: Mapping[str, TensorSpec]) -> bytes:
        return b"".join(
            encoded_content(
                number,
                map_entry(alias, tensor_info(spec.name, spec.data_type, shape_proto(spec.shape))),
            )
            for alias, spec in specs.items()
        )

    return (
        infos(_INPUTS, signature.inputs)
        + infos(_OUTPUTS, signature.outputs)
        + encoded_content(_METHOD_NAME, signature.method_name.encode())
        + b"".join(
            encoded_content(_DEFAULTS, map_entry(alias, _tensor_proto(array)))
            for alias, array in signature.defaults.items()
        )
    )


def _tensor_proto(array: np.ndarray) -> bytes:
    data_type = data_type_of(array.dtype)
    if data_type is DataType.STRING:
        content = b"".join(encoded_content(8, text) for text in array.ravel())
    else:
        content = encoded_content(4, np.ascontiguousarray(array).tobytes())
    return encoded_integer(1, data_type) + encoded_content(2, shape_proto(array.shape)) + content


def _tensor_spec(entry: memoryview) -> tuple[str, TensorSpec]:
    alias, proto = _map_entry(entry)
    info = Message(proto)
    # Sparse and composite tensors have no name of their own; nothing can be fed to them.
    return alias, TensorSpec(
        name=info.text(1),
        data_type=known_data_type(info.integer(2)),
        shape=shape_of(info.content(3)),
    )


def _defaults(name: str, entries: list[memoryview]) -> dict[str, np.ndarray]:
    defaults = {}
    for entry in entries:
        alias, proto = _map_entry(entry)
        try:
            defaults[alias] = array_of_proto(proto)
        except ValueError as error:
            _logger.warning(
                "The default of input %s in signature %s is ignored: %s", alias, name, error
            )
    return defaults


def _map_entry(entry: memoryview) -> tuple[str, memoryview]:
    pair = Message(entry)
    return pair.text(1), pair.content(2)
