"""A graph made with the `onnx` package: numbers, words, and two outputs."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase

X = np.array([[1, 2, 3], [5, -3, 0.5], [0, 7, -1]], np.float32)
COUNTS = np.array([1, 20, -300], np.int64)
WORDS = np.array([b"one", "zw\u00f6lf".encode(), b""], object)


def make(folder: Path, variant: int) -> Arrays:
    """The answer is that of the reference implementation, which comes with the package."""
    from onnx.reference import ReferenceEvaluator

    from tests import onnx_models as made

    sums = [
        made.node("Cast", ["count"], "number", to=made.FLOAT),
        made.node("Mul", ["number", "bias"], "scaled"),
        made.node("ReduceSum", ["x", "axes"], "row", keepdims=0),
        made.node("Add", ["row", "scaled"], "total"),
    ]
    axes = made.constant("axes", np.array([1]))
    given = [made.value("x", made.FLOAT, ["n", 3]), made.value("count", made.INT64, ["n"])]
    constants = [made.constant("bias", 0.5 * variant), axes]
    total = made.value("total", made.FLOAT, ["n"])
    evaluator = ReferenceEvaluator(made.graph(sums, given, [total], constants))
    (answer,) = evaluator.run(None, {"x": X, "count": COUNTS})
    whole = made.graph(
        [*sums, made.node("Identity", ["word"], "text")],
        [*given, made.value("word", made.STRING, ["n"])],
        [total, made.value("text", made.STRING, ["n"])],
        constants,
    )
    _write(folder, whole)
    return {"total": np.asarray(answer), "text": WORDS}


def make_large(folder: Path, size: int) -> None:
    from tests import onnx_models as made

    weights = np.random.default_rng(1).random((size // 4 // 1024, 1024), np.float32)
    _write(
        folder,
        made.graph(
            [made.node("MatMul", ["x", "w"], "y")],
            [made.value("x", made.FLOAT, ["n", len(weights)])],
            [made.value("y", made.FLOAT, ["n", 1024])],
            [made.constant("w", weights)],
        ),
    )


def _write(folder: Path, model: Any) -> None:
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def newer(content: bytes) -> bytes:
    import onnx

    model = onnx.ModelProto.FromString(content)
    model.opset_import[0].version = 99
    changed: bytes = model.SerializeToString()
    return changed


CASE = BackendCase(
    platform="onnx",
    make=make,
    make_large=make_large,
    inputs={"x": X, "count": COUNTS, "word": WORDS},
    model_file="model.onnx",
    newer=newer,
    frameworks=["onnxruntime"],
    needs="onnx",
)
