"""An order in which the nodes of a TensorFlow graph can run, and which of them run exactly once."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from salver.trial.graph_inlining import node_of

_ENTERS = ("Enter", "RefEnter")
_SWITCHES = ("Switch", "RefSwitch", "_SwitchN")
_MERGES = ("Merge", "RefMerge")
_EXITS = ("Exit", "RefExit")
_BACK = ("NextIteration", "RefNextIteration")


def ordered(
    nodes: Mapping[str, Any], roots: Iterable[str], given: Collection[str] = ()
) -> list[str]:
    """The names of all nodes that `roots` need, each after those that it needs itself.

    What those that are `given` would need is left out: a run feeds them.
    """
    order: list[str] = []
    seen: set[str] = set()
    back: list[str] = []
    pending = [(name, False) for name in roots]
    while pending or back:
        if not pending:
            pending.append((back.pop(), False))
        name, are_inputs_done = pending.pop()
        if are_inputs_done:
            order.append(name)
        elif name not in seen and name in nodes:
            seen.add(name)
            pending.append((name, True))
            for tensor in () if name in given else reversed(nodes[name].input):
                read = node_of(tensor)
                # The way back of a loop, its only ring: what is on it comes after all else.
                if read in nodes and nodes[read].op in _BACK:
                    back.append(read)
                else:
                    pending.append((read, False))
    return order


def run_once(nodes: Mapping[str, Any], order: Iterable[str]) -> set[str]:
    """Those of the nodes that are in no loop and under no condition, as TensorFlow 1 builds them.

    Loops and conditions of TensorFlow 2 are one node each, and run once.
    """
    depths: dict[str, int] = {}
    for name in order:
        node = nodes[name]
        inputs = [node_of(each) for each in node.input]
        depth = max((depths.get(each, 0) for each in inputs), default=0)
        operations = {nodes[each].op for each in inputs if each in nodes}
        if node.op in _ENTERS or (node.op in _SWITCHES and "LoopCond" not in operations):
            depth += 1
        elif node.op in _EXITS or (node.op in _MERGES and not operations & {*_ENTERS, *_BACK}):
            depth = max(depth - 1, 0)
        depths[name] = depth
    return {name for name, depth in depths.items() if not depth}
