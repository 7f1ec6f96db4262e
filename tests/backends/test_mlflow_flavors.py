"""Each flavor of MLflow that a backend here reads, and some that only MLflow does: saved by it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.mlflow import BACKEND, MlflowLoader
from salver.core.backend import BackendOptions
from salver.core.data_type import numpy_type_of
from salver.core.servable import Servable
from salver.errors import InvalidArgument, PermissionDenied
from tests.backends.asking import ask, example, texts
from tests.mlflow_models import ANSWERS, X

mlflow = pytest.importorskip("mlflow")
pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("ignore")

Load = Callable[..., Servable]
ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
CLASSES = np.where(ROWS["a"] > ROWS["b"], 1, 0)
EXAMPLES = texts(*(example(b=[row.b], a=[row.a]) for row in ROWS.head(5).itertuples()))
NEEDS = {"keras": "keras", "tensorflow": "tensorflow", "torch": "torch"}


@pytest.fixture
def load() -> Iterator[Load]:
    """Loads a model folder of MLflow; without any consent, if none is given."""
    loaders: list[MlflowLoader] = []

    def load(folder: Path, **options: Any) -> Servable:
        loaders.append(BACKEND.loader(str(folder), BackendOptions(model_name="m", **options)))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the models of `tests.mlflow_models`."""
    for needed in NEEDS.values():
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    command = [sys.executable, "-m", "tests.mlflow_models", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def columns_of(servable: Servable, rows: Any) -> dict[str, np.ndarray]:
    """The rows as the default signature takes them."""
    inputs = servable.signatures["serving_default"].inputs
    return {
        name: rows[name].to_numpy().astype(numpy_type_of(spec.data_type))
        for name, spec in inputs.items()
    }


@pytest.mark.parametrize(
    "name",
    [
        "keras",
        "keras_exported",
        "tensorflow_keras",
        "tensorflow_module",
        "torch_exported",
        "torch_script",
    ],
)
def test_deep_learning_is_served_by_its_own_backend(deep: Path, load: Load, name: str) -> None:
    servable = load(deep / name)

    (found,) = ask(servable, {"inputs": X}).values()

    np.testing.assert_allclose(found, np.load(deep / ANSWERS)[name], 1e-5)


def test_a_pickled_module_is_mlflow_s_and_needs_both_consents(deep: Path, load: Load) -> None:
    for consent in ({}, {"allow_python_code": True}, {"allow_pickle": True}):
        with pytest.raises(PermissionDenied):
            load(deep / "torch_module", **consent)
    servable = load(deep / "torch_module", allow_python_code=True, allow_pickle=True)

    (found,) = ask(servable, {"inputs": X}).values()

    np.testing.assert_allclose(found, np.load(deep / ANSWERS)["torch_module"], 1e-5)


def test_torchscript_that_is_cut_short_is_a_clear_error(
    deep: Path, load: Load, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "MLmodel").write_bytes((deep / "torch_script" / "MLmodel").read_bytes())
    content = (deep / "torch_script" / "data" / "model.pth").read_bytes()
    (tmp_path / "data" / "model.pth").write_bytes(content[: len(content) // 2])

    with pytest.raises(InvalidArgument, match=r"model\.pth is no PyTorch archive"):
        load(tmp_path)


def assert_classifier(servable: Servable, model: Any) -> None:
    """The servable answers as the model does, to columns and to examples."""
    rows = ROWS.head(5)
    found = ask(servable, columns_of(servable, rows))
    probabilities = model.predict_proba(rows)
    classes = np.asarray(model.predict(rows))
    names = {"classes": classes, "probabilities": probabilities, "predictions": classes}
    assert found
    for name, array in found.items():
        np.testing.assert_allclose(array, names[name], 1e-5)
    asked = ask(servable, {"inputs": EXAMPLES}, "classify")
    assert asked["classes"].tolist() == [[b"0", b"1"]] * 5
    np.testing.assert_allclose(asked["scores"], probabilities, 1e-4)


@pytest.mark.parametrize("form", ["skops", "cloudpickle", "pickle"])
def test_scikit_learn_is_served_by_its_own_backend(tmp_path: Path, load: Load, form: str) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LogisticRegression().fit(ROWS, CLASSES)
    signature = mlflow.models.infer_signature(ROWS, model.predict(ROWS))
    mlflow.sklearn.save_model(
        model, tmp_path / "m", serialization_format=form, signature=signature, pip_requirements=[]
    )
    if form != "skops":
        with pytest.raises(PermissionDenied, match="--allow_pickle"):
            load(tmp_path / "m")

    servable = load(tmp_path / "m", allow_pickle=form != "skops")

    assert_classifier(servable, model)
    # What else the estimator can do is asked in the same way.
    found = ask(servable, columns_of(servable, ROWS), "decision_function")
    np.testing.assert_allclose(found["scores"], model.decision_function(ROWS), 1e-5)


@pytest.mark.parametrize("flavor", ["catboost", "xgboost"])
def test_classifiers_of_boosted_trees_are_served_by_their_own_backend(
    tmp_path: Path, load: Load, flavor: str
) -> None:
    framework = pytest.importorskip(flavor)
    model = (
        framework.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False)
        if flavor == "catboost"
        else framework.XGBClassifier(n_estimators=3)
    ).fit(ROWS, CLASSES)
    signature = mlflow.models.infer_signature(ROWS, model.predict(ROWS))
    getattr(mlflow, flavor).save_model(
        model, tmp_path / "m", signature=signature, pip_requirements=[]
    )

    assert_classifier(load(tmp_path / "m"), model)


def test_a_classifier_that_only_mlflow_reads_answers_classify(tmp_path: Path, load: Load) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(ROWS, CLASSES)
    signature = mlflow.models.infer_signature(ROWS, model.predict(ROWS))
    mlflow.lightgbm.save_model(model, tmp_path / "m", signature=signature, pip_requirements=[])
    with pytest.raises(PermissionDenied, match="--allow_python_code"):
        load(tmp_path / "m")

    assert_classifier(load(tmp_path / "m", allow_python_code=True, allow_pickle=True), model)


def test_a_function_with_one_number_for_each_row_answers_regress(
    tmp_path: Path, load: Load
) -> None:
    source = tmp_path / "code_of_model.py"
    source.write_text(
        "import mlflow\n\n\n"
        "class Sum(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        size = model_input['word'].map(lambda word: len(word or ''))\n"
        "        return (model_input['a'] + model_input['n'] + size).to_numpy(float)\n\n\n"
        "mlflow.models.set_model(Sum())\n"
    )
    rows = pd.DataFrame({"a": [1.5], "n": [2], "word": ["x"]})
    signature = mlflow.models.infer_signature(rows, np.array([1.0]))
    mlflow.pyfunc.save_model(
        tmp_path / "m", python_model=str(source), signature=signature, pip_requirements=[]
    )
    servable = load(tmp_path / "m", allow_python_code=True, allow_pickle=True)
    examples = texts(example(a=[1.5], n=[2], word=[b"four"]), example(n=[7], word=["ü".encode()]))

    found = ask(servable, {"inputs": examples}, "regress")

    np.testing.assert_array_equal(found["outputs"], [7.5, np.nan])
    with pytest.raises(InvalidArgument, match='missing: feature "n" of example 0'):
        ask(servable, {"inputs": texts(example(a=[1.0], word=[b"x"]))}, "regress")
