"""Models of every kind exported, and opened as a server opens them; what cannot be is told."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from salver.backends.registry import Backends
from salver.errors import AlreadyExists, InvalidArgument, ServingError
from salver.export import Classify, Exported, Predict, Regress, export_model
from salver.inspection.finding import newest_version
from salver.inspection.opening import OpenOptions, opened

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

X = np.array([[1, 2, 3, 4], [0, 1, 0, -1]], np.float32)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def exported(model: Any, folder: Path, **choices: Any) -> Exported:
    return export_model(model, folder / "m", verbose=False, **choices)


def answers(folder: Path, inputs: Mapping[str, Any], signature: str = "") -> dict[str, np.ndarray]:
    """What the newest version answers, opened without the framework's Python side."""
    backends = Backends()
    version = newest_version(str(folder / "m"), backends)
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    with opened(version, OpenOptions(), backends) as model:
        return model.run(arrays, signature)


def refusal(model: Any, folder: Path, **choices: Any) -> str:
    """The one line that refuses an export, which leaves nothing behind."""
    with pytest.raises(ServingError) as raised:
        exported(model, folder, **choices)
    assert list(folder.iterdir()) == []
    assert "\n" not in raised.value.message
    return raised.value.message


# --- Keras ------------------------------------------------------------------------------------


def dense() -> Any:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


def test_names_that_keras_made_up_are_not_shown_to_clients(tmp_path: Path) -> None:
    model = dense()
    signature = exported(model, tmp_path).signatures["serving_default"]

    assert (list(signature.inputs), list(signature.outputs)) == (["inputs"], ["output_0"])
    found = answers(tmp_path, {"inputs": X})["output_0"]
    np.testing.assert_allclose(found, np.asarray(model(X)), rtol=1e-5)


def test_dictionaries_give_the_names(tmp_path: Path) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    outputs = {"sum": left + right, "scaled": keras.layers.Rescaling(2.0)(left)}
    exported(keras.Model({"left": left, "right": right}, outputs), tmp_path)

    found = answers(tmp_path, {"left": X, "right": 2 * X})
    np.testing.assert_allclose(found["sum"], 3 * X)
    np.testing.assert_allclose(found["scaled"], 2 * X)


def test_lists_are_numbered_where_nobody_named_their_parts(tmp_path: Path) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,))
    exported(keras.Model([left, right], [left - right, right]), tmp_path)

    found = answers(tmp_path, {"left": X, "input_1": 3 * X})
    np.testing.assert_allclose(found["output_0"], -2 * X)
    np.testing.assert_allclose(found["output_1"], 3 * X)


def attending() -> Any:
    """Attention whose scores are the second output of its layer."""
    words = keras.Input((5, 4), name="words")
    attention = keras.layers.MultiHeadAttention(2, 3, name="attention")
    mixed, scores = attention(words, words, return_attention_scores=True)
    pooled = keras.layers.GlobalAveragePooling1D(name="pooled")(mixed)
    topic = keras.layers.Dense(3, activation="softmax", name="topic")(pooled)
    return keras.Model(words, topic), scores


def test_the_scores_of_an_attention_layer_come_beside_the_answer(tmp_path: Path) -> None:
    model, scores = attending()
    words = np.random.default_rng(1).normal(size=(2, 5, 4)).astype(np.float32)
    layers = {"weights": "attention:1", "pooled": "pooled"}
    exported(model, tmp_path, signatures=Predict(layers=layers))

    found = answers(tmp_path, {"words": words})
    assert set(found) == {"topic", "weights", "pooled"}
    np.testing.assert_allclose(found["topic"], np.asarray(model(words)), rtol=1e-4)
    expected = np.asarray(keras.Model(model.input, scores)(words))
    np.testing.assert_allclose(found["weights"], expected, rtol=1e-4)
    assert found["weights"].shape == (2, 2, 5, 5)


class Doubling(keras.Model):  # type: ignore[misc, name-defined]
    def call(self, a: Any, b: Any) -> Any:
        return {"total": 2 * a + b}


def test_a_model_of_a_class_of_its_own_needs_its_inputs(tmp_path: Path) -> None:
    told = refusal(Doubling(), tmp_path)
    assert "does not say what it takes: give its inputs" in told

    inputs = {name: tf.TensorSpec([None]) for name in "ab"}
    exported(Doubling(), tmp_path, signatures=Predict(inputs=inputs))
    found = answers(tmp_path, {"a": floats(1, 2), "b": floats(10, 20)})
    assert found["total"].tolist() == [12, 24]


