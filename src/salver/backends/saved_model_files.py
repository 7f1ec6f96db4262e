"""Which files a version needs: told by their names, and by what its SavedModel says of itself.

TensorFlow takes a SavedModel whose variables are missing for one that has none, and fails with the
first request. What arrives file by file must be whole before it is loaded.
"""

import mmap
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress

from salver.backends.protobuf_wire import Message

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "export.meta")
"""A folder with any of them is TensorFlow's, whatever else is in it."""

MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "model.tflite", "export.meta")
"""A version without any of them is none; what is written last, by rights."""

_INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables/variables\.data-([0-9]{5})-of-([0-9]{5})")

# Fields of SavedModel, MetaGraphDef and those in it; see the public .proto files of TensorFlow.
_META_GRAPHS = 2
_GRAPH, _SAVER, _ASSETS = 2, 3, 6
_RESTORE_OPERATION = 3
_ASSET_FILE = 2
_NODES = 1
_OPERATION = 2
_VARIABLES = frozenset((b"VarHandleOp", b"VariableV2", b"Variable"))


def lacking(names: Collection[str]) -> str | None:
    """What a version with these files lacks, None if there is nothing to be said against it.

    The names are relative to the folder of the version.
    """
    if not any(name in names for name in MODEL_FILES):
        return MODEL_FILES[0]
    shards: dict[int, set[int]] = {}
    for name in names:
        match = _SHARD.fullmatch(name)
        if match:
            shards.setdefault(int(match[2]), set()).add(int(match[1]))
    if not shards:
        return "variables/variables.data" if _INDEX in names else None
    if _INDEX not in names:
        return _INDEX
    if any(len(present) == count for count, present in shards.items()):
        return None
    count, present = max(shards.items())
    missing = min(set(range(count)) - present)
    return f"variables/variables.data-{missing:05}-of-{count:05}"


def lacking_inside(folder: str) -> str | None:
    """What the SavedModel in a folder needs and the folder has not; None also if it is no model.

    Raises:
        OSError: the model file cannot be read.
    """
    path = os.path.join(folder, "saved_model.pb")
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return None
    with open(path, "rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    with suppress(ValueError):
        for name in _needed(content):
            if not os.path.exists(os.path.join(folder, name)):
                return name
    return None


def _needed(saved_model: memoryview) -> Iterator[str]:
    for content in Message(saved_model).contents(_META_GRAPHS):
        meta_graph = Message(content)
        for asset in meta_graph.contents(_ASSETS):
            yield f"assets/{Message(asset).text(_ASSET_FILE)}"
        if Message(meta_graph.content(_SAVER)).text(_RESTORE_OPERATION) and _has_variables(
            Message(meta_graph.content(_GRAPH))
        ):
            yield _INDEX


def _has_variables(graph: Message) -> bool:
    """Whether a GraphDef has a variable, outside of functions: those get theirs as arguments."""
    return any(
        bytes(Message(node).content(_OPERATION)) in _VARIABLES for node in graph.contents(_NODES)
    )
