"""Words and numbers side by side, and labels that are words."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import replaced

_RNG = np.random.default_rng(10)
_WORDS = np.array(["rot", "grün", "blau"])
SIZE = np.array([0.1, np.nan, -0.4, 2, 0.3], np.float32)
COLOUR = np.array([b"rot", "grün".encode(), b"blau", b"purple", b""], object)
FLOOR = np.array([b"1", b"2", b"3", b"1", b"9"], object)


def make(folder: Path, variant: int) -> Arrays:
    import pandas

    colour = _WORDS[_RNG.integers(0, 3, 300)]
    size = _RNG.normal(size=300).astype(np.float32)
    frame = pandas.DataFrame({"size": size, "colour": colour, "floor": [1, 2, 3] * 100})
    model = _model(variant)
    model.fit(frame, np.where((colour == "rot") ^ (size > 0), "yes", "no"))
    model.save_model(str(folder / "model.cbm"))
    colours, floors = ([each.decode() for each in column] for column in (COLOUR, FLOOR))
    asked = pandas.DataFrame({"size": SIZE, "colour": colours, "floor": floors})
    classes = np.array([each.encode() for each in model.predict(asked)], object)
    return {"classes": classes, "probabilities": model.predict_proba(asked)}


def _model(variant: int) -> Any:
    import catboost

    return catboost.CatBoostClassifier(
        iterations=10 * variant,
        depth=3,
        cat_features=["colour", "floor"],
        verbose=False,
        thread_count=1,
        allow_writing_files=False,
    )


CASE = BackendCase(
    platform="catboost",
    make=make,
    inputs={"size": SIZE, "colour": COLOUR, "floor": FLOOR},
    labels=["no", "yes"],
    scores=itemgetter("probabilities"),
    model_file="model.cbm",
    newer=replaced(b"CBM1", b"CBM9"),
    frameworks=["catboost"],
)
