"""PMML that models of scikit-learn are exported as, by the converter that people use for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.pmml import BACKEND
from salver.core.backend import BackendOptions
from salver.core.servable import Servable
from tests.backends.asking import ask, example, texts

pytest.importorskip("jpype")
pd = pytest.importorskip("pandas")
sklearn2pmml = pytest.importorskip("sklearn2pmml")

Export = Callable[[Any, Any, str], Servable]

_RNG = np.random.default_rng(3)
ROWS = pd.DataFrame({
    "age": _RNG.uniform(18, 80, 200), "floor": _RNG.integers(1, 4, 200),
    "city": _RNG.choice(["Bern", "Z\u00fcrich"], 200),
})  # fmt: skip
ROWS.loc[::11, "age"] = np.nan
ASKED = ROWS.head(23)
EXAMPLES = texts(
    *(
        example(
            floor=[int(row.floor)],
            city=[row.city.encode()],
            **({} if np.isnan(row.age) else {"age": [row.age]}),
        )
        for row in ASKED.itertuples()
    )
)


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Export]:
    """Fits an estimator behind columns of numbers and words, exports it, and loads the PMML."""
    from sklearn import base, compose, impute, pipeline, preprocessing
    from sklearn2pmml.pipeline import PMMLPipeline

    loader = BACKEND.loader(str(tmp_path), BackendOptions(model_name="m"))
    # The converter only knows the first release of each minor version.
    release = ".".join([*base.__version__.split(".")[:2], "0"])
    monkeypatch.setattr(base, "__version__", release)

    def export(model: Any, target: Any, name: str) -> Servable:
        numbers = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
        columns = compose.ColumnTransformer([
            ("numbers", numbers, ["age"]),
            ("words", preprocessing.OneHotEncoder(), ["city", "floor"]),
        ])  # fmt: skip
        whole = PMMLPipeline([("columns", columns), ("model", model)])
        whole.fit(ROWS, pd.Series(target, name=name))
        sklearn2pmml.sklearn2pmml(whole, str(tmp_path / "model.pmml"))
        export.model = whole  # type: ignore[attr-defined]
        return loader.load()

    yield export
    loader.unload()


def columns() -> dict[str, np.ndarray]:
    cities = texts(*(city.encode() for city in ASKED["city"]))
    return {"age": ASKED["age"].to_numpy(), "floor": ASKED["floor"].to_numpy(), "city": cities}


def test_a_classifier_answers_as_scikit_learn_does(export: Export) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    likes = np.where((ROWS["age"].fillna(50) > 45) ^ (ROWS["city"] == "Bern"), "yes", "no")

    servable = export(linear.LogisticRegression(), likes, "likes")

    model = export.model  # type: ignore[attr-defined]
    probabilities = model.predict_proba(ASKED)
    found = ask(servable, columns())
    assert found["predicted_likes"].tolist() == [c.encode() for c in model.predict(ASKED)]
    np.testing.assert_allclose(found["probability(no)"], probabilities[:, 0], 1e-9)
    np.testing.assert_allclose(found["probability(yes)"], probabilities[:, 1], 1e-9)
    found = ask(servable, {"inputs": EXAMPLES}, "classify")
    assert found["classes"].tolist() == [[b"no", b"yes"]] * len(ASKED)
    np.testing.assert_allclose(found["scores"], probabilities, 1e-5)


def test_boosted_trees_answer_as_scikit_learn_does(export: Export) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    price = ROWS["age"].fillna(50) * 2 + ROWS["floor"] * (ROWS["city"] == "Bern")

    servable = export(ensemble.GradientBoostingRegressor(n_estimators=10), price, "price")

    expected = export.model.predict(ASKED)  # type: ignore[attr-defined]
    # A column that no tree looks at is not in the document.
    used = servable.signatures["serving_default"].inputs
    asked = {name: array for name, array in columns().items() if name in used}
    np.testing.assert_allclose(ask(servable, asked)["predicted_price"], expected, 1e-5)
    found = ask(servable, {"inputs": EXAMPLES}, "regress")
    np.testing.assert_allclose(found["outputs"], expected, 1e-5)
