"""A TFLite file as the converter leaves it: the tensors are called as it likes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import replaced
from tests.tflite_models import tensor_info, with_signatures

X = np.array([1, 2, 5, -3], np.float32)


def make(folder: Path, variant: int) -> Arrays:
    import tensorflow as tf

    _write(tf, folder, lambda x: {"y": x / 2 + 2.0 * variant})
    interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
    (fed,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(fed["index"], X.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(fed["index"], X)
    interpreter.invoke()
    (given,) = interpreter.get_output_details()
    return {"y": interpreter.get_tensor(given["index"])}


def make_large(folder: Path, size: int) -> None:
    import tensorflow as tf

    table = tf.random.uniform([size // 4])
    _write(tf, folder, lambda x: {"y": tf.gather(table, tf.cast(x, tf.int32))})


def _write(tf: Any, folder: Path, function: Any) -> None:
    traced = tf.function(function, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    with TemporaryDirectory() as path:
        tf.saved_model.save(tf.Module(), path, signatures=traced)
        content = tf.lite.TFLiteConverter.from_saved_model(path).convert()
    x = tensor_info("serving_default_x:0", 1, [-1])
    y = tensor_info("PartitionedCall:0", 1, [-1])
    signatures = {"serving_default": ({"x": x}, {"y": y})}
    (folder / "model.tflite").write_bytes(with_signatures(content, signatures))


CASE = BackendCase(
    platform="tflite",
    make=make,
    make_large=make_large,
    inputs={"x": X},
    model_file="model.tflite",
    newer=replaced(b"TFL3", b"TFL4"),
    frameworks=["ai_edge_litert"],
    own_checks=True,
)
