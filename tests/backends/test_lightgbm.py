import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.registry import Backends
from salver.errors import Code, ServingError
from tests.backends.asking import LoadFolder, ask, example, texts

lightgbm = pytest.importorskip("lightgbm")
pandas = pytest.importorskip("pandas")

_RNG = np.random.default_rng(2)
X = _RNG.normal(size=(200, 3))
X[::9, 1] = np.nan
NAMES = ["age", "height", "weight"]


def trained(objective: str, y: Any, data: Any = None, **parameters: Any) -> Any:
    settings = {"objective": objective, "num_threads": 1, "verbosity": -1, **parameters}
    names = NAMES if data is None else "auto"
    table = X if data is None else data
    return lightgbm.train(settings, lightgbm.Dataset(table, y, feature_name=names), 4)


def three_classes() -> np.ndarray:
    return (X[:, 0] > 0).astype(int) + (X[:, 2] > 0)


@pytest.mark.parametrize("linear", [False, True])
def test_a_regression_answers_as_the_framework(
    load: LoadFolder, tmp_path: Path, linear: bool
) -> None:
    booster = trained("regression", X[:, 0] * 3, linear_tree=linear)
    booster.save_model(tmp_path / "model.txt")
    servable = load("lightgbm", tmp_path)

    np.testing.assert_array_equal(ask(servable, {"inputs": X})["outputs"], booster.predict(X))
    columns = dict(zip(NAMES, X.T, strict=True))
    found = ask(servable, columns, "columns")["outputs"]
    np.testing.assert_array_equal(found, booster.predict(X))


@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_several_classes(load: LoadFolder, tmp_path: Path, objective: str) -> None:
    booster = trained(objective, three_classes(), num_class=3)
    booster.save_model(tmp_path / "model.txt")
    servable = load("lightgbm", tmp_path)

    found = ask(servable, {"inputs": X})

    np.testing.assert_array_equal(found["probabilities"], booster.predict(X))
    np.testing.assert_array_equal(found["classes"], booster.predict(X).argmax(axis=1))
    scores = ask(servable, {"inputs": X}, "raw_scores")["scores"]
    np.testing.assert_array_equal(scores, booster.predict(X, raw_score=True))


def test_a_forest_averages(load: LoadFolder, tmp_path: Path) -> None:
    booster = trained(
        "binary", X[:, 0] > 0, boosting="rf", bagging_freq=1, bagging_fraction=0.5, metric=""
    )
    booster.save_model(tmp_path / "model.txt")

    found = ask(load("lightgbm", tmp_path), {"inputs": X})

    np.testing.assert_array_equal(found["probabilities"][:, 1], booster.predict(X))


def test_categories_come_by_name(load: LoadFolder, tmp_path: Path) -> None:
    frame = pandas.DataFrame({
        "colour": pandas.Categorical(["rot", "grün", "blau", "grün"] * 50),
        "size": X[:, 0],
        "floor": pandas.Categorical([3, 5, 7, 7] * 50),
    })  # fmt: skip
    booster = trained("regression", [0, 1, 2, 1] * 50, frame, min_data_per_group=1, cat_smooth=0)
    booster.save_model(tmp_path / "model.txt")
    inputs = {
        "colour": texts(*(word.encode() for word in frame["colour"])),
        "size": X[:, 0],
        "floor": np.asarray(frame["floor"], np.int64),
    }
    servable = load("lightgbm", tmp_path)

    np.testing.assert_array_equal(ask(servable, inputs)["outputs"], booster.predict(frame))
    examples = texts(example(colour=[b"rot"], size=[0.25], floor=[5]), example(size=[0.25]))
    found = ask(servable, {"inputs": examples}, "regress")["outputs"]
    asked = pandas.DataFrame({
        "colour": pandas.Categorical(["rot", None], categories=["blau", "grün", "rot"]),
        "size": [0.25, 0.25],
        "floor": pandas.Categorical([5, None], categories=[3, 5, 7]),
    })  # fmt: skip
    np.testing.assert_allclose(found, booster.predict(asked), 1e-6)


