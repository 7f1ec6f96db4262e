"""How many numbers a SavedModel holds: its variables, and the constants of its graph."""

from collections.abc import Iterable, Iterator
from math import prod

from salver.codecs.messages import WireMessage, message_class
from salver.core.data_type import DataType, numpy_type_of
from salver.inspection.description import Numbers
from salver.inspection.saved_model import nodes_of

_VARIABLES = frozenset(("VarHandleOp", "VariableV2", "Variable"))
_OPTIMIZER = "optimizer"
_MOST = 1 << 63
_REFERENCES = 100
"""`DT_FLOAT_REF` and the like are so much higher than what they refer to."""


def parameters_of(meta_graph: WireMessage) -> Numbers:
    """The variables that the model's functions use; all, where it has none that use any.

    Not what an optimizer keeps beside them, if that was saved, too.
    A variable of unknown shape counts as none.
    """
    if meta_graph.HasField("object_graph_def"):
        return _of_objects(meta_graph.object_graph_def)
    return _of_graph(meta_graph)


def constants_of(graph: WireMessage) -> Numbers:
    """All that is written into a GraphDef and its functions."""
    tensors = (node.attr["value"].tensor for node in nodes_of(graph) if node.op == "Const")
    held = [(_count(tensor.tensor_shape), _item_size(tensor.dtype)) for tensor in tensors]
    return Numbers(sum(count for count, _ in held), sum(count * size for count, size in held))


def _of_objects(objects: WireMessage) -> Numbers:
    reached = {
        number: node.variable for number, node in _model_nodes(objects) if node.HasField("variable")
    }
    used = {each for saved in objects.concrete_functions.values() for each in saved.bound_inputs}
    # Keras 3 exports every weight twice: its functions use one of them.
    chosen = reached.keys() & used or reached
    variables = [reached[number] for number in chosen]
    counts = [_count(variable.shape) for variable in variables]
    sizes = [
        count * _item_size(variable.dtype)
        for count, variable in zip(counts, variables, strict=True)
    ]
    trainable = sum(
        count for count, variable in zip(counts, variables, strict=True) if variable.trainable
    )
    return Numbers(sum(counts), sum(sizes), trainable)


def _model_nodes(objects: WireMessage) -> Iterator[tuple[int, WireMessage]]:
    """Every object that the root reaches other than through an optimizer, with its number."""
    slots = {slot.slot_variable_node_id for node in objects.nodes for slot in node.slot_variables}
    seen, waiting = {0}, [0]
    while waiting:
        number = waiting.pop()
        if number >= len(objects.nodes):
            continue
        node = objects.nodes[number]
        if node.user_object.identifier == _OPTIMIZER or number in slots:
            continue
        yield number, node
        new = {child.node_id for child in node.children} - seen
        seen |= new
        waiting += new


def _of_graph(meta_graph: WireMessage) -> Numbers:
    """Of TensorFlow 1: the nodes that are variables, and the collection that knows their kind."""
    nodes = [node for node in meta_graph.graph_def.node if node.op in _VARIABLES]
    counts = {node.name: _count(node.attr["shape"].shape) for node in nodes}
    size = sum(counts[node.name] * _item_size(node.attr["dtype"].type) for node in nodes)
    trainable = None
    if "trainable_variables" in meta_graph.collection_def:
        stated = meta_graph.collection_def["trainable_variables"].bytes_list.value
        trainable = sum(counts.get(name, 0) for name in _names(stated))
    return Numbers(sum(counts.values()), size, trainable)


def _names(variables: Iterable[bytes]) -> Iterator[str]:
    """The nodes of serialized VariableDefs."""
    for content in variables:
        variable = message_class("tensorflow.VariableDef")()
        variable.ParseFromString(content)
        yield variable.variable_name.partition(":")[0].removesuffix("/Read/ReadVariableOp")


def _count(shape: WireMessage) -> int:
    if shape.unknown_rank or any(dim.size < 0 for dim in shape.dim):
        return 0
    count = prod(dim.size for dim in shape.dim)
    # No tensor has as many: the file is damaged, or lies.
    return count if count < _MOST else 0


def _item_size(number: int) -> int:
    """Bytes of one value; 0 where it is text, or nothing with values."""
    number = number - _REFERENCES if number > _REFERENCES else number
    numpy_type = numpy_type_of(DataType(number)) if number in set(DataType) else None
    return 0 if numpy_type is None or numpy_type.hasobject else numpy_type.itemsize
