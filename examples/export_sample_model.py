"""Train a small Keras model and export it as a version that a server can pick up.

    python examples/export_sample_model.py BASE

The model guesses the monthly rent of a flat from its area, its number of rooms and
its distance to the centre. It learns from generated flats whose rent follows a rule
that is not linear, plus the noise of any market. The version is written to a
temporary folder inside BASE and renamed to `BASE/<unix timestamp>` when complete:
a server that watches BASE never sees half of it. Prints the path.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# One way of adding numbers up, so that every machine learns the same; it also keeps
# TensorFlow's greeting off the terminal. Both are read when TensorFlow is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

SEED = 20
FEATURES = ("area in m2", "rooms", "km to the centre")


def generate_flats(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flats, float32 of shape (count, 3), and the rent of each in euros, shape (count, 1)."""
    area = random.uniform(18, 140, count)
    rooms = np.clip(np.round(area / 26 + random.normal(0, 0.6, count)), 1, 6)
    distance = random.gamma(2.0, 3.0, count).clip(0, 25)
    price_of_one_square_metre = 8 + 12 * np.exp(-distance / 6) + 60 / area
    rent = area * price_of_one_square_metre + 45 * rooms + random.normal(0, 40, count)
    flats = np.stack([area, rooms, distance], axis=1)
    return flats.astype(np.float32), rent[:, None].astype(np.float32)


def train(flats: np.ndarray, rents: np.ndarray) -> Any:
    """A regressor with one hidden layer, which scales its own inputs and output."""
    scale = keras.layers.Normalization(axis=-1)
    scale.adapt(flats)
    flat = keras.Input(shape=(len(FEATURES),), name="flat")
    hidden = keras.layers.Dense(24, activation="relu")(scale(flat))
    scaled_rent = keras.layers.Dense(1)(hidden)
    rent = keras.layers.Rescaling(float(rents.std()), float(rents.mean()))(scaled_rent)
    model = keras.Model(flat, rent)
    model.compile(keras.optimizers.Adam(0.02), keras.losses.Huber(delta=float(rents.std())))
    model.fit(flats, rents, batch_size=256, epochs=25, verbose=0)
    return model


def export(model: Any, base: Path) -> Path:
    """Write `model` as the newest version under `base`, all at once."""
    base.mkdir(parents=True, exist_ok=True)
    # Servers only look at folders with numeric names, so this one is invisible to them.
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=base))
    unfinished.chmod(0o755)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        name="serving_default",
        fn=lambda flat: {"rent": model(flat)},
        input_signature=[tf.TensorSpec((None, len(FEATURES)), tf.float32, name="flat")],
    )
    archive.write_out(str(unfinished), verbose=False)
    return publish(unfinished, base)


def publish(unfinished: Path, base: Path) -> Path:
    """Give a complete version its number: the time in seconds, or the next one free."""
    version = int(time.time())
    while (base / str(version)).exists():
        version += 1
    return unfinished.rename(base / str(version))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small model and export it.")
    parser.add_argument("base", type=Path, help="folder of the model; a version is added to it")
    base = parser.parse_args().base

    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    flats, rents = generate_flats(8192, random)
    model = train(flats, rents)

    unseen, true_rents = generate_flats(1024, random)
    error = np.abs(np.asarray(model(unseen)) - true_rents).mean()
    guess = np.abs(rents.mean() - true_rents).mean()
    path = export(model, base)
    print(
        f"Learned the rent of a flat from {', '.join(FEATURES)}: on flats it has not seen it is "
        f"off by {error:.0f} euros on average (always guessing the mean: {guess:.0f}).",
        file=sys.stderr,
    )
    print(path)


if __name__ == "__main__":
    main()
