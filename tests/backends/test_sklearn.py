import io
import logging
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.registry import Backends
from salver.core.data_type import DataType
from salver.errors import Code, ServingError
from tests.backends.asking import LoadFolder, ask, example, texts

sklearn = pytest.importorskip("sklearn")
skops = pytest.importorskip("skops.io")
pandas = pytest.importorskip("pandas")

from sklearn.calibration import CalibratedClassifierCV  # noqa: E402 - after it was looked for
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

_RNG = np.random.default_rng(3)
X = _RNG.normal(size=(120, 3))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
NAMES = ["age", "height", "weight"]

CLASSIFIERS = [
    LogisticRegression(),
    RandomForestClassifier(5, n_jobs=-1),
    DecisionTreeClassifier(),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3, categorical_features=[2]),
    KNeighborsClassifier(),
    KNeighborsClassifier(algorithm="ball_tree"),
    MLPClassifier(max_iter=500, tol=0.1),
    make_pipeline(StandardScaler(), RandomForestClassifier(3)),
    CalibratedClassifierCV(RandomForestClassifier(3), cv=2),
]


def saved(model: Any, folder: Path, x: Any = X, y: Any = Y) -> Any:
    model.fit(x, y)
    skops.dump(model, folder / "model.skops")
    return model


def table(categories: bool = False) -> np.ndarray:
    found = X.copy()
    if categories:
        found[:, 2] = np.arange(len(X)) % 4
    return found


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
def test_a_classifier_answers_with_classes_and_probabilities(
    load: LoadFolder, tmp_path: Path, model: Any
) -> None:
    rows = table(isinstance(model, HistGradientBoostingClassifier))
    saved(model, tmp_path, rows)
    servable = load("sklearn", tmp_path)

    found = ask(servable, {"inputs": rows})

    np.testing.assert_array_equal(found["classes"], model.predict(rows))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows))
    assert found["classes"].dtype == np.int64
    only = ask(servable, {"inputs": rows}, "predict")
    np.testing.assert_array_equal(only["classes"], model.predict(rows))
    probabilities = ask(servable, {"inputs": rows}, "predict_proba")["probabilities"]
    np.testing.assert_allclose(probabilities, model.predict_proba(rows))


def test_a_classifier_without_probabilities_has_scores(load: LoadFolder, tmp_path: Path) -> None:
    model = saved(LinearSVC(), tmp_path, X, np.where(X[:, 0] > 0, "yes", "no"))
    servable = load("sklearn", tmp_path)

    assert set(servable.signatures["serving_default"].outputs) == {"classes"}
    scores = ask(servable, {"inputs": X}, "decision_function")["scores"]
    np.testing.assert_allclose(scores, model.decision_function(X))
    examples = texts(example(inputs=X[0].tolist()))
    found = ask(servable, {"inputs": examples}, "classify")
    assert found["classes"].tolist() == [[b"no", b"yes"]]
    np.testing.assert_allclose(found["scores"][0], [-scores[0], scores[0]], 1e-6)


def test_strings_come_out_as_strings(load: LoadFolder, tmp_path: Path) -> None:
    saved(LogisticRegression(), tmp_path, X, np.where(X[:, 0] > 0, "größer", "kleiner"))

    found = ask(load("sklearn", tmp_path), {"inputs": np.array([[9, 0, 0]], float)})

    assert found["classes"].tolist() == ["größer".encode()]


def test_a_regression(load: LoadFolder, tmp_path: Path) -> None:
    model = saved(RandomForestRegressor(5), tmp_path, X, X[:, 0] * 2)
    servable = load("sklearn", tmp_path)

    np.testing.assert_allclose(ask(servable, {"inputs": X})["outputs"], model.predict(X))
    examples = texts(*(example(inputs=row.tolist()) for row in X[:4]))
    found = ask(servable, {"inputs": examples}, "regress")["outputs"]
    rows = X[:4].astype(np.float32)
    np.testing.assert_allclose(found, model.predict(rows), 1e-6)


