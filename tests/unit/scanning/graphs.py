"""SavedModels made of messages, for what no exporter would write."""

from pathlib import Path
from typing import Any

from salver.codecs.messages import message_class

SAVED_MODEL = "tensorflow.SavedModel"


def node(
    name: str, operation: str, *inputs: str, function: str = "", texts: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A node as a dictionary; `texts` are string attributes, `value` that of a constant."""
    attributes: dict[str, Any] = {}
    if function:
        attributes["f"] = {"func": {"name": function}}
    for key, value in (texts or {}).items():
        if key == "value":
            attributes[key] = {"tensor": {"dtype": 7, "string_val": [value.encode()]}}
        elif isinstance(value, list):
            attributes[key] = {"list": {"s": [each.encode() for each in value]}}
        else:
            attributes[key] = {"s": value.encode()}
    return {"name": name, "op": operation, "input": list(inputs), "attr": attributes}


def constant(name: str, text: str) -> dict[str, Any]:
    return node(name, "Const", texts={"value": text})


def function(name: str, arguments: list[str], *nodes: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "arguments": arguments, "nodes": nodes}


def meta_graph(
    *nodes: dict[str, Any],
    functions: tuple[dict[str, Any], ...] = (),
    outputs: dict[str, str] | None = None,
    saver: tuple[str, str, str] | None = None,
    assets: dict[str, str] | None = None,
    tags: tuple[str, ...] = ("serve",),
) -> Any:
    """A MetaGraphDef; `outputs` are tensors by the name of their signature."""
    made = message_class("tensorflow.MetaGraphDef")()
    made.meta_info_def.tags.extend(tags)
    for each in nodes:
        _add(made.graph_def.node, each)
    for each in functions:
        definition = made.graph_def.library.function.add()
        definition.signature.name = each["name"]
        for argument in each["arguments"]:
            definition.signature.input_arg.add().name = argument
        for inner in each["nodes"]:
            _add(definition.node_def, inner)
    for name, tensor in (outputs or {}).items():
        made.signature_def[name].outputs["y"].name = tensor
    if saver is not None:
        definition = made.saver_def
        definition.filename_tensor_name, definition.save_tensor_name = saver[:2]
        definition.restore_op_name = saver[2]
    for tensor, path in (assets or {}).items():
        asset = made.asset_file_def.add()
        asset.tensor_info.name, asset.filename = tensor, path
    return made


def write(folder: Path, *meta_graphs: Any) -> Path:
    """Write the file into a folder, and return the folder."""
    model = message_class(SAVED_MODEL)()
    for each in meta_graphs:
        model.meta_graphs.add().CopyFrom(each)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def _add(target: Any, each: dict[str, Any]) -> None:
    made = target.add()
    made.name, made.op = each["name"], each["op"]
    made.input.extend(each["input"])
    for name, value in each["attr"].items():
        attribute = made.attr[name]
        if "func" in value:
            attribute.func.name = value["func"]["name"]
        elif "tensor" in value:
            attribute.tensor.dtype = value["tensor"]["dtype"]
            attribute.tensor.string_val.extend(value["tensor"]["string_val"])
        elif "list" in value:
            attribute.list.s.extend(value["list"]["s"])
        else:
            attribute.s = value["s"]