def test_two_classes_need_one_probability(tmp_path: Path) -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(1, activation="sigmoid", name="p")(x))
    exported(model, tmp_path, signatures=Classify(classes=["no", "yes"]))

    found = answers(tmp_path, {"x": X})
    assert found["classes"].tolist() == [[b"no", b"yes"]] * 2
    second = np.asarray(model(X))[:, 0]
    np.testing.assert_allclose(found["scores"], np.stack([1 - second, second], 1), rtol=1e-5)


KERAS_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a layer": (
        {"signatures": Predict(layers=["topik"])},
        "has no layer 'topik'; did you mean 'topic'?",
    ),
    "an output of a layer": (
        {"signatures": Predict(layers={"a": "attention:2"})},
        "layer 'attention' of the model",
    ),
    "a name twice": (
        {"signatures": Predict(layers={"topic": "pooled"})},
        "has an output 'topic' of its own",
    ),
    "an output": (
        {"signatures": Predict(outputs=["topics"])},
        "signature 'serving_default': the model has no output 'topics'; did you mean 'topic'?",
    ),
    "an input": (
        {"signatures": Predict(inputs={"word": tf.TensorSpec([None, 5, 4])})},
        "has no input 'word'; did you mean 'words'?",
    ),
    "too few classes": (
        {"signatures": Classify(classes=["a", "b"])},
        "2 classes are named, and the model has scores for 3",
    ),
    "a class twice": (
        {"signatures": Classify(classes=["a", "b", "a"])},
        "the class 'a' is there twice",
    ),
    "no such vocabulary": (
        {"signatures": Classify(classes="/nowhere/classes.txt")},
        "classes: /nowhere/classes.txt: No such file or directory",
    ),
    "too many numbers": (
        {"signatures": Regress()},
        "the output has the shape (None, 3); it must be [n] or [n, 1]",
    ),
    "a feature": (
        {"signatures": Predict(examples={"wort": tf.io.FixedLenFeature([5, 4], tf.float32)})},
        "feature 'wort' is for no input",
    ),
    "the shape of a feature": (
        {"signatures": Predict(examples={"words": tf.io.FixedLenFeature([20], tf.float32)})},
        "feature 'words' has the shape (None, 20), the input (None, 5, 4); a feature that fits",
    ),
    "the type of a feature": (
        {"signatures": Predict(examples={"words": tf.io.FixedLenFeature([5, 4], tf.string)})},
        "feature 'words' is string, the input float32",
    ),
    "no feature": (
        {"signatures": Predict(examples={"words": 5})},
        "feature 'words' is 5; it must be such as tf.io.FixedLenFeature",
    ),
    "no signature": ({"signatures": {"serving_default": "predict"}}, "it must be a Predict"),
    "no signatures": ({"signatures": {}}, "signatures is empty"),
    "a name": ({"signatures": {"variables": Predict()}}, "cannot be called 'variables'"),
    "a version": ({"version": -1}, "it must be a whole number"),
    "warm-up": ({"warm_up": [{"word": [[1.0]]}]}, "has no input 'word'; did you mean 'words'?"),
}


@pytest.fixture(scope="module")
def attention_model() -> Any:
    return attending()[0]


@pytest.mark.parametrize(("choices", "told"), KERAS_MISTAKES.values(), ids=KERAS_MISTAKES)
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, attention_model: Any, choices: dict[str, Any], told: str
) -> None:
    assert told in refusal(attention_model, tmp_path, **choices)


# --- Functions and modules --------------------------------------------------------------------


class Both(NamedTuple):
    twice: Any
    text: Any


@tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None], tf.string)])  # type: ignore[untyped-decorator]
def both(x: Any, word: Any) -> Both:
    return Both(2 * x, tf.strings.upper(word))


def test_parameters_and_fields_give_the_names(tmp_path: Path) -> None:
    exported(both, tmp_path)
    found = answers(tmp_path, {"x": floats(1.5), "word": np.array([b"ab"], object)})
    assert found["twice"].tolist() == [3.0]
    assert found["text"].tolist() == [b"AB"]


