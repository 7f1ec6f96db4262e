"""A MOJO of gradient boosted trees: numbers, categories, and what is missing or new."""

from pathlib import Path

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.h2o_models import COLUMNS, answers, frame, h2o_server, save, training_rows

INPUTS: Arrays = {
    "age": np.array([33.5, 51.0, 49.0, 70.25]),
    "income": np.array([40.0, 55.5, np.nan, 60.0]),
    "colour": np.array([b"red", b"blue", "gr\u00fcn".encode(), b"purple"], object),
}


def make(folder: Path, variant: int) -> Arrays:
    h2o = h2o_server()
    model = h2o.estimators.H2OGradientBoostingEstimator(ntrees=3 + variant, seed=1)
    table = frame(h2o, training_rows(shift=5.0 * variant))
    model.train(x=list(COLUMNS), y="y", training_frame=table)
    save(model, folder / "model.zip")
    rows = {
        "age": INPUTS["age"].tolist(),
        "income": [None if np.isnan(value) else value for value in INPUTS["income"]],
        "colour": [text.decode() for text in INPUTS["colour"]],
    }
    return answers(model, frame(h2o, rows))


CASE = BackendCase(
    platform="mojo",
    make=make,
    inputs=INPUTS,
    model_file="model.zip",
    frameworks=["jpype"],
    needs="h2o",
)
