"""A functional model with two named inputs and two named outputs, one of them of words."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import member_changed, replaced

X = np.array([[1, 2, 3, 4], [5, -3, 0.5, 1], [0, 7, -1, 2]], np.float32)
WORDS = np.array([[b"ant"], [b"bee"], [b"cat"]], object)


def make(folder: Path, variant: int) -> Arrays:
    import keras

    keras.utils.set_random_seed(variant)
    x = keras.Input((4,), name="x")
    word = keras.Input((1,), name="word", dtype="string")
    place = keras.layers.StringLookup(vocabulary=["ant", "bee"])(word)
    hidden = keras.layers.Dense(8, activation="relu")(x)
    outputs = {"score": keras.layers.Dense(2, activation="softmax")(hidden), "place": place}
    model = keras.Model({"x": x, "word": word}, outputs)
    model.save(folder / "model.keras")
    answers = model.predict({"x": X, "word": _tensor(WORDS)}, verbose=0)
    return {name: np.asarray(array) for name, array in answers.items()}


def _tensor(words: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.constant(words)


def make_large(folder: Path, size: int) -> None:
    import keras

    layers = [keras.Input((1024,)), keras.layers.Dense(size // 4 // 1024)]
    keras.Sequential(layers).save(folder / "model.keras")


CASE = BackendCase(
    platform="keras",
    make=make,
    make_large=make_large,
    inputs={"x": X, "word": WORDS},
    model_file="model.keras",
    newer=member_changed(
        "config.json", replaced(b'"class_name": "Dense"', b'"class_name": "Future"')
    ),
    frameworks=["keras"],
    own_checks=True,
)
