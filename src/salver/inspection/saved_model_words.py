"""What `saved_model_cli show` prints of a SavedModel: the same words in the same order.

Programs read it. Source: tensorflow/python/tools/saved_model_cli.py. Two things are sorted here
that stand in the order of a hash table there: the operations of a graph, and the keys of a dict.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from salver.codecs.messages import WireMessage
from salver.inspection.function_order import loaded_names
from salver.inspection.saved_model import operations_used, tag_set, type_label
from salver.inspection.structured_values import TensorArgument, class_name_of, value_of

_SAVED_MODEL = "SavedModel"


def tag_sets_text(tag_sets: Iterable[list[str]]) -> str:
    """The answer to `--dir` alone."""
    lines = [f"{', '.join(sorted(tags))!r}\n" for tags in sorted(tag_sets)]
    return "The given SavedModel contains the following tag-sets:\n" + "".join(lines)


def signature_keys_text(
    signatures: Iterable[str], kind: str = f"{_SAVED_MODEL} MetaGraphDef"
) -> str:
    """The answer to `--tag_set`."""
    lines = [f'SignatureDef key: "{name}"\n' for name in sorted(signatures)]
    head = f"The given {kind} contains SignatureDefs with the following keys:\n"
    return head + "".join(lines)


def signature_text(definition: WireMessage, indent: int = 0, kind: str = _SAVED_MODEL) -> str:
    """The answer to `--signature_def`; `definition` is a `tensorflow.SignatureDef`."""
    return "".join(f"{'  ' * indent}{line}\n" for line in _signature_lines(definition, kind))


def _signature_lines(definition: WireMessage, kind: str) -> Iterator[str]:
    yield f"The given {kind} SignatureDef contains the following input(s):"
    for name in sorted(definition.inputs):
        yield f"  inputs['{name}'] tensor_info:"
        yield from _tensor_lines(definition.inputs[name])
    yield f"The given {kind} SignatureDef contains the following output(s):"
    for name in sorted(definition.outputs):
        yield f"  outputs['{name}'] tensor_info:"
        yield from _tensor_lines(definition.outputs[name])
    yield f"Method name is: {definition.method_name}"


def _tensor_lines(info: WireMessage) -> Iterator[str]:
    yield f"      dtype: {type_label(info.dtype)}"
    sizes = ", ".join(str(dim.size) for dim in info.tensor_shape.dim)
    yield f"      shape: {'unknown_rank' if info.tensor_shape.unknown_rank else f'({sizes})'}"
    yield f"      name: {info.name}"


def operations_text(meta_graph: WireMessage) -> str:
    """The answer to `--list_ops`: a set of Python, but sorted."""
    used = operations_used(meta_graph.graph_def)
    shown = "{" + ", ".join(map(repr, used)) + "}" if used else "set()"
    tags = tag_set(meta_graph)
    return f"The MetaGraph with tag set {tags} contains the following ops: {shown}\n"


def all_text(saved_model: WireMessage) -> str:
    """The answer to `--all`. Without functions it ends within a line, as the original does."""
    text = ""
    for meta_graph in sorted(saved_model.meta_graphs, key=tag_set):
        text += (
            f"\nMetaGraphDef with tag-set: '{', '.join(tag_set(meta_graph))}' "
            "contains the following SignatureDefs:\n"
        )
        text += signatures_text(meta_graph.signature_def)
        text += operations_text(meta_graph)
    return text + functions_text(saved_model)


def signatures_text(signatures: Mapping[str, WireMessage], kind: str = _SAVED_MODEL) -> str:
    """Every signature, under its name."""
    return "".join(
        f"\nsignature_def['{name}']:\n{signature_text(signatures[name], 1, kind)}"
        for name in sorted(signatures)
    )


def functions_text(saved_model: WireMessage) -> str:
    """The functions that the root object of a SavedModel of TensorFlow 2 has; else nothing.

    The original loads the model for them, and says that they are not available where that fails,
    as with operations that are not registered; here they are listed all the same.
    """
    graphs = saved_model.meta_graphs
    if not any(graph.HasField("object_graph_def") for graph in graphs):
        return ""
    text = "\nConcrete Functions:"
    if len(graphs) != 1:
        return f"{text} N/A (could not be listed due to unknown reasons)\n"
    names = loaded_names(graphs[0])
    for name, traces in sorted(root_functions(graphs[0].object_graph_def).items()):
        text += f"\n  Function Name: '{name}'\n"
        ordered = sorted(traces, key=lambda trace: names.get(trace, trace))
        for number, trace in enumerate(ordered, 1):
            saved = graphs[0].object_graph_def.concrete_functions[trace]
            text += _trace_text(number, saved)
    return text


def root_functions(objects: WireMessage) -> dict[str, list[str]]:
    """The names in the file of the traces of each function of the root object."""
    if not objects.nodes:
        return {}
    functions = {}
    for child in objects.nodes[0].children:
        node = objects.nodes[child.node_id]
        kind = node.WhichOneof("kind")
        if kind == "function":
            functions[child.local_name] = list(node.function.concrete_functions)
        elif kind == "bare_concrete_function":
            name = node.bare_concrete_function.concrete_function_name
            functions[child.local_name] = [name]
    return functions


def _trace_text(number: int, saved: WireMessage) -> str:
    try:
        positional, named = value_of(saved.canonicalized_input_signature)
    except ValueError:
        return ""
    text = ""
    if positional:
        text = f"    Option #{number}\n      Callable with:\n"
        text += _arguments_text("Argument", positional)
    return text + _arguments_text("Named Argument", named)


def _arguments_text(title: str, arguments: Iterable[Any]) -> str:
    indent = " " * 8
    text = ""
    for number, argument in enumerate(arguments, 1):
        text += f"{indent}{title} #{number}\n"
        if isinstance(argument, str):
            text += f"{indent}  {argument}\n"
        elif isinstance(argument, TensorArgument):
            text += f"{indent}  {argument.name}: {argument!r}\n"
        else:
            value = _value_text(argument)
            text += f"{indent}  DType: {class_name_of(argument)}\n{indent}  Value: {value}\n"
    return text


def _value_text(argument: Any) -> str:
    # The two backspaces are the original's: on a terminal they take back the last comma.
    if isinstance(argument, dict):
        pairs = (f"'{key}': {_quoted(value)}, " for key, value in argument.items())
        return "{" + "".join(pairs) + "\b\b}"
    if isinstance(argument, Iterable):
        return "[" + "".join(f"{_quoted(value)}, " for value in argument) + "\b\b]"
    return str(argument)


def _quoted(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)
