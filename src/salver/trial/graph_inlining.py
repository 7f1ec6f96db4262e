"""Functions of a TensorFlow graph put in the place of their calls: what is in them has names.

TensorFlow 2 saves a signature as one call of a function, in which there are further calls: of
the tensors inside none can be fetched. Here each call becomes the nodes of its function, named
`CALL/NODE`, and the call's own name is kept by an `IdentityN` of what the function returns.
Source: tensorflow/core/framework/function.proto, and for what a call promises inline_function.h.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from salver.codecs.messages import message_class
from salver.trial.graph_operations import Operations

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_MOST_NODES = 2_000_000
"""Functions that call functions can grow a graph without a bound."""


class InlinedGraph:
    """A GraphDef, its calls opened as far as `roots` need them."""

    def __init__(self, graph: Any, operations: Operations, roots: Iterable[str]) -> None:
        self._operations = operations
        self.nodes: dict[str, Any] = {node.name: node for node in graph.node}
        """Every NodeDef by name, those from functions included."""
        self.returns: set[str] = set()
        """Names of opened calls: what they give out is given by a node inside as well."""
        self.not_opened: set[str] = set()
        """Names of calls that are still calls."""
        self._open_from(roots)
        del graph.node[:]
        graph.node.extend(self.nodes.values())

    def _open_from(self, roots: Iterable[str]) -> None:
        pending, seen = list(roots), set()
        while pending:
            name = pending.pop()
            if name in seen or name not in self.nodes:
                continue
            seen.add(name)
            node = self.nodes[name]
            function = self._operations.functions.get(_called(node))
            if function is not None:
                try:
                    opened = list(_opened(node, function, self._operations))
                except (KeyError, ValueError):
                    opened = []
                if not opened or len(self.nodes) + len(opened) > _MOST_NODES:
                    self.not_opened.add(name)
                else:
                    self.nodes |= {each.name: each for each in opened}
                    self.returns.add(name)
                    node = self.nodes[name]
            pending += map(node_of, node.input)


def node_of(tensor: str) -> str:
    """The node that an input of a NodeDef names: `a`, `a:1` or `^a`."""
    return tensor.removeprefix("^").partition(":")[0]


def _called(node: Any) -> str:
    if node.op in _CALLS:
        return str(node.attr["f"].func.name)
    return str(node.op)


def _opened(call: Any, function: Any, operations: Operations) -> Iterator[Any]:
    """The nodes of a function, and at the end what takes the place of its call."""
    signature = function.signature
    given = [each for each in call.input if not each.startswith("^")]
    controls = [each for each in call.input if each.startswith("^")]
    arguments = {each.name: tensor for each, tensor in zip(signature.input_arg, given, strict=True)}
    attributes = call.attr["f"].func.attr if call.op in _CALLS else call.attr
    scope = _Scope(call.name, arguments, function, operations)
    for body in function.node_def:
        node = message_class("tensorflow.NodeDef")()
        node.CopyFrom(body)
        node.name = f"{call.name}/{body.name}"
        # They name nodes of the function to lie beside.
        node.attr.pop("_class", None)
        _fill_placeholders(node, attributes)
        inputs = [scope.outside(each) for each in body.input]
        del node.input[:]
        node.input.extend(inputs)
        # What stands before the call stands before all that it does.
        node.input.extend(each for each in controls if each not in inputs)
        yield node
    yield _returned(call, function, scope, controls)


class _Scope:
    """What names within a function mean outside."""

    def __init__(
        self, call: str, arguments: dict[str, str], function: Any, operations: Operations
    ) -> None:
        self._call = call
        self._arguments = arguments
        self._nodes = {node.name: node for node in function.node_def}
        self._operations = operations

    def outside(self, tensor: str) -> str:
        """`argument`, `node:output:0` or `^node` as an input of a node of the graph.

        Raises:
            KeyError: there is no such tensor.
        """
        if tensor.startswith("^"):
            name = tensor[1:]
            found = self._arguments.get(name)
            return f"^{node_of(found)}" if found else f"^{self._call}/{name}"
        name, _, rest = tensor.partition(":")
        if name in self._arguments:
            return self._arguments[name]
        argument, _, index = rest.partition(":")
        position = self._operations.position(self._nodes[name], argument, int(index or 0))
        return f"{self._call}/{name}:{position}" if position else f"{self._call}/{name}"


def _fill_placeholders(node: Any, attributes: Any) -> None:
    """Attributes that the function leaves to its caller."""
    for name in list(node.attr):
        placeholder = node.attr[name].placeholder
        if placeholder:
            node.attr[name].CopyFrom(attributes[placeholder])


def _returned(call: Any, function: Any, scope: _Scope, controls: list[str]) -> Any:
    node = message_class("tensorflow.NodeDef")()
    node.name = call.name
    node.device = call.device
    returned = [scope.outside(function.ret[each.name]) for each in function.signature.output_arg]
    node.op = "IdentityN" if returned else "NoOp"
    if returned:
        types = call.attr["Tout"].list.type
        if not types:
            types = [each.type for each in function.signature.output_arg]
        if len(types) != len(returned) or not all(types):
            raise ValueError("the types of what it returns are not known")
        node.attr["T"].list.type.extend(types)
    # What a function does beside computing is done before anyone has what it returns.
    done = [f"^{call.name}/{name}" for name in function.control_ret.values()]
    node.input.extend((*returned, *dict.fromkeys((*done, *controls))))
    return node
