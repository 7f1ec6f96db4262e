"""The signatures of a SavedModel, read from its MetaGraphDef.

Source: tensorflow/core/protobuf/meta_graph.proto.
"""

import logging

import numpy as np

from salver.backends.protobuf_wire import Message, encoded_content
from salver.backends.tensor_proto import array_of_proto, known_data_type, shape_of
from salver.core.signature import Signature, TensorSpec

_logger = logging.getLogger(__name__)

_SIGNATURE_DEFS = 5
"""`MetaGraphDef.signature_def`, a map like `SignatureDefMap.signature_def`, whose number is 1."""


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
        inputs=dict(_tensor_spec(info) for info in definition.contents(1)),
        outputs=dict(_tensor_spec(info) for info in definition.contents(2)),
        method_name=definition.text(3),
        defaults=_defaults(name, definition.contents(4)),
    )


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
