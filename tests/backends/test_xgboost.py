import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.registry import Backends
from salver.core.data_type import DataType
from salver.errors import Code, ServingError
from tests.backends.asking import LoadFolder, ask, example, texts

xgboost = pytest.importorskip("xgboost")
pandas = pytest.importorskip("pandas")

_RNG = np.random.default_rng(1)
X = _RNG.normal(size=(80, 3)).astype(np.float32)
X[::9, 1] = np.nan
NAMES = ["age", "height", "weight"]


def trained(objective: str, y: Any, rounds: int = 4, **parameters: Any) -> Any:
    data = xgboost.DMatrix(X, y, feature_names=NAMES)
    settings = {"objective": objective, "max_depth": 3, "nthread": 1, **parameters}
    return xgboost.train(settings, data, rounds)


def own(booster: Any, **options: Any) -> np.ndarray:
    found: np.ndarray = booster.predict(xgboost.DMatrix(X, feature_names=NAMES), **options)
    return found


def three_classes() -> np.ndarray:
    return (X[:, 0] > 0).astype(int) + (X[:, 2] > 0)


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
def test_a_regression_answers_as_the_framework(load: LoadFolder, tmp_path: Path, name: str) -> None:
    booster = trained("reg:squarederror", X[:, 0] * 3)
    booster.save_model(tmp_path / name)

    servable = load("xgboost", tmp_path)

    np.testing.assert_array_equal(ask(servable, {"inputs": X})["outputs"], own(booster))


def test_columns_may_come_by_name(load: LoadFolder, tmp_path: Path) -> None:
    booster = trained("reg:squarederror", X[:, 0] * 3)
    booster.save_model(tmp_path / "model.json")

    servable = load("xgboost", tmp_path)
    columns = dict(zip(NAMES, X.T, strict=True))

    backwards = dict(reversed(columns.items()))
    np.testing.assert_array_equal(ask(servable, columns, "columns")["outputs"], own(booster))
    np.testing.assert_array_equal(ask(servable, backwards, "columns")["outputs"], own(booster))


def test_columns_of_different_lengths_are_an_invalid_argument(
    load: LoadFolder, tmp_path: Path
) -> None:
    trained("reg:squarederror", X[:, 0]).save_model(tmp_path / "model.json")
    servable = load("xgboost", tmp_path)

    with pytest.raises(ServingError, match='input "weight" has 2') as raised:
        ask(servable, {"age": X[:3, 0], "height": X[:3, 1], "weight": X[:2, 2]}, "columns")

    assert raised.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_several_classes_have_probabilities(
    load: LoadFolder, tmp_path: Path, objective: str
) -> None:
    trained(objective, three_classes(), num_class=3).save_model(tmp_path / "model.json")

    found = ask(load("xgboost", tmp_path), {"inputs": X})

    expected = own(trained("multi:softprob", three_classes(), num_class=3))
    np.testing.assert_allclose(found["probabilities"], expected, 1e-6)
    np.testing.assert_array_equal(found["classes"], expected.argmax(axis=1))
    best = own(trained("multi:softmax", three_classes(), num_class=3))
    np.testing.assert_array_equal(found["classes"], best)


def test_two_classes_and_their_raw_scores(load: LoadFolder, tmp_path: Path) -> None:
    booster = trained("binary:logistic", X[:, 0] > 0)
    booster.save_model(tmp_path / "model.ubj")
    servable = load("xgboost", tmp_path)

    found = ask(servable, {"inputs": X})

    np.testing.assert_array_equal(found["probabilities"][:, 1], own(booster))
    np.testing.assert_array_equal(found["classes"], own(booster) > 0.5)
    scores = ask(servable, {"inputs": X}, "raw_scores")["scores"]
    np.testing.assert_array_equal(scores, own(booster, output_margin=True))


@pytest.mark.filterwarnings("ignore:.*is deprecated:UserWarning")
@pytest.mark.parametrize("booster", ["gblinear", "dart"])
def test_other_boosters(load: LoadFolder, tmp_path: Path, booster: str) -> None:
    settings = {"booster": booster, "nthread": 1}
    model = xgboost.train(settings, xgboost.DMatrix(X, X[:, 0], feature_names=NAMES), 4)
    model.save_model(tmp_path / "model.json")

    found = ask(load("xgboost", tmp_path), {"inputs": X})

    np.testing.assert_allclose(found["outputs"], own(model), 1e-6)


