import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.catboost_file import check_catboost
from salver.backends.registry import Backends
from salver.errors import Code, ServingError
from tests.backends.asking import LoadFolder, ask, example, texts

catboost = pytest.importorskip("catboost")
pandas = pytest.importorskip("pandas")

_RNG = np.random.default_rng(4)
X = _RNG.normal(size=(120, 3)).astype(np.float32)
X[::9, 1] = np.nan
Y = (X[:, 0] > 0).astype(int)
NAMES = ["age", "height", "weight"]


def trained(kind: str, x: Any, y: Any, **parameters: Any) -> Any:
    settings = {"iterations": 4, "depth": 3, "thread_count": 1, "verbose": False}
    made = getattr(catboost, kind)(**{**settings, "allow_writing_files": False, **parameters})
    return made.fit(x, y)


def saved(folder: Path, kind: str, x: Any, y: Any, **parameters: Any) -> Any:
    model = trained(kind, x, y, **parameters)
    model.save_model(str(folder / "model.cbm"))
    return model


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise", "Lossguide"])
def test_a_regression_answers_as_the_framework(
    load: LoadFolder, tmp_path: Path, policy: str
) -> None:
    frame = pandas.DataFrame(X, columns=NAMES)
    model = saved(tmp_path, "CatBoostRegressor", frame, X[:, 0], grow_policy=policy)
    servable = load("catboost", tmp_path)

    found = ask(servable, {"inputs": X})["outputs"]

    np.testing.assert_array_equal(found, model.predict(X))
    columns = dict(zip(NAMES, X.T, strict=True))
    by_name = ask(servable, columns, "columns")["outputs"]
    np.testing.assert_array_equal(by_name, model.predict(X))


@pytest.mark.parametrize("loss", ["Poisson", "Tweedie:variance_power=1.5", "RMSEWithUncertainty"])
def test_losses_that_make_something_of_the_scores(
    load: LoadFolder, tmp_path: Path, loss: str
) -> None:
    model = saved(tmp_path, "CatBoostRegressor", X, np.abs(X[:, 0]), loss_function=loss)
    servable = load("catboost", tmp_path)

    np.testing.assert_array_equal(ask(servable, {"inputs": X})["outputs"], model.predict(X))
    raw = ask(servable, {"inputs": X}, "raw_scores")["scores"]
    expected = model.predict(X, prediction_type="RawFormulaVal")
    np.testing.assert_array_equal(raw, expected)


@pytest.mark.parametrize("labels", [[0, 1], ["ja", "nö"], [0.5, 1.5], [3, 5, 8]])
def test_classes_are_called_as_in_training(
    load: LoadFolder, tmp_path: Path, labels: list[Any]
) -> None:
    y = [labels[i % len(labels)] for i in range(len(X))]
    model = saved(tmp_path, "CatBoostClassifier", X, y)

    found = ask(load("catboost", tmp_path), {"inputs": X})

    np.testing.assert_array_equal(found["probabilities"], model.predict_proba(X))
    expected = model.predict(X).ravel().tolist()
    if isinstance(labels[0], str):
        expected = [each.encode() for each in expected]
    assert found["classes"].tolist() == expected


def test_a_threshold_that_was_set_counts(load: LoadFolder, tmp_path: Path) -> None:
    model = trained("CatBoostClassifier", X, Y)
    model.set_probability_threshold(0.85)
    model.save_model(str(tmp_path / "model.cbm"))

    found = ask(load("catboost", tmp_path), {"inputs": X})

    np.testing.assert_array_equal(found["classes"], model.predict(X))
    assert (found["classes"] != found["probabilities"].argmax(axis=1)).any()


def test_several_labels_of_one_row(load: LoadFolder, tmp_path: Path) -> None:
    y = np.stack([Y, 1 - Y, X[:, 2] > 0], axis=1)
    model = saved(tmp_path, "CatBoostClassifier", X, y, loss_function="MultiLogloss")

    found = ask(load("catboost", tmp_path), {"inputs": X})["outputs"]

    np.testing.assert_array_equal(found, model.predict_proba(X))


def words() -> Any:
    return pandas.DataFrame({
        "age": X[:, 0],
        "kind": ["a", "b", "c", "d"] * 30,
        "floor": [1, 2, 3] * 40,
        "text": ["good thing", "bad thing"] * 60,
    })  # fmt: skip


