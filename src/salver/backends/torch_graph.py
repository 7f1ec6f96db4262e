"""The graph of an exported program as a function.

PyTorch's own function looks each operator up by its name at every call, and calls it through a
method in Python: a microsecond, of the two to four that an operator of a small model takes.
Source: torch/_ops.py, `OpOverload.__call__`.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any


def function_of(torch: Any, module: Any, last: Iterable[int]) -> Callable[..., Sequence[Any]]:
    """Takes and gives what the `forward` of the graph module does, in the same order.

    Only the arguments of the places `last` come after all others, in this order.
    """
    graph = copy.deepcopy(module.graph)
    arguments = [node for node in graph.nodes if node.op == "placeholder"]
    for place in last:
        arguments[-1].append(arguments[place])
        arguments.append(arguments[place])
    found: dict[Any, Any] = {}
    for node in graph.nodes:
        # Its subclasses decide at each call who computes.
        if node.op == "call_function" and type(node.target) is torch._ops.OpOverload:
            node.target = found.setdefault(node.target, _Operator(node.target))
    forward: Callable[..., Sequence[Any]] = torch.fx.GraphModule(module, graph).forward
    return forward


class _Operator(partial[Any]):
    """An operator, called at once; it has a name, for the code that is made of a graph."""

    __name__: str

    def __new__(cls, overload: Any) -> "_Operator":
        operator = super().__new__(cls, overload._op)
        operator.__name__ = str(overload).replace(".", "_").replace("::", "_")
        operator.__module__ = __name__
        return operator
