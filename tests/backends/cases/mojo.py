"""A MOJO of gradient boosted trees: numbers, categories, and what is missing or new."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import member_changed, replaced
from tests.h2o_models import COLUMNS, answers, frame, h2o_server, save, training_rows

INPUTS: Arrays = {
    "age": np.array([33.5, 51.0, 49.0, 70.25]),
    "income": np.array([40.0, 55.5, np.nan, 60.0]),
    "colour": np.array([b"red", b"blue", "gr\u00fcn".encode(), b"purple"], object),
}


REGRESSION = "regression"
"""Beside the variants: a model of numbers with an offset, and its answers in `ANSWERS`."""
ANSWERS = "answers.json"
OFFSETS = [0.5, -2.0, 10.0, 3.0]


def make(folder: Path, variant: int) -> Arrays:
    h2o = h2o_server()
    if variant == 1:
        _make_regression(h2o, folder.with_name(REGRESSION))
    model = h2o.estimators.H2OGradientBoostingEstimator(ntrees=3 + variant, seed=1)
    table = frame(h2o, training_rows(shift=5.0 * variant))
    model.train(x=list(COLUMNS), y="y", training_frame=table)
    save(model, folder / "model.zip")
    return answers(model, frame(h2o, _rows()))


def _rows() -> dict[str, list[Any]]:
    return {
        "age": INPUTS["age"].tolist(),
        "income": [None if np.isnan(value) else value for value in INPUTS["income"]],
        "colour": [text.decode() for text in INPUTS["colour"]],
    }


def _make_regression(h2o: Any, folder: Path) -> None:
    folder.mkdir()
    rows = training_rows()
    table = frame(h2o, {**rows, "base": [age / 10 for age in rows["age"]]})
    model = h2o.estimators.H2OGradientBoostingEstimator(
        ntrees=3, seed=1, distribution="gaussian", offset_column="base"
    )
    model.train(x=list(COLUMNS), y="z", training_frame=table)
    save(model, folder / "model.zip")
    found = answers(model, frame(h2o, {**_rows(), "base": OFFSETS}))["predict"]
    (folder / ANSWERS).write_text(json.dumps(found.tolist()))


CASE = BackendCase(
    platform="mojo",
    make=make,
    inputs=INPUTS,
    labels=["no", "yes"],
    scores=lambda answers: np.stack([answers["no"], answers["yes"]], axis=1),
    model_file="model.zip",
    newer=member_changed("model.ini", replaced(b"mojo_version = 1.", b"mojo_version = 9.")),
    frameworks=["jpype"],
    needs="h2o",
)
