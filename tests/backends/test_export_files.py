"""Models of other frameworks exported in the formats that their backends read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.registry import Backends
from salver.errors import InvalidArgument, ServingError
from salver.export import Exported, Predict, export_model
from salver.inspection.finding import newest_version
from salver.inspection.opening import OpenOptions, opened

RANDOM = np.random.default_rng(4)
ROWS = RANDOM.normal(size=(200, 3))
LABELS = np.where(ROWS[:, 0] + ROWS[:, 1] > 0, "above", "below")


def exported(model: Any, folder: Path, **choices: Any) -> Exported:
    return export_model(model, folder / "m", verbose=False, **choices)


def answers(folder: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    backends = Backends()
    with opened(newest_version(str(folder / "m"), backends), OpenOptions(), backends) as model:
        return model.run(inputs)


def classifier_of(framework: str) -> Any:
    module = pytest.importorskip(framework)
    if framework == "sklearn":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression())
    if framework == "lightgbm":
        return module.LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1)
    if framework == "catboost":
        return module.CatBoostClassifier(
            iterations=5, verbose=False, allow_writing_files=False, thread_count=1
        )
    return module.XGBClassifier(n_estimators=5, n_jobs=1)


FILES = {
    "sklearn": ["model.skops"],
    "xgboost": ["model.ubj"],
    "lightgbm": ["labels.txt", "model.txt"],
    "catboost": ["model.cbm"],
}


@pytest.mark.parametrize("framework", FILES)
def test_a_fitted_classifier_is_served_as_it_was_trained(tmp_path: Path, framework: str) -> None:
    # XGBoost takes numbers alone for classes.
    labels = (LABELS == "above").astype(int) if framework == "xgboost" else LABELS
    model = classifier_of(framework)
    model.fit(ROWS, labels)
    kind = np.float32 if framework in ("xgboost", "catboost") else np.float64
    asked = ROWS[:7].astype(kind)
    found = exported(model, tmp_path, warm_up=[{"inputs": ROWS[:2]}])

    assert sorted(path.name for path in Path(found.path).iterdir()) == [
        "assets.extra",
        *FILES[framework],
    ]
    outputs = answers(tmp_path, {"inputs": asked})
    expected = model.predict(ROWS[:7])
    if framework != "xgboost":
        expected = np.array([each.encode() for each in expected], object)
    assert outputs["classes"].tolist() == expected.tolist()
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(asked), rtol=1e-4)
    assert "signature serving_default: predict" in str(found)
    assert str(found).endswith("warm-up requests: 1")


def test_a_booster_without_names_of_classes_has_none_made_up(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(ROWS, (LABELS == "above").astype(int))
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 2)
    found = exported(booster, tmp_path)

    assert [path.name for path in Path(found.path).iterdir()] == ["model.txt"]
    assert answers(tmp_path, {"inputs": ROWS[:2]})["classes"].dtype == np.int64


def test_an_exported_program_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(4, 2).eval()
    rows = torch.export.Dim("rows")
    sample = torch.ones(2, 4)
    program = torch.export.export(model, (sample,), dynamic_shapes=({0: rows},))
    exported(program, tmp_path)

    x = np.ones((5, 4), np.float32)
    expected = model(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(answers(tmp_path, {"input": x})["output_0"], expected, rtol=1e-5)


def test_a_module_of_pytorch_is_to_be_exported_first(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(InvalidArgument, match=r"give torch\.export\.export"):
        exported(torch.nn.Linear(4, 2), tmp_path)
    assert not (tmp_path / "m").exists()


def test_signatures_are_what_the_file_says(tmp_path: Path) -> None:
    model = classifier_of("sklearn")
    model.fit(ROWS, LABELS)
    with pytest.raises(InvalidArgument, match="for models of TensorFlow and Keras"):
        exported(model, tmp_path, signatures=Predict())


def test_an_estimator_that_is_not_fitted_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="does not tell how many features it takes"):
        exported(classifier_of("sklearn"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_the_operator_must_allow_is_told_and_exported(tmp_path: Path) -> None:
    pytest.importorskip("skops")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    model = make_pipeline(FunctionTransformer(doubled), classifier_of("sklearn"))
    model.fit(ROWS, LABELS)
    found = exported(model, tmp_path)

    assert "--skops_trusted_types=" in found.caution
    assert "caution: " in str(found)
    assert (Path(found.path) / "model.skops").exists()


def doubled(rows: np.ndarray) -> np.ndarray:
    return rows * 2


# Keras itself, where it saves with NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_elsewhere_than_on_tensorflow_writes_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = pytest.importorskip("keras")
    # As it says of itself where it runs on JAX or PyTorch, which would be slow to import for this.
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)])
    found = exported(model, tmp_path)

    assert [path.name for path in Path(found.path).iterdir()] == ["model.keras"]
    assert list(found.signatures["serving_default"].outputs) == ["output_0"]