def test_several_targets(load: LoadFolder, tmp_path: Path) -> None:
    regression = saved(LinearRegression(), tmp_path, X, X[:, :2])
    servable = load("sklearn", tmp_path)
    np.testing.assert_allclose(ask(servable, {"inputs": X})["outputs"], regression.predict(X))
    assert "regress" not in servable.signatures

    forest = saved(RandomForestClassifier(3), tmp_path, X, np.stack([Y, Y > 0], axis=1))
    found = ask(load("sklearn", tmp_path), {"inputs": X})
    np.testing.assert_array_equal(found["classes"], forest.predict(X))
    for i, expected in enumerate(forest.predict_proba(X)):
        np.testing.assert_allclose(found[f"probabilities_{i}"], expected)


@pytest.mark.parametrize("model", [PCA(2), KMeans(3, n_init=1), IsolationForest(n_estimators=3)])
def test_models_without_targets(load: LoadFolder, tmp_path: Path, model: Any) -> None:
    saved(model, tmp_path, X, None)
    servable = load("sklearn", tmp_path)

    run = model.transform if isinstance(model, PCA) else model.predict
    np.testing.assert_allclose(ask(servable, {"inputs": X})["outputs"], run(X))
    if hasattr(model, "transform"):
        found = ask(servable, {"inputs": X}, "transform")["outputs"]
        np.testing.assert_allclose(found, model.transform(X))


def test_texts(load: LoadFolder, tmp_path: Path) -> None:
    words = ["good and fine", "bad and ugly"] * 20
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    saved(model, tmp_path, words, [1, 0] * 20)
    servable = load("sklearn", tmp_path)

    asked = ["fine, but ugly", "", "good"]
    found = ask(servable, {"inputs": texts(*map(str.encode, asked))})

    np.testing.assert_allclose(found["probabilities"], model.predict_proba(asked))
    examples = texts(example(inputs=[b"good"]))
    scores = ask(servable, {"inputs": examples}, "classify")["scores"]
    np.testing.assert_allclose(scores, model.predict_proba(["good"]), 1e-6)


def test_a_sparse_result_is_made_dense(load: LoadFolder, tmp_path: Path) -> None:
    words = np.array([["a", "x"], ["b", "y"]] * 5, object)
    model = saved(OneHotEncoder(), tmp_path, words, None)
    servable = load("sklearn", tmp_path)

    found = ask(servable, {"inputs": np.array([[b"a", b"y"]], object)})["outputs"]

    assert servable.signatures["serving_default"].inputs["inputs"].data_type is DataType.STRING
    np.testing.assert_array_equal(found, model.transform([["a", "y"]]).toarray())


def test_names_of_numbers_are_a_matrix_or_columns(load: LoadFolder, tmp_path: Path) -> None:
    model = saved(LogisticRegression(), tmp_path, pandas.DataFrame(X, columns=NAMES))
    servable = load("sklearn", tmp_path)
    expected = model.predict_proba(pandas.DataFrame(X, columns=NAMES))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ask(servable, {"inputs": X})

    np.testing.assert_allclose(found["probabilities"], expected)
    columns = dict(zip(NAMES, X.T, strict=True))
    found = ask(servable, columns, "columns")
    np.testing.assert_allclose(found["probabilities"], expected)


def test_columns_of_several_types(load: LoadFolder, tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"weight": X[:, 0], "kind": ["a", "b", "c"] * 40, "floor": [1, 2, 3, 4] * 30}
    )
    encoded = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore"), ["kind", "floor"])],
        remainder="passthrough",
    )
    model = saved(make_pipeline(encoded, LogisticRegression()), tmp_path, frame)
    servable = load("sklearn", tmp_path)
    columns = {
        "kind": texts(*map(str.encode, frame["kind"])),
        "floor": np.asarray(frame["floor"], np.int64),
        "weight": X[:, 0],
    }

    found = ask(servable, columns)

    np.testing.assert_allclose(found["probabilities"], model.predict_proba(frame))
    kinds = {k: s.data_type for k, s in servable.signatures["serving_default"].inputs.items()}
    assert kinds == {
        "weight": DataType.DOUBLE, "kind": DataType.STRING, "floor": DataType.INT64
    }  # fmt: skip
    examples = texts(example(kind=[b"a"], floor=[2], weight=[0.5]))
    scores = ask(servable, {"inputs": examples}, "classify")["scores"]
    row = pandas.DataFrame({"weight": [0.5], "kind": ["a"], "floor": [2]})
    np.testing.assert_allclose(scores, model.predict_proba(row), 1e-6)


