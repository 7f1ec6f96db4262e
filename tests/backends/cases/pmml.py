"""A PMML document with numbers, words and what is missing, answered by PMML4S alone."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import replaced
from tests.pmml_models import large_tree, logistic_regression

INPUTS: Arrays = {
    "age": np.array([33.5, 51.0, 49.0, np.nan]),
    "visits": np.array([3, 0, 12, 7], np.int64),
    "colour": np.array([b"red", b"blue", "gr\u00fcn".encode(), b""], object),
}


def make(folder: Path, variant: int) -> Arrays:
    from pypmml import Model, PMMLContext

    path = folder / "model.pmml"
    path.write_text(logistic_regression(intercept=-30.0 - variant), "utf-8")
    PMMLContext.getOrCreate(gateway="jpype")
    model = Model.load(str(path))
    model.setSupplementOutput(True)
    rows = [model.predict(_values(row, model.inputNames)) for row in range(4)]
    columns = dict(zip(map(str, model.outputNames), zip(*rows, strict=True), strict=True))
    classes = columns.pop("predicted_y")
    answers = {
        name: np.array([float(value) for value in values]) for name, values in columns.items()
    }
    answers["predicted_y"] = np.array([str(value).encode() for value in classes], object)
    return answers


def _values(row: int, names: Any) -> list[Any]:
    """As PMML4S takes a row: None is missing."""
    values = [INPUTS[str(name)][row] for name in names]
    return [
        (value.decode() or None) if isinstance(value, bytes) else value.item() for value in values
    ]


def make_large(folder: Path, size: int) -> None:
    (folder / "model.pmml").write_text(large_tree(leaves=size // 160), "utf-8")


CASE = BackendCase(
    platform="pmml",
    make=make,
    make_large=make_large,
    inputs=INPUTS,
    labels=["no", "yes"],
    scores=lambda answers: np.stack(
        [answers["probability(no)"], answers["probability(yes)"]], axis=1
    ),
    model_file="model.pmml",
    newer=replaced(b'version="4.4"', b'version="5.0"'),
    frameworks=["jpype"],
)