def test_several_outputs_of_one_tree(load: LoadFolder, tmp_path: Path) -> None:
    y = np.stack([X[:, 0], -X[:, 2]], axis=1)
    model = trained("reg:squarederror", y, multi_strategy="multi_output_tree")
    model.save_model(tmp_path / "model.json")
    servable = load("xgboost", tmp_path)

    np.testing.assert_allclose(ask(servable, {"inputs": X})["outputs"], own(model), 1e-6)
    assert servable.signatures["serving_default"].outputs["outputs"].shape == (-1, 2)
    assert "regress" not in servable.signatures


def test_trees_after_the_best_iteration_do_not_count(load: LoadFolder, tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=30, early_stopping_rounds=2, n_jobs=1)
    noise = _RNG.normal(size=80)
    model.fit(X, noise, eval_set=[(X, -noise)], verbose=False)
    model.save_model(tmp_path / "model.json")
    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1

    found = ask(load("xgboost", tmp_path), {"inputs": X})

    np.testing.assert_array_equal(found["outputs"], model.predict(X))


def test_categories_come_by_name_and_number(load: LoadFolder, tmp_path: Path) -> None:
    frame = pandas.DataFrame({
        "colour": pandas.Categorical(["rot", "gelb", "blau", "gelb"] * 20),
        "floor": pandas.Categorical([3, 5, 7, 7] * 20),
        "size": X[:, 0],
    })  # fmt: skip
    data = xgboost.DMatrix(frame, [0, 1, 2, 1] * 20, enable_categorical=True)
    model = xgboost.train({"max_depth": 3, "nthread": 1}, data, 4)
    model.save_model(tmp_path / "model.ubj")
    servable = load("xgboost", tmp_path)
    inputs = {
        "colour": texts(*(word.encode() for word in frame["colour"])),
        "floor": np.asarray(frame["floor"], np.int64),
        "size": X[:, 0],
    }

    np.testing.assert_allclose(ask(servable, inputs)["outputs"], model.predict(data), 1e-6)
    assert servable.signatures["serving_default"].inputs["floor"].data_type is DataType.INT64
    with pytest.raises(ServingError, match="input \"colour\": the model knows no category 'red'"):
        ask(servable, {**inputs, "colour": texts(*[b"red"] * 80)})
    missing = ask(servable, {**inputs, "colour": texts(*[b""] * 80)})["outputs"]
    frame["colour"] = pandas.Categorical([None] * 80, categories=["blau", "gelb", "rot"])
    nothing = xgboost.DMatrix(frame, enable_categorical=True)
    np.testing.assert_allclose(missing, model.predict(nothing), 1e-6)


