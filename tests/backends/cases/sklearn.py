"""A pipeline over named columns of words and numbers, as one is trained on a data frame."""

from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import member_changed, replaced

_RNG = np.random.default_rng(9)
_CITIES = np.array(["Bern", "Genf", "Zürich"])
AGE = np.array([31.5, 44, np.nan, 17, 80])
CITY = np.array([b"Bern", "Zürich".encode(), b"Genf", b"elsewhere", b"Bern"], object)
FLOOR = np.array([1, 2, 3, 1, 2], np.int64)


def make(folder: Path, variant: int) -> Arrays:
    import pandas
    import skops.io

    model = _pipeline(0.1 * variant)
    ages = _RNG.uniform(10, 90, 200)
    frame = pandas.DataFrame(
        {"age": ages, "city": _CITIES[_RNG.integers(0, 3, 200)], "floor": [1, 2, 3, 2] * 50}
    )
    frame.loc[::11, "age"] = np.nan
    model.fit(frame, np.where((ages > 40) ^ (frame["city"] == "Bern"), "yes", "no"))
    skops.io.dump(model, folder / "model.skops")
    cities = [city.decode() for city in CITY]
    asked = pandas.DataFrame({"age": AGE, "city": cities, "floor": FLOOR})
    classes = np.array([each.encode() for each in model.predict(asked)], object)
    return {"classes": classes, "probabilities": model.predict_proba(asked)}


def _pipeline(strength: float) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = OneHotEncoder(handle_unknown="ignore")
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [("numbers", numbers, ["age"]), ("words", words, ["city", "floor"])]
    )
    return make_pipeline(columns, LogisticRegression(C=strength))


CASE = BackendCase(
    platform="sklearn",
    make=make,
    inputs={"age": AGE, "city": CITY, "floor": FLOOR},
    labels=["no", "yes"],
    scores=itemgetter("probabilities"),
    model_file="model.skops",
    newer=member_changed("schema.json", replaced(b'"protocol": ', b'"protocol": 9')),
    frameworks=["sklearn", "skops", "pandas"],
    in_server=True,
)
