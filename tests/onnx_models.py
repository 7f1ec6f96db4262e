"""ONNX models for the tests, made with the `onnx` package and by the converter of scikit-learn."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING

IR_VERSION, OPSET = 10, 20
"""Older than what the newest package writes, so that every runtime of the last years takes them."""


def export(names: Iterable[str], folder: Path) -> None:
    """Make the models of these names under `folder`, each as its version 1."""
    for name in names:
        write(MAKERS[name](), folder / name / "1")


def write(model: Any, folder: Path) -> str:
    """Write a model, or the bytes of its file, into a version folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    data = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    return str(folder)


def half_plus_two() -> Any:
    """y = x / 2 + 2 for any number of elements."""
    return graph(
        [node("Mul", ["x", "half"], "halved"), node("Add", ["halved", "two"], "y")],
        [value("x", FLOAT, ["rows"])],
        [value("y", FLOAT, ["rows"])],
        [constant("half", 0.5), constant("two", 2.0)],
    )


def mixed() -> Any:
    """Two inputs and three outputs of different types: a sum, what is larger, and the words."""
    return graph(
        [
            node("Cast", ["counts"], "numbers", to=FLOAT),
            node("Add", ["x", "numbers"], "sum"),
            node("Greater", ["x", "numbers"], "is_larger"),
            node("Identity", ["words"], "same_words"),
        ],
        [
            value("x", FLOAT, ["rows", 3]),
            value("counts", INT64, ["rows", 3]),
            value("words", STRING, ["rows"]),
        ],
        [
            value("sum", FLOAT, ["rows", 3]),
            value("is_larger", TensorProto.BOOL, ["rows", 3]),
            value("same_words", STRING, ["rows"]),
        ],
    )


def ranks() -> Any:
    """A scalar, and a tensor of which nothing is said."""
    return graph(
        [node("Identity", ["number"], "same_number"), node("Identity", ["any"], "same_any")],
        [value("number", FLOAT, []), value("any", FLOAT, None)],
        [value("same_number", FLOAT, []), value("same_any", FLOAT, None)],
    )


def matrices() -> Any:
    """The product of two matrices, whose sizes the model does not know."""
    return graph(
        [node("MatMul", ["a", "b"], "product")],
        [value("a", FLOAT, ["m", "n"]), value("b", FLOAT, ["o", "p"])],
        [value("product", FLOAT, ["m", "p"])],
    )


def chosen() -> Any:
    """Rows of a table by their numbers, so that values may be wrong."""
    table = constant("table", np.arange(6, dtype=np.float32).reshape(3, 2))
    return graph(
        [node("Gather", ["table", "places"], "rows")],
        [value("places", INT64, ["n"])],
        [value("rows", FLOAT, ["n", 2])],
        [table],
    )


def filled() -> Any:
    """A tensor as large as it is asked for."""
    return graph(
        [node("ConstantOfShape", ["shape"], "zeros")],
        [value("shape", INT64, ["axes"])],
        [value("zeros", FLOAT, None)],
    )


def classifier() -> Any:
    """A classifier of scikit-learn as its converter leaves it: labels, and a map of scores."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(1).random((60, 3), np.float32)
    labels = np.array(["ant", "bee", "cat"])[rows.argmax(1)]
    return to_onnx(LogisticRegression().fit(rows, labels), rows[:1], target_opset=OPSET)


def external(location: str, **entries: int) -> Any:
    """y = x * w, whose four weights lie in another file: at `offset`, of `length` bytes."""
    weights = TensorProto(name="w", data_type=FLOAT, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, **entries}.items():
        weights.external_data.add(key=key, value=str(entry))
    return graph(
        [node("Mul", ["x", "w"], "y")],
        [value("x", FLOAT, ["rows", 4])],
        [value("y", FLOAT, ["rows", 4])],
        [weights],
    )


def echo(data_type: int) -> Any:
    """What goes in comes out."""
    return graph(
        [node("Identity", ["x"], "y")], [value("x", data_type, None)], [value("y", data_type, None)]
    )


MAKERS = {
    maker.__name__: maker
    for maker in (half_plus_two, mixed, ranks, matrices, chosen, filled, classifier)
}


def graph(
    nodes: Sequence[Any],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
) -> Any:
    made = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION)


def node(operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(operation, inputs, [output], **attributes)


def value(name: str, data_type: int, shape: Sequence[int | str] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, data_type, shape)


def constant(name: str, content: float | np.ndarray) -> TensorProto:
    """A tensor that is part of the model; a number becomes a scalar of float32."""
    array = content if isinstance(content, np.ndarray) else np.array(content, np.float32)
    return numpy_helper.from_array(array, name)