def test_categories_that_xgboost_did_not_keep_are_codes(
    load: LoadFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pandas.DataFrame({"colour": pandas.Categorical(["rot", "grün"] * 40), "size": X[:, 0]})
    data = xgboost.DMatrix(frame, [0, 1] * 40, enable_categorical=True)
    model = xgboost.train({"max_depth": 3, "nthread": 1}, data, 4)
    model.save_model(tmp_path / "model.ubj")

    servable = load("xgboost", tmp_path)

    codes = np.stack([frame["colour"].cat.codes, X[:, 0]], axis=1).astype(np.float32)
    np.testing.assert_allclose(
        ask(servable, {"inputs": codes})["outputs"], model.predict(data), 1e-6
    )
    assert "send their codes" in caplog.text


def test_classify_takes_examples_by_name(load: LoadFolder, tmp_path: Path) -> None:
    model = trained("binary:logistic", X[:, 0] > 0)
    model.save_model(tmp_path / "model.ubj")
    (tmp_path / "labels.txt").write_text("young\nold\n")
    servable = load("xgboost", tmp_path)
    examples = texts(
        example(age=[1.5], height=[2], weight=[-1.0], shoes=[b"red"]), example(weight=[0.5])
    )

    found = ask(servable, {"inputs": examples}, "classify")

    rows = np.array([[1.5, 2, -1], [np.nan, np.nan, 0.5]], np.float32)
    expected = model.predict(xgboost.DMatrix(rows, feature_names=NAMES))
    assert found["classes"].tolist() == [[b"young", b"old"]] * 2
    np.testing.assert_array_equal(found["scores"][:, 1], expected)
    assert servable.signatures["classify"].method_name == "tensorflow/serving/classify"
    assert ask(servable, {"inputs": X[:2]})["classes"].tolist()[0] in (b"young", b"old")


def test_regress_takes_unnamed_columns_as_one_feature(load: LoadFolder, tmp_path: Path) -> None:
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, X[:, 0]), 3)
    model.save_model(tmp_path / "model.ubj")
    servable = load("xgboost", tmp_path)

    found = ask(servable, {"inputs": texts(example(inputs=[1.0, 2.0, 3.0]))}, "regress")

    expected = model.inplace_predict(np.array([[1, 2, 3]], np.float32))
    np.testing.assert_array_equal(found["outputs"], expected)
    with pytest.raises(ServingError, match="of example 0: expected 3 values of float"):
        ask(servable, {"inputs": texts(example(inputs=[1.0]))}, "regress")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"age": [b"old"]}, 'feature "age" of example 0: expected float, got string'),
        ({"age": [1.0, 2.0]}, 'feature "age" of example 0: expected one value, got 2'),
    ],
)
def test_a_wrong_feature_is_named(
    load: LoadFolder, tmp_path: Path, features: dict[str, Any], message: str
) -> None:
    trained("reg:squarederror", X[:, 0]).save_model(tmp_path / "model.json")
    servable = load("xgboost", tmp_path)

    with pytest.raises(ServingError, match=message) as raised:
        ask(servable, {"inputs": texts(example(**features))}, "regress")

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_labels_must_fit(load: LoadFolder, tmp_path: Path) -> None:
    trained("binary:logistic", X[:, 0] > 0).save_model(tmp_path / "model.ubj")
    (tmp_path / "labels.txt").write_text("one\n")

    with pytest.raises(ServingError, match=r"labels\.txt has 1 lines, the model has 2 classes"):
        load("xgboost", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", b'{"format": "layers-model", "modelTopology": {}}'),
        ("model.json", b'{"version": 3, "features_info": {}}'),
        ("model.json", b"[1, 2]"),
        ("model.ubj", b"\x89HDF\r\n\x1a\n"),
        ("model.txt", b"tree\nversion=v4\n"),
    ],
)
def test_files_of_others_are_not_taken_for_its_own(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)

    assert not Backends().named("xgboost").detects(tmp_path)


@pytest.mark.parametrize("indent", [None, 2])
def test_its_files_are_found_however_they_are_written(tmp_path: Path, indent: int | None) -> None:
    model = json.loads(trained("reg:squarederror", X[:, 0]).save_raw("json"))
    (tmp_path / "model.json").write_text(json.dumps(model, indent=indent))

    assert Backends().named("xgboost").detects(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["left_children"].__setitem__(0, 10**6), "child of a node"),
        (lambda tree: tree["left_children"].__setitem__(0, 0), "do not make a tree"),
        (lambda tree: tree["split_indices"].__setitem__(0, 99), "feature of a node"),
        (lambda tree: tree["split_conditions"].pop(), "different lengths"),
        (lambda tree: tree["parents"].__setitem__(1, 7), "parent of its children"),
        (lambda tree: tree.update(id=5), "not in order"),
    ],
)
def test_trees_that_lead_nowhere_are_refused(
    load: LoadFolder, tmp_path: Path, change: Any, message: str
) -> None:
    model = json.loads(trained("reg:squarederror", X[:, 0]).save_raw("json"))
    change(model["learner"]["gradient_booster"]["model"]["trees"][0])
    (tmp_path / "model.json").write_text(json.dumps(model))

    with pytest.raises(ServingError, match=message) as raised:
        load("xgboost", tmp_path)

    assert raised.value.code is Code.INVALID_ARGUMENT
    assert raised.value.message.startswith("Model m: model.json")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"{L" + b"\0" * 7 + b"\x01a" + b"[" * 100_000,
        b"{L" + b"\0" * 7 + b"\x01a[$L#L" + b"\x7f" + b"\0" * 7,
        b'{"learner": {}, "learner": {}}',
    ],
)
def test_hostile_documents_are_refused(load: LoadFolder, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.ubj").write_bytes(content)

    with pytest.raises(ServingError, match="is no model of XGBoost"):
        load("xgboost", tmp_path)


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
def test_damage_is_refused_or_harmless(tmp_path: Path, name: str) -> None:
    trained("multi:softprob", three_classes(), 2, num_class=3).save_model(tmp_path / name)
    program = [sys.executable, "-m", "tests.backends.damage_tables", "xgboost", str(tmp_path), name]

    done = subprocess.run([*program, "150"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    refused, loaded = map(int, done.stdout.split())
    assert refused > 20
    assert loaded > 20
