"""The graph of a MetaGraph with its functions: what is reached from where, and what feeds what.

Source: tensorflow/core/framework/graph.proto, function.proto, node_def.proto, attr_value.proto.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from salver.backends.protobuf_wire import Message

_NODES, _LIBRARY = 1, 2
_FUNCTIONS = 1
_FUNCTION_SIGNATURE, _FUNCTION_NODES = 1, 3
_NAME, _OPERATION, _INPUTS, _ATTRIBUTES = 1, 2, 3, 5
_ARGUMENTS = 2
_LIST, _TEXT, _TENSOR, _FUNCTION = 1, 2, 8, 10
_TEXT_LIST, _FUNCTION_LIST = 2, 9
_STRING_VALUES = 8

MAIN = ""
"""The scope of nodes that lie in no function."""
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
"""Operations whose inputs are the arguments of the function that they call."""
_VARIABLE, _ASSIGNS, _SHARED_NAME = "VarHandleOp", "AssignVariableOp", "shared_name"
_READS_VARIABLE = ("ReadVariableOp", "VarIsInitializedOp")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation."""

    scope: str
    """The function that it lies in, or `MAIN`."""
    name: str
    operation: str
    inputs: Sequence[str]
    attributes: Sequence[memoryview]

    def attribute(self, name: str) -> Message:
        """An `AttrValue`; an empty one if there is none."""
        # Of entries of the same name the last one counts.
        for entry in reversed(self.attributes):
            pair = Message(entry)
            if pair.text(1) == name:
                return pair.message(2)
        return Message(memoryview(b""))

    def texts(self, name: str) -> list[str]:
        """A string attribute, or a list of strings."""
        value = self.attribute(name)
        found = [value.content(_TEXT)] if value.has(_TEXT) else []
        found += value.message(_LIST).contents(_TEXT_LIST)
        return [bytes(each).decode(errors="replace") for each in found]

    def constants(self) -> list[str]:
        """The strings of a constant."""
        tensor = self.attribute("value").message(_TENSOR)
        return [bytes(each).decode(errors="replace") for each in tensor.contents(_STRING_VALUES)]

    def functions(self) -> Iterator[str]:
        """The functions that it names in its attributes."""
        for entry in self.attributes:
            value = Message(entry).message(2)
            if value.has(_FUNCTION):
                yield value.message(_FUNCTION).text(1)
            for each in value.message(_LIST).contents(_FUNCTION_LIST):
                yield Message(each).text(1)


