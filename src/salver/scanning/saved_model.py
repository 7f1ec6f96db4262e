"""What a SavedModel can do: every operation of every MetaGraph and of all functions.

What a saver and tables of assets need is allowed where it is theirs: a saver may write and read
the checkpoint whose name it is given, and what fills tables when a version is loaded may read
assets. Source: tensorflow/core/protobuf/meta_graph.proto and saver.proto.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from salver.backends.protobuf_wire import Message, encoded_content
from salver.codecs.messages import message_class
from salver.scanning.graph import MAIN, Graph, Node, Origin, graph_of
from salver.scanning.keras_config import keras_findings
from salver.scanning.part import Part, whole
from salver.scanning.report import Finding
from salver.scanning.tensorflow_table import (
    NAMED_BY_INPUT,
    RESTORES,
    SAVES,
    Operation,
    file_attribute,
    is_known,
    noted,
)

_META_GRAPHS = 2
_META_INFO, _GRAPH, _SAVER, _COLLECTIONS, _SIGNATURES, _ASSETS = 1, 2, 3, 4, 5, 6
_SPARSE, _COMPOSITE = 4, 5
_TAGS = 4
_INITIALIZATION = "__saved_model_init_op"
_MAIN_OPERATIONS = ("saved_model_main_op", "legacy_init_op")
_ASSETS_OF_VERSION_1 = "saved_model_assets"
_EMITS = "debug_urls"
_DESCRIBED = ("DecodeProtoV2", "EncodeProto")
_PRINTS = ("Print", "PrintV2")
_CACHES = ("CacheDataset", "CacheDatasetV2")
_BEGINNINGS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")


def saved_model_findings(part: Part) -> Iterator[Finding]:
    """Look through a `saved_model.pb`.

    Raises:
        ValueError: it is none.
    """
    with whole(part) as content:
        yield from _findings(part.where, content)


def text_saved_model_findings(part: Part) -> Iterator[Finding]:
    """Look through a `saved_model.pbtxt`.

    Raises:
        ValueError: it is none.
    """
    from google.protobuf import text_format

    message = message_class("tensorflow.SavedModel")()
    try:
        # What TensorFlow knows and we do not is a reason not to call it safe.
        text_format.Parse(part.content().decode(), message)
    except text_format.ParseError as error:
        raise ValueError(str(error)) from error
    yield from _findings(part.where, memoryview(message.SerializeToString()))


def meta_graph_findings(part: Part) -> Iterator[Finding]:
    """Look through a lone MetaGraphDef, `export.meta` or `model.ckpt.meta`.

    Raises:
        ValueError: it is none.
    """
    with whole(part) as content:
        yield from _MetaGraph(part.where, content).findings()


def is_graph(part: Part) -> bool:
    """Whether a file is a GraphDef, as `frozen_graph.pb` is one."""
    with whole(part) as content:
        try:
            return any(is_known(node.operation) for node in graph_of(Message(content)).nodes())
        except ValueError:
            return False


def frozen_graph_findings(part: Part) -> Iterator[Finding]:
    """Look through a lone GraphDef.

    Raises:
        ValueError: it is none.
    """
    with whole(part) as content:
        graph = memoryview(encoded_content(_GRAPH, content))
        yield from _MetaGraph(part.where, graph).findings()


def chunked_findings(part: Part) -> Iterator[Finding]:
    """A `saved_model.cpb`, which TensorFlow loads like the other two."""
    yield Finding("unreadable", part.where, "a SavedModel in chunks", part.name)


def keras_metadata_findings(part: Part) -> Iterator[Finding]:
    """Look through `keras_metadata.pb`, which Keras reads where it loads a SavedModel itself.

    Raises:
        ValueError: it is none.
    """
    with whole(part) as content:
        for node in Message(content).contents(1):
            text = Message(node).text(5)
            if text:
                yield from keras_findings(json.loads(text), part.where)


def _findings(where: str, content: memoryview) -> Iterator[Finding]:
    meta_graphs = Message(content).contents(_META_GRAPHS)
    if not meta_graphs:
        raise ValueError("it holds no graph")
    for meta_graph in meta_graphs:
        yield from _MetaGraph(where, meta_graph, several=len(meta_graphs) > 1).findings()


class _MetaGraph:
    def __init__(self, where: str, content: memoryview, several: bool = False) -> None:
        meta_graph = Message(content)
        if several:
            tags = meta_graph.message(_META_INFO).contents(_TAGS)
            where = f"{where}: MetaGraph {','.join(bytes(tag).decode() for tag in tags)}"
        self._where = where
        self._graph: Graph = graph_of(meta_graph.message(_GRAPH))
        self._assets = dict(map(_asset, _asset_files(meta_graph)))
        saver = meta_graph.message(_SAVER)
        self._checkpoint = saver.text(1).partition(":")[0]
        self._graph.given = frozenset((self._checkpoint, *self._assets))
        self._saved = self._graph.reached([saver.text(2)])
        self._restored = self._graph.reached([saver.text(3)])
        beginnings = _initial_operations(meta_graph)
        self._asked: dict[str, set[tuple[str, str]]] = {}
        for entry in meta_graph.contents(_SIGNATURES):
            pair = Message(entry)
            name, outputs = pair.text(1), list(_outputs(pair.message(2)))
            if name == _INITIALIZATION:
                beginnings += outputs
            else:
                self._asked.setdefault(name, set()).update(self._graph.reached(outputs))
        self._initial = self._graph.reached(beginnings)

    def findings(self) -> Iterator[Finding]:
        for tensor, name in self._assets.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "://" in name:
                yield Finding("path-outside", f"{self._where}: {tensor}", f"asset {name}", name)
        for node in self._graph.nodes():
            yield from self._of_node(node)

    def _of_node(self, node: Node) -> Iterator[Finding]:
        operation = noted(node.operation)
        if operation is not None:
            yield from self._of_noted(node, operation)
        elif node.operation in self._graph.scopes:
            return
        elif not is_known(node.operation):
            yield self._finding("unknown-operation", node, "")
        else:
            yield from self._by_attribute(node)

    def _of_noted(self, node: Node, operation: Operation) -> Iterator[Finding]:
        origins = [
            origin
            for position in NAMED_BY_INPUT.get(node.operation, ())
            for origin in self._graph.origins(node, position)
        ]
        if not self._is_own(node, origins):
            yield self._finding(operation.rule, node, operation.why, self._named(origins))

    def _is_own(self, node: Node, origins: list[Origin]) -> bool:
        """Whether it belongs to the saver, or fills a table from an asset."""
        place = (node.scope, node.name)
        if not origins or any(place in reached for reached in self._asked.values()):
            return False
        if node.operation in SAVES | RESTORES:
            if place in self._initial or (node.operation in SAVES and place in self._restored):
                return False
            # What training left over is run by nobody.
            is_run = place in self._restored | self._saved
            return not is_run or self._is_saver(origins)
        return place not in self._restored | self._saved and all(
            each.node is not None and each.node.scope == MAIN and each.node.name in self._assets
            for each in origins
        )

    def _is_saver(self, origins: list[Origin]) -> bool:
        """Whether the name is the one that the saver is given, with endings of its own."""
        has_name = False
        for each in origins:
            if each.node is None:
                return False
            if (each.node.scope, each.node.name) == (MAIN, self._checkpoint):
                has_name = True
            elif each.node.operation != "Const" or any(map(_leads_away, each.node.constants())):
                return False
        return has_name

    def _by_attribute(self, node: Node) -> Iterator[Finding]:
        attribute = file_attribute(node.operation)
        if attribute is not None:
            files = [text for text in node.texts(attribute[0]) if text]
            if files:
                yield self._finding("reads-file", node, attribute[1], files)
        elif node.operation.startswith("Debug"):
            for url in node.texts(_EMITS):
                is_file = url.startswith("file:")
                rule = "writes-file" if is_file else "reaches-network"
                yield self._finding(rule, node, "it sends tensors to this address", [url])
        elif node.operation in _PRINTS:
            yield from self._of_print(node)
        elif node.operation in _DESCRIBED:
            yield from self._of_descriptor(node)
        elif node.operation in _CACHES:
            names = self._named(self._graph.origins(node, 1))
            if names != [""]:
                why = "it writes what it computes to this file"
                yield self._finding("writes-file", node, why, names)

    def _of_descriptor(self, node: Node) -> Iterator[Finding]:
        for source in node.texts("descriptor_source"):
            if source and not source.startswith(("local://", "bytes://")):
                yield self._finding("reads-file", node, "it reads this file", [source])

    def _of_print(self, node: Node) -> Iterator[Finding]:
        streams = node.texts("output_stream")
        files = [stream for stream in streams if stream.startswith("file:")]
        if files:
            yield self._finding("writes-file", node, "it appends what it is given to it", files)
        else:
            yield self._finding("prints", node, "")

    def _named(self, origins: list[Origin]) -> list[str]:
        """What is known of a file's name."""
        names = []
        for each in origins:
            if each.node is None:
                names.append("a name that it computes")
            elif each.node.operation == "Const":
                names += each.node.constants()
            elif each.node.operation in _BEGINNINGS:
                names.append(f"a name from the input {each.node.name}")
            else:
                names.append(f"a name from {each.node.operation}")
        return list(dict.fromkeys(names))

    def _finding(self, rule: str, node: Node, why: str, names: list[str] | None = None) -> Finding:
        place = f' in function "{node.scope}"' if node.scope else ""
        about = f" with {', '.join(map(_short, names[:3]))}" if names and any(names) else ""
        return Finding(
            rule,
            f'{self._where}: node "{node.name}"{place}',
            f"{node.operation}{about}, {self._when(node)}",
            node.operation,
            why,
        )

    def _when(self, node: Node) -> str:
        place = (node.scope, node.name)
        asked = [name for name, reached in self._asked.items() if place in reached]
        if place in self._initial | self._restored:
            return "run when the version is loaded"
        if asked:
            return f"run by {', '.join(asked[:3])}"
        return "run when the model is saved" if place in self._saved else "run by no signature"