def test_categories_of_histograms_come_as_words(load: LoadFolder, tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"kind": pandas.Categorical(["a", "b", "c", "a"] * 30), "weight": X[:, 0]}
    )
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=["kind"])
    saved(model, tmp_path, frame, [0, 1, 1, 0] * 30)
    columns = {"kind": texts(*map(str.encode, frame["kind"])), "weight": X[:, 0]}

    found = ask(load("sklearn", tmp_path), columns)

    np.testing.assert_allclose(found["probabilities"], model.predict_proba(frame))


def test_a_missing_feature_is_named_where_the_model_needs_it(
    load: LoadFolder, tmp_path: Path
) -> None:
    saved(LogisticRegression(), tmp_path, pandas.DataFrame(X, columns=NAMES))
    servable = load("sklearn", tmp_path)
    examples = texts(example(age=[1.0], height=[1.0], weight=[1.0]), example(age=[1.0], weight=[2]))

    with pytest.raises(ServingError, match='missing: feature "height" of example 1') as raised:
        ask(servable, {"inputs": examples}, "classify")

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_a_missing_feature_is_a_missing_value_where_the_model_takes_it(
    load: LoadFolder, tmp_path: Path
) -> None:
    frame = pandas.DataFrame(X, columns=NAMES)
    model = saved(HistGradientBoostingClassifier(max_iter=3), tmp_path, frame)

    found = ask(load("sklearn", tmp_path), {"inputs": texts(example(age=[1.0]))}, "classify")

    row = pandas.DataFrame([[1.0, np.nan, np.nan]], columns=NAMES)
    np.testing.assert_allclose(found["scores"], model.predict_proba(row), 1e-6)


def test_the_number_of_features_is_checked(load: LoadFolder, tmp_path: Path) -> None:
    saved(LogisticRegression(), tmp_path)

    with pytest.raises(ServingError, match=r'input "inputs" to have shape \[\?,3\]'):
        ask(load("sklearn", tmp_path), {"inputs": np.zeros((1, 4))})