@dataclass(frozen=True, slots=True)
class Scope:
    """The main graph, or a function."""

    name: str
    nodes: Mapping[str, Node]
    arguments: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from in the end."""

    node: Node | None
    """A constant, placeholder or other beginning; None: it cannot be told."""


@dataclass(slots=True)
class Graph:
    """All scopes of one MetaGraph."""

    scopes: dict[str, Scope] = field(default_factory=dict)
    callers: dict[str, list[Node]] = field(default_factory=dict)
    """The nodes that name a function, by its name."""
    given: frozenset[str] = frozenset()
    """Nodes of the main graph whose value the one who runs it gives, whatever feeds them."""

    def nodes(self) -> Iterator[Node]:
        """Every node of every scope."""
        for scope in self.scopes.values():
            yield from scope.nodes.values()

    def called(self, node: Node) -> Iterator[str]:
        """The functions that a node may run."""
        if node.operation in self.scopes:
            yield node.operation
        yield from node.functions()

    def reached(self, names: Sequence[str]) -> set[tuple[str, str]]:
        """Scope and name of each node that a run for these tensors or operations may run."""
        waiting = [(MAIN, _node_name(name)) for name in names]
        seen: set[tuple[str, str]] = set()
        while waiting:
            place = waiting.pop()
            scope = self.scopes.get(place[0])
            node = None if scope is None else scope.nodes.get(place[1])
            if node is None or place in seen:
                continue
            seen.add(place)
            waiting.extend((place[0], _node_name(each)) for each in node.inputs)
            for function in self.called(node):
                body = self.scopes.get(function)
                if body is not None:
                    waiting.extend((function, name) for name in body.nodes)
        return seen

    def origins(self, node: Node, position: int) -> list[Origin]:
        """Where an input of a node comes from, through whatever computes it."""
        if position >= len(node.inputs):
            return [Origin(None)]
        waiting = [(node.scope, node.inputs[position])]
        seen: set[tuple[str, str]] = set()
        found = []
        while waiting:
            place = waiting.pop()
            if place in seen or place[1].startswith("^"):
                continue
            seen.add(place)
            scope, name = self.scopes[place[0]], _node_name(place[1])
            source = scope.nodes.get(name)
            if source is None:
                if name not in scope.arguments:
                    found.append(Origin(None))
                else:
                    waiting.extend(self._given(scope, scope.arguments[name], found))
            elif source.operation == _VARIABLE and place[0] == MAIN:
                waiting.extend(self._assigned(source, found))
            elif not source.inputs or (place[0] == MAIN and name in self.given):
                found.append(Origin(source))
            elif any(True for _ in self.called(source)):
                found.append(Origin(None))
            else:
                waiting.extend((place[0], each) for each in source.inputs)
        return found

    def _assigned(self, variable: Node, found: list[Origin]) -> list[tuple[str, str]]:
        """What a variable is set to, if that happens before all eyes: in the main graph alone."""
        values = []
        shared = variable.texts(_SHARED_NAME)
        for node in self.nodes():
            if node is variable:
                continue
            if node.operation == _VARIABLE and node.texts(_SHARED_NAME) == shared:
                return _unknown(found)
            if node.scope != MAIN or variable.name not in map(_node_name, node.inputs):
                continue
            if node.operation == _ASSIGNS and len(node.inputs) > 1:
                values.append((MAIN, node.inputs[1]))
            elif node.operation not in _READS_VARIABLE:
                return _unknown(found)
        return values or _unknown(found)

    def _given(self, scope: Scope, position: int, found: list[Origin]) -> Iterator[tuple[str, str]]:
        """What the callers of a function give as an argument."""
        callers = self.callers.get(scope.name, [])
        if not callers:
            found.append(Origin(None))
        for caller in callers:
            is_call = caller.operation in _CALLS or caller.operation == scope.name
            if is_call and position < len(caller.inputs):
                yield caller.scope, caller.inputs[position]
            else:
                found.append(Origin(None))


def graph_of(definition: Message) -> Graph:
    """Read a GraphDef with its functions.

    Raises:
        ValueError: it is none.
    """
    graph = Graph()
    graph.scopes[MAIN] = Scope(MAIN, _nodes(MAIN, definition.contents(_NODES)), {})
    # A library may come in several pieces, which are merged.
    functions = definition.message(_LIBRARY).contents(_FUNCTIONS)
    # Of functions of the same name the last one counts; the others are not hidden by it.
    for content in reversed(functions):
        function = Message(content)
        signature = function.message(_FUNCTION_SIGNATURE)
        name = _unused(signature.text(_NAME), graph.scopes)
        arguments = [Message(each).text(_NAME) for each in signature.contents(_ARGUMENTS)]
        graph.scopes[name] = Scope(
            name,
            _nodes(name, function.contents(_FUNCTION_NODES)),
            {argument: number for number, argument in enumerate(arguments)},
        )
    for node in graph.nodes():
        for name in graph.called(node):
            graph.callers.setdefault(name, []).append(node)
    return graph


def _nodes(scope: str, contents: Sequence[memoryview]) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    for content in contents:
        message = Message(content)
        # TensorFlow refuses what comes twice; nothing is to be hidden from us by it.
        name = _unused(message.text(_NAME), nodes)
        nodes[name] = Node(
            scope,
            name,
            message.text(_OPERATION),
            [bytes(each).decode() for each in message.contents(_INPUTS)],
            message.contents(_ATTRIBUTES),
        )
    return nodes


def _unused(name: str, taken: Collection[str]) -> str:
    if name not in taken:
        return name
    numbered = (f"{name}'{number}" for number in count(len(taken)))
    return next(each for each in numbered if each not in taken)


def _unknown(found: list[Origin]) -> list[tuple[str, str]]:
    found.append(Origin(None))
    return []


def _node_name(reference: str) -> str:
    """The node of `node`, `node:0`, `node:output:0` or `^node`."""
    return reference.removeprefix("^").partition(":")[0]
