"""The device that TorchScript names: its code computes there, wherever its weights are.

`torch.jit.trace` writes the device of every new tensor into the graph, and a scripted
`torch.zeros(2)` is on the CPU. With weights and inputs on a GPU such code fails at each run.
"""

from collections.abc import Iterator
from typing import Any

_CPU = "cpu"


def named_device(torch: Any, module: Any) -> str | None:
    """`cpu` or a GPU, as PyTorch writes it; a GPU if both are named. None: that of the inputs.

    Args:
        torch: PyTorch.
        module: a `torch.jit.ScriptModule`; what its `forward` calls is looked at, too.
    """
    found = None
    for node in _nodes(module.inlined_graph):
        named = _named_by(torch, node)
        if named not in (None, _CPU):
            return named
        found = found or named
    return found


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _named_by(torch: Any, node: Any) -> str | None:
    if node.kind() in ("aten::cpu", "aten::cuda"):
        return str(node.kind()).removeprefix("aten::")
    inputs = list(node.inputs())
    for value in inputs:
        if value.type().kind() == "DeviceObjType" and value.node().kind() == "prim::Constant":
            return str(value.node().s("value"))
    if "? device" in node.schema() and not _is_tensor(inputs[0]):
        arguments = torch._C.parse_schema(node.schema()).arguments
        place = [argument.name for argument in arguments].index("device")
        if inputs[place].type().kind() == "NoneType":
            return _CPU
    return None


def _is_tensor(value: Any) -> bool:
    """Of a tensor that the operation is given, it takes the device where none is named."""
    return bool(value.type().kind() == "TensorType")
