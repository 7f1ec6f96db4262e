"""The models that batching is measured with: two of the other benchmark, and two that gain by it.

    python -m benchmarks.batching.models FOLDER

writes what `benchmarks.models` writes. A request of `mlp` reads nine megabytes of weights
for one row, which a batch reads once. `encoder` has requests of many lengths.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import (
    EXPORTS,
    MOBILENET,
    TINY,
    Export,
    Model,
    export_function,
    generate_input,
    make_missing,
)

MLP = Model("mlp", "3 dense layers of 1024, 64 floats", "x", "y", (1, 64), 1e-4)
ENCODER = Model("encoder", "2 transformer layers of 128", "ids", "vector", (256, 64), 1e-4)
"""Its input has 256 rows, each of which is a request."""

MLP_WIDTHS = (64, 1024, 1024, 1024, 10)
TOKENS = 1000
WIDTH = 128
HEADS = 4
LAYERS = 2
SHORTEST = 4


def export_mlp(model: Model, folder: Path) -> None:
    import tensorflow as tf

    weights = Weights()
    layers = [
        (weights.matrix(*sizes), weights.matrix(1, sizes[1])) for sizes in pairwise(MLP_WIDTHS)
    ]

    def compute(x: Any) -> Any:
        for matrix, bias in layers[:-1]:
            x = tf.nn.relu(tf.matmul(x, matrix) + bias)
        matrix, bias = layers[-1]
        return tf.matmul(x, matrix) + bias

    export_function(compute, model, folder)


def export_encoder(model: Model, folder: Path) -> None:
    """Token ids, 0 for none, to one vector: the mean over the tokens that are there."""
    import tensorflow as tf

    weights = Weights()
    embedding = weights.matrix(TOKENS, WIDTH)
    places = weights.matrix(model.input_shape[1], WIDTH)
    sizes = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH))
    layers = [[weights.matrix(*size) for size in sizes] for _ in range(LAYERS)]
    last = weights.matrix(WIDTH, WIDTH)

    def attend(x: Any, bias: Any, mixing: Any) -> Any:
        rows, length = tf.shape(x)[0], tf.shape(x)[1]
        split = tf.reshape(tf.tensordot(x, mixing, 1), (rows, length, 3, HEADS, WIDTH // HEADS))
        query, key, value = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)))
        scores = tf.matmul(query, key, transpose_b=True) * (WIDTH // HEADS) ** -0.5
        mixed = tf.matmul(tf.nn.softmax(scores + bias), value)
        return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (rows, length, WIDTH))

    def normal(x: Any) -> Any:
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-6)

    def compute(ids: Any) -> Any:
        mask = tf.cast(tf.not_equal(ids, 0), tf.float32)
        bias = (mask[:, None, None, :] - 1.0) * 1e9
        x = tf.gather(embedding, ids) + places[: tf.shape(ids)[1]]
        for mixing, joining, widening, narrowing in layers:
            x = normal(x + tf.tensordot(attend(x, bias, mixing), joining, 1))
            inner = tf.nn.relu(tf.tensordot(x, widening, 1))
            x = normal(x + tf.tensordot(inner, narrowing, 1))
        total = tf.reduce_sum(x * mask[:, :, None], 1)
        return tf.tanh(tf.matmul(total / tf.reduce_sum(mask, 1, keepdims=True), last))

    export_function(compute, model, folder, "int32")


class Weights:
    """Random matrices that keep the size of what goes through them."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(7)

    def matrix(self, rows: int, columns: int) -> Any:
        import tensorflow as tf

        values = self._random.normal(0.0, rows**-0.5, (rows, columns))
        return tf.constant(values.astype(np.float32))


def generate_ids() -> dict[str, np.ndarray]:
    """Sentences of random length; each begins with a 0, which the mask leaves out.

    Both servers fill what is too short with its own first element, so that must be a 0.
    """
    random = np.random.default_rng(7)
    rows, longest = ENCODER.input_shape
    lengths = random.integers(SHORTEST, longest, rows, endpoint=True)
    ids = random.integers(1, TOKENS, (rows, longest))
    ids[:, 0] = 0
    ids[np.arange(longest) >= lengths[:, None]] = 0
    return {"input": ids.astype(np.int32), "lengths": lengths}


def generate(model: Model) -> dict[str, np.ndarray]:
    """What is kept beside a model."""
    return generate_ids() if model is ENCODER else {"input": generate_input(model)}


BATCHING_EXPORTS: dict[Model, Export] = {
    TINY: EXPORTS[TINY],
    MLP: export_mlp,
    ENCODER: export_encoder,
    MOBILENET: EXPORTS[MOBILENET],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the models of the benchmark of batching.")
    parser.add_argument("folder", type=Path)
    make_missing(BATCHING_EXPORTS, parser.parse_args().folder, generate)


if __name__ == "__main__":
    main()
