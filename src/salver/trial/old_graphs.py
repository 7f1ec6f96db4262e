"""SavedModels whose graphs are so old that a scalar input may be of any shape.

Source: tensorflow/core/ops/array_ops.cc: before version 24 of graphs, the empty shape of a
placeholder was written where none was known.
"""

import mmap
import os
from dataclasses import replace

from salver.backends.protobuf_wire import Message
from salver.core.signature import Signature

_FIRST_WITH_SCALARS = 24
_META_GRAPHS, _TAGS_HOLDER, _GRAPH, _TAGS = 2, 1, 2, 4
"""Of SavedModel, MetaGraphDef twice, and MetaInfoDef."""
_VERSIONS, _PRODUCER = 4, 1
"""Of GraphDef and VersionDef."""


def has_shapes_unknown(folder: str, tags: tuple[str, ...]) -> bool:
    """Whether the SavedModel in a folder has such a graph; no, if there is none in the folder."""
    path = os.path.join(folder, "saved_model.pb")
    try:
        with open(path, "rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for each in Message(content).contents(_META_GRAPHS):
            meta_graph = Message(each)
            holder = Message(meta_graph.content(_TAGS_HOLDER))
            if {bytes(tag).decode() for tag in holder.contents(_TAGS)} == set(tags):
                versions = Message(Message(meta_graph.content(_GRAPH)).content(_VERSIONS))
                return versions.integer(_PRODUCER) < _FIRST_WITH_SCALARS
    except (OSError, ValueError):
        pass  # It is another model, or its load will tell what is wrong with this one.
    return False


def without_scalars(signature: Signature) -> Signature:
    """The signature, its scalar inputs of any shape."""
    inputs = {
        name: replace(spec, shape=None) if spec.shape == () else spec
        for name, spec in signature.inputs.items()
    }
    return replace(signature, inputs=inputs)
