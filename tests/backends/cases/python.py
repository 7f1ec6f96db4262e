"""A class in `model.py`, with a file of its own, numbers and words."""

from pathlib import Path

import numpy as np

from tests.backends.contract import Arrays, BackendCase

SOURCE = """\
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .words import shouted


class Answer(NamedTuple):
    y: Annotated[NDArray[np.float32], (None, 2)]
    text: Annotated[NDArray[np.str_], (None,)]


class Model:
    def load(self, folder: Path) -> None:
        self.bias = np.load(folder / "bias.npy")

    def predict(
        self,
        x: Annotated[NDArray[np.float32], (None, 2)],
        word: Annotated[NDArray[np.str_], (None,)],
    ) -> Answer:
        return Answer(x / 2 + self.bias[0], shouted(word))
"""
BESIDE = """\
import numpy as np


def shouted(words: np.ndarray) -> np.ndarray:
    return np.array([word.upper() for word in words], object)
"""
X = np.array([[1, 2], [5, -3], [0, 7]], np.float32)
WORDS = np.array([b"one", "zw\u00f6lf".encode(), b""], object)


def make(folder: Path, variant: int) -> Arrays:
    _write(folder, np.array([2.0 * variant], np.float32))
    shouted = np.array([word.decode().upper().encode() for word in WORDS], object)
    return {"y": X / 2 + np.float32(2 * variant), "text": shouted}


def make_large(folder: Path, size: int) -> None:
    _write(folder, np.ones(size // 4, np.float32))


def _write(folder: Path, bias: np.ndarray) -> None:
    (folder / "model.py").write_text(SOURCE)
    (folder / "words.py").write_text(BESIDE)
    (folder / "requirements.txt").write_text("numpy>=2\n")
    np.save(folder / "bias.npy", bias)


CASE = BackendCase(
    platform="python",
    make=make,
    make_large=make_large,
    inputs={"x": X, "word": WORDS},
    model_file="model.py",
)
