"""What the operations of a TensorFlow graph give out: names and types of their outputs.

Source: tensorflow/core/framework/op_def.proto; a MetaGraphDef brings the definitions of the
operations that are in it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from salver.codecs.messages import WireMessage

_REFERENCE = 100
"""Types of references to variables are so much above those of their values."""


class Operations:
    """The definitions that one MetaGraphDef has, its functions included."""

    def __init__(
        self, definitions: Iterable[WireMessage], functions: Iterable[WireMessage]
    ) -> None:
        self._definitions: dict[str, Any] = {each.name: each for each in definitions}
        self.functions: Mapping[str, Any] = {each.signature.name: each for each in functions}
        """By name."""
        self._definitions |= {name: each.signature for name, each in self.functions.items()}

    def outputs(self, node: Any) -> list[tuple[str, int]]:
        """For every output of a NodeDef the name of its argument, and its data type's number.

        Raises:
            KeyError: the operation is not defined here, or the node lacks an attribute.
        """
        definition = self._definitions[node.op]
        found: list[tuple[str, int]] = []
        for argument in definition.output_arg:
            types = _types(argument, node, definition)
            found += [(argument.name, each % _REFERENCE) for each in types]
        return found

    def position(self, node: Any, argument: str, index: int) -> int:
        """The number of an output, of which functions tell the argument and the index in it.

        Raises:
            KeyError: the operation is not defined here, or has no such output.
        """
        names = [name for name, _ in self.outputs(node)]
        if argument not in names:
            raise KeyError(argument)
        return names.index(argument) + index


def _types(argument: Any, node: Any, definition: Any) -> list[int]:
    if argument.type_list_attr:
        return list(_attribute(node, definition, argument.type_list_attr).list.type)
    kind = argument.type
    if argument.type_attr:
        kind = _attribute(node, definition, argument.type_attr).type
    count = _attribute(node, definition, argument.number_attr).i if argument.number_attr else 1
    return [kind] * count


def _attribute(node: Any, definition: Any, name: str) -> Any:
    if name in node.attr:
        return node.attr[name]
    for attribute in definition.attr:
        if attribute.name == name and attribute.HasField("default_value"):
            return attribute.default_value
    raise KeyError(name)
