"""The models that are served, with an input and the right answer for each.

    python -m benchmarks.models FOLDER

writes `FOLDER/<name>/1` (a SavedModel) and `FOLDER/<name>.npz` (`input`, `expected`).
A program of its own, because the process that measures must not carry TensorFlow.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

LARGE_TENSOR_FLOATS = 1_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """A model with one input and one float output."""

    name: str
    title: str
    input_name: str
    output_name: str
    input_shape: tuple[int, ...]
    """Of one request, the batch included."""
    tolerance: float
    """Largest difference from the expected output that counts as a right answer."""


TINY = Model("tiny", "y = x / 2 + 2, 3 floats", "x", "y", (3,), 1e-6)
LARGE = Model("large", "y = x / 2, one million floats", "x", "y", (1, LARGE_TENSOR_FLOATS), 1e-6)
MOBILENET = Model(
    "mobilenet", "MobileNetV2, 224 x 224 x 3", "image", "probabilities", (1, 224, 224, 3), 1e-5
)
MEDIUM = Model("medium", "products of matrices, 256 floats", "x", "y", (1, 256), 1e-4)


def generate_input(model: Model) -> np.ndarray:
    """Floats in [0, 1) with six decimals, so that JSON carries them without loss or noise."""
    random = np.random.default_rng(7)
    return (random.integers(0, 10**6, model.input_shape) / 10**6).astype(np.float32)


def export_function(
    compute: Callable[[Any], Any], model: Model, folder: Path, data_type: str = "float32"
) -> None:
    """Export `compute` as it is, with a batch of any size."""
    import tensorflow as tf

    shape = (None, *[None for _ in model.input_shape[1:]])
    specification = tf.TensorSpec(shape, data_type, name=model.input_name)
    module = tf.Module()
    module.predict = tf.function(
        lambda x: {model.output_name: compute(x)}, input_signature=[specification]
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})


def export_mobilenet(model: Model, folder: Path) -> None:
    """MobileNetV2 with random weights: the arithmetic is that of a trained one."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    network = keras.applications.MobileNetV2(weights=None, input_shape=model.input_shape[1:])
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        name="serving_default",
        fn=lambda image: {model.output_name: network(image, training=False)},
        input_signature=[
            tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=model.input_name)
        ],
    )
    archive.write_out(str(folder), verbose=False)


def multiply(x: Any) -> Any:
    """Some milliseconds of work for a small request: a few products of whole matrices."""
    import tensorflow as tf

    side, times = 256, 24
    factors = np.random.default_rng(7).standard_normal((side, side)) / side**0.5
    factor = tf.constant(factors, tf.float32)
    product = tf.tile(x[:1], [side, 1])
    for _ in range(times):
        product = tf.tanh(tf.matmul(product, factor))
    return x + product[:1]


Export = Callable[[Model, Path], None]
EXPORTS: dict[Model, Export] = {
    TINY: partial(export_function, lambda x: x * 0.5 + 2.0),
    LARGE: partial(export_function, lambda x: x * 0.5),
    MOBILENET: export_mobilenet,
    MEDIUM: partial(export_function, multiply),
}


def write(model: Model, export: Export, base: Path, arrays: dict[str, np.ndarray]) -> None:
    """Export one model and let TensorFlow itself say what the right answer to `input` is."""
    import tensorflow as tf

    version = base / model.name / "1"
    export(model, version)
    predict = tf.saved_model.load(str(version)).signatures["serving_default"]
    inputs = tf.constant(arrays["input"])
    expected = predict(**{model.input_name: inputs})[model.output_name].numpy()
    # Written last: its presence says that the model is complete.
    kept: dict[str, Any] = {**arrays, "expected": expected}
    np.savez(base / f"{model.name}.npz", **kept)


def make_missing(
    exports: Mapping[Model, Export],
    folder: Path,
    generate: Callable[[Model], dict[str, np.ndarray]] = lambda model: {
        "input": generate_input(model)
    },
) -> None:
    """Make those that `folder` does not have; `generate` makes what is kept beside each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder.mkdir(parents=True, exist_ok=True)
    for model, export in exports.items():
        if not (folder / f"{model.name}.npz").exists():
            print(f"making {model.name} in {folder}", flush=True)
            write(model, export, folder, generate(model))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the models that the benchmarks serve.")
    parser.add_argument("folder", type=Path)
    make_missing(EXPORTS, parser.parse_args().folder)


if __name__ == "__main__":
    main()