def test_a_value_that_the_model_refuses_is_an_invalid_argument(
    load: LoadFolder, tmp_path: Path
) -> None:
    saved(LogisticRegression(), tmp_path)

    with pytest.raises(ServingError, match="NaN") as raised:
        ask(load("sklearn", tmp_path), {"inputs": np.full((1, 3), np.nan)})

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_another_version_is_one_line_in_the_log(
    load: LoadFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(make_pipeline(StandardScaler(), LogisticRegression()), tmp_path)
    rewrite(tmp_path, lambda text: text.replace(f'\\"{sklearn.__version__}\\"', '\\"1.2.3\\"'))

    with caplog.at_level(logging.WARNING):
        load("sklearn", tmp_path)

    (record,) = caplog.records
    assert "Model m was saved with scikit-learn 1.2.3" in record.getMessage()


def rewrite(folder: Path, change: Any) -> None:
    """Change the text that says what a skops archive holds."""
    path = folder / "model.skops"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["schema.json"] = change(entries["schema.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


class Bomb:
    """Opens a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib"])
def test_a_pickle_is_not_touched_unless_allowed(
    load: LoadFolder, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))

    with pytest.raises(ServingError, match="--allow_pickle") as raised:
        load("sklearn", tmp_path)

    assert raised.value.code is Code.PERMISSION_DENIED
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib"])
def test_an_allowed_pickle_is_served(load: LoadFolder, tmp_path: Path, name: str) -> None:
    import joblib

    model = LogisticRegression().fit(X, Y)
    joblib.dump(model, tmp_path / name, compress=3 if name == "model.joblib" else 0)

    found = ask(load("sklearn", tmp_path, allow_pickle=True), {"inputs": X})

    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X))


def test_a_pickle_of_something_else_is_refused(load: LoadFolder, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(ServingError, match="a dict can neither predict nor transform"):
        load("sklearn", tmp_path, allow_pickle=True)


class Doubling(LogisticRegression):  # type: ignore[misc] # scikit-learn has no types
    """A type that is none of scikit-learn's."""


def test_types_that_are_not_known_are_named(load: LoadFolder, tmp_path: Path) -> None:
    model = saved(Doubling(), tmp_path)
    name = f"{Doubling.__module__}.Doubling"

    with pytest.raises(ServingError, match=f"--skops_trusted_types={name}") as raised:
        load("sklearn", tmp_path)

    assert raised.value.code is Code.PERMISSION_DENIED
    servable = load("sklearn", tmp_path, trusted_types=frozenset([name]))
    found = ask(servable, {"inputs": X})["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(X))


def test_functions_in_an_archive_are_not_called(load: LoadFolder, tmp_path: Path) -> None:
    saved(LogisticRegression(), tmp_path)
    rewrite(
        tmp_path,
        lambda text: text.replace('"LogisticRegression"', '"system"', 1).replace(
            '"sklearn.linear_model._logistic"', '"os"', 1
        ),
    )

    with pytest.raises(ServingError) as raised:
        load("sklearn", tmp_path)

    assert raised.value.code in (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)


def head(claimed: int) -> bytes:
    """The head of an array that claims to be longer than it is."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": (claimed,)}
    )
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../../etc/passwd", b"", "it has a file '../../etc/passwd'"),
        ("/etc/passwd", b"", "it has a file '/etc/passwd'"),
        ("1.npy", head(1 << 32), "in 128 bytes"),
        ("1.npy", b"no array", "magic string"),
        ("zeros", bytes(200 << 20), "claim to unpack to"),
    ],
    ids=["above", "root", "ten gigabytes", "no array", "bomb"],
)
def test_hostile_archives_are_refused(
    load: LoadFolder, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with zipfile.ZipFile(tmp_path / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr(name, content)

    with pytest.raises(ServingError, match=message) as raised:
        load("sklearn", tmp_path)

    assert raised.value.code is Code.INVALID_ARGUMENT
    assert raised.value.message.startswith("Model m: model.skops is no archive of skops")


def test_a_document_without_end_is_refused(load: LoadFolder, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "[" * 100_000)

    with pytest.raises(ServingError, match=r"model\.skops cannot be read: RecursionError"):
        load("sklearn", tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(2, max_depth=3),
        HistGradientBoostingClassifier(max_iter=2),
        KNeighborsClassifier(algorithm="kd_tree"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_damage_is_refused_or_harmless(tmp_path: Path, model: Any) -> None:
    saved(model, tmp_path)
    program = [sys.executable, "-m", "tests.backends.damage_tables", "sklearn", str(tmp_path)]

    done = subprocess.run([*program, "model.skops", "150"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    refused, loaded = map(int, done.stdout.split())
    assert refused > 5
    assert loaded > 5


@pytest.mark.parametrize("field", ["left_child", "feature"])
def test_trees_that_lead_nowhere_are_refused(load: LoadFolder, tmp_path: Path, field: str) -> None:
    model = DecisionTreeClassifier(max_depth=3).fit(X, Y)
    state = model.tree_.__getstate__()
    state["nodes"][field][0] = 1 << 30
    model.tree_.__setstate__(state)
    skops.dump(model, tmp_path / "model.skops")

    with pytest.raises(ServingError, match="Model m is damaged") as raised:
        load("sklearn", tmp_path)

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_trees_of_another_width_are_refused(load: LoadFolder, tmp_path: Path) -> None:
    forest = RandomForestClassifier(2).fit(X, Y)
    forest.estimators_[1] = DecisionTreeClassifier().fit(np.tile(X, 3), Y)
    skops.dump(forest, tmp_path / "model.skops")

    with pytest.raises(ServingError, match="looks at other features"):
        load("sklearn", tmp_path)


def test_what_takes_dictionaries_is_refused(load: LoadFolder, tmp_path: Path) -> None:
    from sklearn.feature_extraction import DictVectorizer

    saved(
        make_pipeline(DictVectorizer(), LogisticRegression()),
        tmp_path,
        [{"a": 1}, {"b": 2}] * 5,
        [0, 1] * 5,
    )

    with pytest.raises(ServingError, match="takes dictionaries, which no tensor can hold"):
        load("sklearn", tmp_path)


def test_the_folder_of_another_is_not_taken_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"")
    (tmp_path / "MLmodel").write_text("flavors: {}")

    assert not Backends().named("sklearn").detects(tmp_path)
    (tmp_path / "MLmodel").unlink()
    assert Backends().named("sklearn").detects(tmp_path)