def test_categories_and_texts(load: LoadFolder, tmp_path: Path) -> None:
    frame = words()
    model = saved(
        tmp_path, "CatBoostClassifier", frame, Y, cat_features=["kind", "floor"],
        text_features=["text"], one_hot_max_size=3,
    )  # fmt: skip
    servable = load("catboost", tmp_path)
    columns = {
        name: texts(*(str(each).encode() for each in frame[name])) if name != "age" else X[:, 0]
        for name in frame
    }

    found = ask(servable, columns)

    np.testing.assert_allclose(found["probabilities"], model.predict_proba(frame))
    examples = texts(example(age=[0.5], kind=[b"a"], floor=[2], text=[b"good thing"]))
    scores = ask(servable, {"inputs": examples}, "classify")["scores"]
    row = pandas.DataFrame({"age": [0.5], "kind": ["a"], "floor": [2], "text": ["good thing"]})
    np.testing.assert_allclose(scores, model.predict_proba(row), 1e-6)


def test_missing_numbers_are_missing_values_and_missing_words_an_error(
    load: LoadFolder, tmp_path: Path
) -> None:
    frame = words()[["age", "kind"]]
    model = saved(tmp_path, "CatBoostClassifier", frame, Y, cat_features=["kind"])
    servable = load("catboost", tmp_path)

    scores = ask(servable, {"inputs": texts(example(kind=[b"a"]))}, "classify")["scores"]

    row = pandas.DataFrame({"age": [np.nan], "kind": ["a"]})
    np.testing.assert_allclose(scores, model.predict_proba(row), 1e-6)
    with pytest.raises(ServingError, match='missing: feature "kind" of example 0') as raised:
        ask(servable, {"inputs": texts(example(age=[1.0]))}, "classify")
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_embeddings_are_refused(load: LoadFolder, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"age": X[:, 0], "vector": [list(row) for row in np.nan_to_num(X)]})
    saved(tmp_path, "CatBoostClassifier", frame, Y, embedding_features=["vector"])

    with pytest.raises(ServingError, match="has features that are vectors") as raised:
        load("catboost", tmp_path)

    assert raised.value.code is Code.UNIMPLEMENTED


def test_other_files_are_not_taken_for_its_own(tmp_path: Path) -> None:
    backend = Backends().named("catboost")
    (tmp_path / "model.cbm").write_bytes(b"CBM0 and more")
    assert not backend.detects(tmp_path)

    trained("CatBoostRegressor", X, Y).save_model(str(tmp_path / "model.cbm"))
    assert backend.detects(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"CBM1", b"CBM1" + struct.pack("<I", 0xFFFF_FFFF) + b"\0" * 64]
)
def test_a_head_that_promises_too_much_is_refused(
    load: LoadFolder, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "model.cbm").write_bytes(content)

    with pytest.raises(ServingError, match=r"Model m: model\.cbm is no model of CatBoost"):
        load("catboost", tmp_path)


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
def test_splits_that_do_not_exist_are_refused(tmp_path: Path, policy: str) -> None:
    saved(tmp_path, "CatBoostRegressor", X, X[:, 0], grow_policy=policy)
    whole = (tmp_path / "model.cbm").read_bytes()
    check_catboost(whole)

    messages = []
    for position in range(8, len(whole) - 4, 4):
        data = bytearray(whole)
        data[position : position + 4] = struct.pack("<i", 70_000)
        try:
            check_catboost(bytes(data))
        except ValueError as error:
            messages.append(str(error))

    assert messages.count("a split does not exist") >= 4


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
def test_damage_is_refused_or_harmless(tmp_path: Path, policy: str) -> None:
    frame = words()
    saved(
        tmp_path, "CatBoostClassifier", frame[["age", "kind"]], Y, cat_features=["kind"],
        grow_policy=policy,
    )  # fmt: skip
    program = [sys.executable, "-m", "tests.backends.damage_tables", "catboost", str(tmp_path)]

    done = subprocess.run([*program, "model.cbm", "150"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    refused, loaded = map(int, done.stdout.split())
    assert refused > 20
    assert loaded > 20
