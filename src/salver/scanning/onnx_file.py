"""What an ONNX file names outside of itself, and operations that are none of ONNX.

Source: onnx.proto; ONNX Runtime's contrib operators.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from salver.backends.protobuf_wire import Message
from salver.scanning.part import Part, whole
from salver.scanning.report import Finding

_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25
_NODES, _INITIALIZERS, _SPARSE = 1, 5, 15
_DOMAINS = frozenset((
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
    "com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.experimental",
    "com.microsoft.dml",
))  # fmt: skip
"""Of operations that ONNX Runtime brings along."""
_CODE = {
    "PyOp": "it calls a function of Python",
    "PyCustomOp": "it calls a function of Python",
    "PythonOp": "it calls a function of Python",
    "PythonOpGrad": "it calls a function of Python",
}


def onnx_findings(part: Part) -> Iterator[Finding]:
    """Look through a serialized ModelProto.

    Raises:
        ValueError: it is none.
    """
    with whole(part) as content:
        model = Message(content)
        if not model.has(_GRAPH):
            raise ValueError("it holds no graph")
        functions = [Message(each) for each in model.contents(_FUNCTIONS)]
        own = {(each.text(10), each.text(1)) for each in functions}
        reader = _Reader(part.where, own)
        yield from reader.graph(model.message(_GRAPH))
        for function in functions:
            yield from reader.nodes(function.contents(7))
        for training in model.contents(_TRAINING):
            for number in (1, 2):
                yield from reader.graph(Message(training).message(number))


class _Reader:
    def __init__(self, where: str, own: set[tuple[str, str]]) -> None:
        self._where = where
        self._own = own

    def graph(self, graph: Message) -> Iterator[Finding]:
        for each in graph.contents(_INITIALIZERS):
            yield from self._tensor(Message(each))
        for each in graph.contents(_SPARSE):
            for number in (1, 2):
                yield from self._tensor(Message(each).message(number))
        yield from self.nodes(graph.contents(_NODES))

    def nodes(self, contents: list[memoryview]) -> Iterator[Finding]:
        for content in contents:
            node = Message(content)
            name, operation, domain = node.text(3), node.text(4), node.text(7)
            place = f'{self._where}: node "{name}"'
            if operation in _CODE and (domain, operation) not in self._own:
                yield Finding("runs-code", place, operation, operation, _CODE[operation])
            elif domain not in _DOMAINS and (domain, operation) not in self._own:
                yield Finding("unknown-operation", place, f"{domain}.{operation}", operation)
            for each in node.contents(5):
                yield from self._attribute(Message(each), place, operation)

    def _attribute(self, attribute: Message, place: str, operation: str) -> Iterator[Finding]:
        name = attribute.text(1)
        if operation == "EPContext" and name == "ep_cache_context":
            # A path only where the content is not embedded: then it is short text.
            text = bytes(attribute.content(4)[:4096]).decode(errors="replace")
            if _leads_away(text) and text.isprintable():
                yield self._outside(place, text)
        if attribute.has(5):
            yield from self._tensor(attribute.message(5))
        for each in attribute.contents(10):
            yield from self._tensor(Message(each))
        if attribute.has(6):
            yield from self.graph(attribute.message(6))
        for each in attribute.contents(11):
            yield from self.graph(Message(each))
        for each in (*attribute.contents(22), *attribute.contents(23)):
            for number in (1, 2):
                yield from self._tensor(Message(each).message(number))

    def _tensor(self, tensor: Message) -> Iterator[Finding]:
        for entry in tensor.contents(13):
            pair = Message(entry)
            if pair.text(1) == "location" and _leads_away(pair.text(2)):
                yield self._outside(f'{self._where}: tensor "{tensor.text(8)}"', pair.text(2))

    def _outside(self, place: str, path: str) -> Finding:
        return Finding("path-outside", place, f"its data lies in {path[:100]}", path)


def _leads_away(text: str) -> bool:
    path = PurePosixPath(text.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or "://" in text or text[1:2] == ":"