def test_a_traced_function_is_taken_as_it_is(tmp_path: Path) -> None:
    exported(both.get_concrete_function(), tmp_path)
    found = answers(tmp_path, {"x": floats(2), "word": np.array([b"c"], object)})
    assert found["twice"].tolist() == [4.0]


def test_a_python_function_may_look_at_the_values(tmp_path: Path) -> None:
    def sign(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:  # noqa: SIM108 - the point is a statement that is traced
            word = "positive"
        else:
            word = "other"
        return {"sign": tf.fill(tf.shape(x), word)}

    exported(sign, tmp_path, signatures=Predict(inputs={"x": tf.TensorSpec([None])}))
    assert answers(tmp_path, {"x": floats(1)})["sign"].tolist() == [b"positive"]
    assert answers(tmp_path, {"x": floats(-1)})["sign"].tolist() == [b"other"]


def test_names_that_are_no_parameters_come_in_a_dictionary(tmp_path: Path) -> None:
    inputs = {"image/width": tf.TensorSpec([None]), "image-height": tf.TensorSpec([None])}
    exported(
        lambda image: {"area": image["image/width"] * image["image-height"]},
        tmp_path,
        signatures=Predict(inputs=inputs),
    )
    values = {"image/width": floats(2), "image-height": floats(3)}
    assert answers(tmp_path, values)["area"].tolist() == [6.0]


class Scorer(tf.Module):  # type: ignore[misc, name-defined]
    """A table and a variable of its own, and two functions."""

    def __init__(self) -> None:
        keys, values = tf.constant(["a", "b"]), tf.constant([1.0, 2.0])
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        self.table = tf.lookup.StaticHashTable(initializer, 0.0)
        self.scale = tf.Variable(10.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])  # type: ignore[untyped-decorator]
    def score(self, word: Any) -> Any:
        return {"value": self.table.lookup(word) * self.scale}

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])  # type: ignore[untyped-decorator]
    def scaled(self, x: Any) -> Any:
        return x * self.scale


def test_a_module_has_a_signature_for_each_function_that_is_named(tmp_path: Path) -> None:
    signatures = {
        "score": Predict(function="score"),
        "scaled": Predict(function="scaled", outputs={"y": "output_0"}),
        "regress": Regress(
            function="score", examples={"word": tf.io.FixedLenFeature([], tf.string)}
        ),
    }
    found = exported(Scorer(), tmp_path, signatures=signatures)

    assert set(found.signatures) == {*signatures, "serving_default"}
    assert found.signatures["regress"].method_name == "tensorflow/serving/regress"
    words = {"word": np.array([b"b", b"z"], object)}
    # The first one is the default.
    assert answers(tmp_path, words)["value"].tolist() == [20.0, 0.0]
    assert answers(tmp_path, {"x": floats(3)}, "scaled")["y"].tolist() == [30.0]
    loaded = tf.saved_model.load(found.path)
    assert loaded.model.score(tf.constant(["a"]))["value"].numpy().tolist() == [10.0]


def test_features_of_any_length_are_made_dense_and_types_are_converted(tmp_path: Path) -> None:
    features = {
        "words": tf.io.VarLenFeature(tf.string),
        "flag": tf.io.FixedLenFeature([], tf.int64),
    }
    inputs = {
        "words": tf.TensorSpec([None, None], tf.string),
        "flag": tf.TensorSpec([None], tf.bool),
    }

    def count(words: Any, flag: Any) -> Any:
        there = tf.reduce_sum(tf.cast(words != "", tf.float32), axis=1)
        return {"outputs": tf.where(flag, there, -there)}

    exported(count, tmp_path, signatures=Regress(inputs=inputs, examples=features))
    examples = [example(words=[b"a", b"b", b"c"], flag=[1]), example(words=[b"a"], flag=[0])]
    found = answers(tmp_path, {"inputs": np.array(examples, object)})
    assert found["outputs"].tolist() == [3.0, -1.0]


def test_a_function_of_features_needs_nothing_else(tmp_path: Path) -> None:
    features = {
        "a": tf.io.FixedLenFeature([], tf.float32),
        "b": tf.io.FixedLenFeature([], tf.int64),
    }
    exported(
        lambda a, b: {"outputs": a + tf.cast(b, tf.float32)},
        tmp_path,
        signatures=Regress(examples=features),
    )
    found = answers(tmp_path, {"inputs": np.array([example(a=[0.5], b=[2])], object)})
    assert found["outputs"].tolist() == [2.5]


