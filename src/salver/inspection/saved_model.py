"""The model file of a SavedModel, read without TensorFlow: its graphs, their tags and operations.

Source: tensorflow/python/tools/saved_model_utils.py.
"""

import os
from collections.abc import Iterator
from functools import cache

from google.protobuf.message import DecodeError

from salver.codecs.messages import WireMessage, descriptor_pool, message_class, parse_text
from salver.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound

BINARY, TEXT = "saved_model.pb", "saved_model.pbtxt"
_SAVED_MODEL = "tensorflow.SavedModel"
SERVE = "serve"
"""The tag of the graph that is served."""
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MOST_BYTES = 2**31 - 1


def read_saved_model(folder: str) -> WireMessage:
    """The `tensorflow.SavedModel` of a version folder.

    Raises:
        NotFound: it has none.
        DataLoss: its file is no such message.
        FailedPrecondition: it cannot be read.
    """
    path = os.path.join(folder, BINARY)
    try:
        if os.path.exists(path):
            return _binary(path)
        path = os.path.join(folder, TEXT)
        if os.path.exists(path):
            return _text(path)
    except OSError as error:
        raise FailedPrecondition(f"{path}: {error.strerror}") from error
    raise NotFound(f"{folder} holds neither {BINARY} nor {TEXT}")


def _binary(path: str) -> WireMessage:
    if os.path.getsize(path) > _MOST_BYTES:
        raise DataLoss(f"{path} is larger than a protocol buffer may be")
    message = message_class(_SAVED_MODEL)()
    try:
        with open(path, "rb") as file:
            message.ParseFromString(file.read())
    except DecodeError as error:
        raise DataLoss(f"{path} is no SavedModel, or damaged: {error}") from error
    return message


def _text(path: str) -> WireMessage:
    try:
        with open(path, encoding="utf-8") as file:
            return parse_text(_SAVED_MODEL, file.read())
    except (UnicodeDecodeError, InvalidArgument) as error:
        raise DataLoss(f"{path} is no SavedModel, or damaged: {error}") from error


def tag_set(meta_graph: WireMessage) -> list[str]:
    """The tags of one graph, as they stand in the file."""
    return list(meta_graph.meta_info_def.tags)


def meta_graph_of(saved_model: WireMessage, tags: str, path: str) -> WireMessage:
    """The graph with exactly these tags, which are separated by commas.

    Raises:
        NotFound: there is none; the message has those that there are.
    """
    wanted = {tag.strip() for tag in tags.split(",") if tag.strip()}
    meta_graph: WireMessage
    for meta_graph in saved_model.meta_graphs:
        if set(tag_set(meta_graph)) == wanted:
            return meta_graph
    there = ", ".join(repr(",".join(tag_set(graph))) for graph in saved_model.meta_graphs)
    raise NotFound(f"{path} has no graph with the tag-set {tags!r}; there are: {there or 'none'}")


def served_graph(saved_model: WireMessage, path: str) -> WireMessage:
    """The graph that a server takes unless it is told otherwise, or the first one.

    Raises:
        NotFound: there is no graph at all.
    """
    graphs: list[WireMessage] = list(saved_model.meta_graphs)
    if not graphs:
        raise NotFound(f"{path} holds no graph")
    return next((graph for graph in graphs if tag_set(graph) == [SERVE]), graphs[0])


def nodes_of(graph: WireMessage) -> Iterator[WireMessage]:
    """Every node of a GraphDef, those of its functions included."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def operations_used(graph: WireMessage) -> list[str]:
    """The operations of a GraphDef and of the functions that it calls, in order of name.

    As TensorFlow lists them: functions that are called in another way than by name or by a
    (Stateful)PartitionedCall do not count.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    used: set[str] = set()
    waiting = [graph.node]
    while waiting:
        for node in waiting.pop():
            called = [node.op]
            if node.op in _CALLS and "f" in node.attr:
                called.append(node.attr["f"].func.name)
            for name in called:
                if name not in used and name in functions:
                    waiting.append(functions[name].node_def)
                used.add(name)
    return sorted(used - functions.keys())


@cache
def type_label(number: int) -> str:
    """The name of a `tensorflow.DataType`: `DT_FLOAT`, `DT_FLOAT_REF` too."""
    values = descriptor_pool().FindEnumTypeByName("tensorflow.DataType").values_by_number
    return str(values[number].name) if number in values else str(number)
