"""A SavedModel: y = x / 2 + two times the variant."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase

X = np.array([1, 2, 5, -3], np.float32)


def make(folder: Path, variant: int) -> Arrays:
    import tensorflow as tf

    bias = tf.Variable(2.0 * variant)
    return {"y": _save(tf, folder, bias)(tf.constant(X))["y"].numpy()}


def make_large(folder: Path, size: int) -> None:
    import tensorflow as tf

    _save(tf, folder, tf.Variable(tf.random.uniform([size // 4])))


def _save(tf: Any, folder: Path, bias: Any) -> Any:
    module = tf.Module()
    module.bias = bias

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator] # TensorFlow has no types
    def add(x: Any) -> Any:
        return {"y": x / 2 + tf.reduce_max(module.bias)}

    tf.saved_model.save(module, str(folder), signatures=add)
    return add


def newer(content: bytes) -> bytes:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString(content)
    model.meta_graphs[0].graph_def.versions.min_consumer = 1 << 20
    changed: bytes = model.SerializeToString()
    return changed


CASE = BackendCase(
    platform="tensorflow",
    make=make,
    make_large=make_large,
    inputs={"x": X},
    model_file="saved_model.pb",
    newer=newer,
    frameworks=["tensorflow"],
    own_checks=True,
)
