"""In which order TensorFlow lists the traces of one function of a SavedModel.

By name, but by the name that each trace gets when TensorFlow loads it, which ends with a
number from a counter that every graph, every tensor and every name of the process moves on:
99 comes after 100 there. So the loading is counted through.
Source: tensorflow/python/saved_model/function_deserialization.py.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from salver.codecs.messages import WireMessage

_TRACE = re.compile("^__inference_(.*)_[0-9]+$")
_SHAPES = "_output_shapes"
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")


def loaded_names(meta_graph: WireMessage) -> dict[str, str]:
    """By the name of a function in the file: the name that it has when TensorFlow has loaded it."""
    library = meta_graph.graph_def.library
    # One number went to the graph into which the model is loaded, the next to the load.
    number = 1 + sum(1 for each in library.registered_gradients if each.registered_op_type)
    names = {}
    for function in _in_order_of_loading(library):
        number += sum(map(_needs_own_name, function.node_def))
        # Its graph, its arguments, what its nodes give, its name.
        number += 1 + len(function.signature.input_arg)
        number += sum(map(_outputs, function.node_def)) + 1
        name = function.signature.name
        match = _TRACE.search(name)
        names[name] = f"__inference_{match[1] if match else name}_{number}"
    return names


def _needs_own_name(node: WireMessage) -> bool:
    """Whether a table would be shared with others, were it not named anew."""
    shares = "use_node_name_sharing" in node.attr and node.attr["use_node_name_sharing"].b
    return node.op == "HashTableV2" and not shares


def _outputs(node: WireMessage) -> int:
    """How many tensors a node of a function gives: TensorFlow saves the shape of each."""
    return len(node.attr[_SHAPES].list.shape) if _SHAPES in node.attr else 1


def _in_order_of_loading(library: WireMessage) -> Iterator[WireMessage]:
    """Functions after those that they call; of a circle, which TensorFlow refuses, none."""
    functions = {function.signature.name: function for function in library.function}
    gradients = {
        each.registered_op_type.encode(): each.gradient_func
        for each in library.registered_gradients
        if each.registered_op_type
    }
    callers: dict[str, list[str]] = defaultdict(list)
    waits_for: dict[str, int] = {}
    for name, function in functions.items():
        called = _called_by(function, functions, gradients)
        waits_for[name] = len(called)
        for each in called:
            callers[each].append(name)
    ready = [name for name in functions if not waits_for[name]]
    while ready:
        name = ready.pop()
        if name in functions:
            yield functions[name]
        for caller in callers[name]:
            waits_for[caller] -= 1
            if not waits_for[caller]:
                ready.append(caller)


def _called_by(
    function: WireMessage, functions: Mapping[str, WireMessage], gradients: Mapping[bytes, str]
) -> set[str]:
    called = set()
    for node in function.node_def:
        gradient = b""
        if "_gradient_op_type" in node.attr and node.op not in _CALLS:
            gradient = node.attr["_gradient_op_type"].s
        if node.op in functions:
            called.add(node.op)
        elif gradient in gradients:
            called.add(gradients[gradient])
        else:
            for attribute in node.attr.values():
                if attribute.WhichOneof("value") == "func":
                    called.add(attribute.func.name)
                elif attribute.WhichOneof("value") == "list":
                    called.update(each.name for each in attribute.list.func)
    return called
