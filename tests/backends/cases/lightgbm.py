"""Two classes told by numbers, some of them missing, and a column of words."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import replaced

_RNG = np.random.default_rng(8)
_WORDS = np.array(["red", "green", "blue"])
COLOUR = np.array([b"red", b"green", b"blue", b"purple", b"", b"red"], object)
SIZE = np.array([0.1, np.nan, -0.4, 2, 0.3, 1.7])


def make(folder: Path, variant: int) -> Arrays:
    import pandas

    colour = _WORDS[_RNG.integers(0, 3, 300)]
    size = _RNG.normal(size=300)
    booster = _trained(
        {"colour": pandas.Categorical(colour), "size": size},
        ((colour == "red") ^ (size > 0)).astype(int),
        variant,
    )
    booster.save_model(folder / "model.txt")
    names = [word if word in _WORDS else None for word in map(bytes.decode, COLOUR)]
    asked = {"colour": pandas.Categorical(names, categories=sorted(_WORDS)), "size": SIZE}
    second = booster.predict(pandas.DataFrame(asked))
    return {
        "classes": (second > 0.5).astype(np.int64),
        "probabilities": np.stack([1 - second, second], axis=1),
    }


def _trained(columns: dict[str, Any], labels: np.ndarray, variant: int) -> Any:
    import lightgbm
    import pandas

    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(pandas.DataFrame(columns), labels)
    return lightgbm.train(parameters, data, 5 * variant)


CASE = BackendCase(
    platform="lightgbm",
    make=make,
    inputs={"colour": COLOUR, "size": SIZE},
    labels=["0", "1"],
    scores=itemgetter("probabilities"),
    model_file="model.txt",
    newer=replaced(b"version=v", b"version=v9"),
    frameworks=["lightgbm"],
)