def test_categories_of_no_known_column_are_codes(
    load: LoadFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pandas.DataFrame({"only": pandas.Categorical(["a"] * 200), "size": X[:, 0]})
    trained("regression", X[:, 0], frame).save_model(tmp_path / "model.txt")

    servable = load("lightgbm", tmp_path)

    assert list(servable.signatures["serving_default"].inputs) == ["inputs"]
    assert "send the codes of categories" in caplog.text


def test_missing_features_are_missing_values(load: LoadFolder, tmp_path: Path) -> None:
    booster = trained("binary", X[:, 0] > 0)
    booster.save_model(tmp_path / "model.txt")
    examples = texts(example(age=[1.5], height=[2], weight=[-1.0]), example(weight=[0.5]))

    found = ask(load("lightgbm", tmp_path), {"inputs": examples}, "classify")

    expected = booster.predict(np.array([[1.5, 2, -1], [np.nan, np.nan, 0.5]]))
    np.testing.assert_allclose(found["scores"][:, 1], expected, 1e-6)
    assert found["classes"].tolist() == [[b"0", b"1"]] * 2


@pytest.mark.parametrize("content", [b"tree house\n", b"tree\n", b"", b"\x00\x01", b"version=v4\n"])
def test_text_of_others_is_not_taken_for_its_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.txt").write_bytes(content)

    assert not Backends().named("lightgbm").detects(tmp_path)


def test_lines_may_end_as_on_windows(load: LoadFolder, tmp_path: Path) -> None:
    booster = trained("regression", X[:, 0])
    text = booster.model_to_string().replace("\n", "\r\n")
    (tmp_path / "model.txt").write_bytes(text.encode())

    assert Backends().named("lightgbm").detects(tmp_path)
    found = ask(load("lightgbm", tmp_path), {"inputs": X})
    np.testing.assert_array_equal(found["outputs"], booster.predict(X))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left_child=", "left_child=999999 ", "numbers of left_child"),
        ("split_feature=2 ", "split_feature=77 ", "feature of a node"),
        ("num_class=3", "num_class=30", "do not fit 30 classes"),
        ("multiclass num_class:3", "multiclass num_class:300", "another number of classes"),
        ("max_feature_idx=2", "max_feature_idx=1", "2 features, but 3 names"),
        ("Tree=1", "Tree=7", "not in order"),
        ("end of trees", "end", "begin and end"),
    ],
)
def test_trees_that_lead_nowhere_are_refused(
    load: LoadFolder, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = trained("multiclass", three_classes(), num_class=3).model_to_string()
    assert old in text
    (tmp_path / "model.txt").write_text(text.replace(old, new, 1))

    with pytest.raises(ServingError, match=message) as raised:
        load("lightgbm", tmp_path)

    assert raised.value.code is Code.INVALID_ARGUMENT
    assert raised.value.message.startswith("Model m: model.txt")


def test_sizes_of_trees_are_not_believed(load: LoadFolder, tmp_path: Path) -> None:
    booster = trained("regression", X[:, 0])
    lines = booster.model_to_string().splitlines(keepends=True)
    changed = ["tree_sizes=9 9 9 9\n" if line.startswith("tree_sizes") else line for line in lines]
    (tmp_path / "model.txt").write_text("".join(changed))

    found = ask(load("lightgbm", tmp_path), {"inputs": X})

    np.testing.assert_array_equal(found["outputs"], booster.predict(X))


@pytest.mark.parametrize("linear", [False, True])
def test_damage_is_refused_or_harmless(tmp_path: Path, linear: bool) -> None:
    booster = trained("regression", X[:, 0], linear_tree=linear)
    booster.save_model(tmp_path / "model.txt")
    program = [sys.executable, "-m", "tests.backends.damage_tables", "lightgbm"]

    done = subprocess.run(
        [*program, str(tmp_path), "model.txt", "150"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    refused, loaded = map(int, done.stdout.split())
    assert refused > 20
    assert loaded > 20
