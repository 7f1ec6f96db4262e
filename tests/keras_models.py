"""Keras files for the tests, made by Keras in a process of its own.

Run as a program with a folder, it writes them all, each as version 1 under its name.
`changed` makes others of them without Keras.
"""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any


def export(folder: Path) -> None:
    """Make all models under `folder`, in a child process."""
    done = subprocess.run([sys.executable, __file__, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def changed(file: Path, copy: Path, members: dict[str, bytes | None]) -> Path:
    """Write a copy with members replaced, added, or left out where they are None."""
    members = dict(members)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = members.pop(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in members.items():
            assert content is not None
            new.writestr(name, content)
    return copy


def plain(keras: Any) -> Any:
    """A sequential model, whose input has no name of its own."""
    return keras.Sequential([keras.Input((4,), name="features"), keras.layers.Dense(2)])


def listed(keras: Any) -> Any:
    """Two inputs and two outputs in lists."""
    left, right = keras.Input((2,), name="left"), keras.Input((None,), name="right")
    return keras.Model([left, right], [keras.layers.Dense(3)(left), right * 2.0])


def with_code(keras: Any) -> Any:
    """A layer whose function lies in the file, as code."""
    return keras.Sequential(
        [keras.Input((4,), name="x"), keras.layers.Lambda(lambda x: x * 2, output_shape=(4,))]
    )


def with_own_layer(keras: Any) -> Any:
    """A layer of a class that only its author has."""

    @keras.saving.register_keras_serializable("mine")
    class Own(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    return keras.Sequential([keras.Input((4,)), Own()])


def _write_all(folder: Path) -> None:
    import keras

    for maker in (plain, listed, with_code, with_own_layer):
        place = folder / maker.__name__ / "1"
        place.mkdir(parents=True)
        maker(keras).save(place / "model.keras")


if __name__ == "__main__":
    _write_all(Path(sys.argv[1]))