def _asset_files(meta_graph: Message) -> list[memoryview]:
    """The AssetFileDefs; where there are none, TensorFlow takes those of a collection."""
    return meta_graph.contents(_ASSETS) or [
        Message(each).content(2)
        for value in _collections(meta_graph, (_ASSETS_OF_VERSION_1,))
        for each in value.message(5).contents(1)
    ]


def _collections(meta_graph: Message, names: Sequence[str]) -> Iterator[Message]:
    for entry in meta_graph.contents(_COLLECTIONS):
        pair = Message(entry)
        if pair.text(1) in names:
            yield pair.message(2)


def _asset(content: memoryview) -> tuple[str, str]:
    """The node that an asset's path is fed to, and the path."""
    asset = Message(content)
    tensor = asset.message(1).text(1)
    return tensor.partition(":")[0], asset.text(2)


def _outputs(signature: Message) -> Iterator[str]:
    """The tensors that a signature returns, those of sparse and composite ones among them."""
    waiting = [Message(entry).message(2) for entry in signature.contents(2)]
    while waiting:
        tensor = waiting.pop()
        sparse = tensor.message(_SPARSE)
        yield from filter(None, (tensor.text(1), *map(sparse.text, (1, 2, 3))))
        waiting.extend(map(Message, tensor.message(_COMPOSITE).contents(2)))


def _initial_operations(meta_graph: Message) -> list[str]:
    return [
        bytes(each).decode()
        for value in _collections(meta_graph, _MAIN_OPERATIONS)
        for each in value.message(1).contents(1)
    ]


def _leads_away(text: str) -> bool:
    return text.startswith("/") or ".." in PurePosixPath(text).parts or "://" in text


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}..."