def example(**features: list[Any]) -> bytes:
    message = tf.train.Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return bytes(message.SerializeToString())


def unsaid(x: Any) -> Any:
    return x


TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1.0])), 0.0
)
SPEC = {"x": tf.TensorSpec([None], name="x")}
MISTAKES: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "no types": (lambda: unsaid, {}, "the function does not say what it takes"),
    "no types of a tf.function": (lambda: tf.function(unsaid), {}, "does not say what it takes"),
    "no spec": (lambda: unsaid, {"inputs": {"x": [None, 4]}}, "it must be a tf.TensorSpec"),
    "no function of this name": (
        Scorer,
        {"function": "scores"},
        "Scorer has no function 'scores'; did you mean 'score'?",
    ),
    "several functions": (Scorer, {}, "say which function with function=; it has score, scaled"),
    "no tensor": (lambda: lambda x: {"y": object()}, {"inputs": SPEC}, "which is not a Tensor"),
    "a ragged tensor": (
        lambda: lambda x: {"y": tf.RaggedTensor.from_row_splits(x, [0, 1])},
        {"inputs": SPEC},
        "output 'y' of <lambda> is ragged",
    ),
    "a function that fails": (
        lambda: lambda x: tf.matmul(x, x),
        {"inputs": SPEC},
        "the model cannot be called with these inputs: ValueError",
    ),
    "layers": (lambda: both, {"layers": ["hidden"]}, "the model has no layers"),
    "a table of nobody": (
        lambda: lambda x: TABLE.lookup(tf.strings.as_string(x)),
        {"inputs": SPEC},
        "keep it as an attribute of a tf.Module",
    ),
    "no model": (lambda: 5, {}, "int is no model that can be exported"),
}


@pytest.mark.parametrize(("make", "choice", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_with_a_function_is_told_in_one_line(
    tmp_path: Path, make: Callable[[], Any], choice: dict[str, Any], told: str
) -> None:
    assert told in refusal(make(), tmp_path, signatures=Predict(**choice) if choice else None)


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    exported(both, tmp_path, version=3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "m" / "3").rglob("*")}

    with pytest.raises(AlreadyExists, match="has a version 3 already"):
        exported(both, tmp_path, version=3)
    with pytest.raises(AlreadyExists, match="higher than 2"):
        exported(both, tmp_path, version=2)

    assert [path.name for path in (tmp_path / "m").iterdir()] == ["3"]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "m" / "3").rglob("*")}


def test_a_request_of_the_warm_up_that_fails_stops_the_export(tmp_path: Path) -> None:
    def positive(x: Any) -> Any:
        tf.debugging.assert_positive(x, message="x must be above zero")
        return x

    told = refusal(positive, tmp_path, signatures=Predict(inputs=SPEC), warm_up=[{"x": [-1.0]}])
    assert told.startswith("a warm-up request fails: ")
    assert "x must be above zero" in told


@pytest.mark.parametrize(
    ("base_path", "told"),
    [
        ("s3://key:secret@bucket/m", "bring the version there with `salver push`"),
        ("/models/m/17", "is named like a version; give the base path"),
    ],
)
def test_a_base_path_must_be_a_folder_of_models_here(base_path: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as raised:
        export_model(both, base_path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("call", ["numpy_function", "py_function"])
def test_a_function_of_python_is_in_no_server(tmp_path: Path, call: str) -> None:
    def doubled(x: Any) -> Any:
        return getattr(tf, call)(lambda value: value * 2, [x], tf.float32)

    told = refusal(doubled, tmp_path, signatures=Predict(inputs=SPEC))
    assert "calls a function of Python" in told


@pytest.mark.parametrize("make", [dense, lambda: sized()], ids=["keras", "module"])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, make: Callable[[], Any]) -> None:
    resource = pytest.importorskip("resource")
    model = make()
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        assert "File too large" in refusal(model, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def sized() -> Any:
    module = tf.Module()
    module.weights = tf.Variable(np.random.default_rng(1).normal(size=(4, 500)), dtype="float32")
    module.__call__ = tf.function(lambda x: x @ module.weights, [tf.TensorSpec([None, 4])])
    return module
