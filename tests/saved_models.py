"""SavedModels for the tests, made by TensorFlow itself in a process of its own.

Run as a program with the names of models and a folder: each model is exported as
version 1 under its name, and `answers.pickle` beside it holds what TensorFlow
answers: signature name to (inputs by alias, outputs by alias).
"""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

Arrays = dict[str, np.ndarray]
Answers = dict[str, tuple[Arrays, Arrays]]


def export(names: Iterable[str], folder: Path) -> None:
    """Make the models of these names under `folder`, in a child process."""
    command = [sys.executable, __file__, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def version_path(folder: Path, name: str) -> str:
    return str(folder / name / "1")


def answers_of(folder: Path, name: str) -> Answers:
    answers: Answers = pickle.loads((folder / name / "answers.pickle").read_bytes())
    return answers


def half_plus_two_1(tf: Any, path: str) -> None:
    """The TensorFlow 1 way: variables, placeholders, a saver."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        half = v1.get_variable("half", initializer=0.5, use_resource=False)
        two = v1.get_variable("two", initializer=2.0, use_resource=False)
        y = tf.add(tf.multiply(half, x), two, name="y")
        session.run(v1.global_variables_initializer())
        _save_1(tf, session, path, {"serving_default": ({"x": x}, {"y": y})})


def half_plus_two_2(tf: Any, path: str) -> None:
    """The TensorFlow 2 way: a module with a function."""

    class HalfPlusTwo(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.half = tf.Variable(0.5)
            self.two = tf.Variable(2.0)

        def __call__(self, x: Any) -> Any:
            return {"y": x * self.half + self.two}

    model = HalfPlusTwo()
    call = tf.function(model.__call__).get_concrete_function(tf.TensorSpec([None], name="x"))
    tf.saved_model.save(model, path, call)


def echo(tf: Any, path: str) -> None:
    """One signature for each type that a tensor of values can have."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {}
        for name in ECHO_TYPES:
            x = v1.placeholder(tf.dtypes.as_dtype(name), None, name=f"in_{name}")
            signatures[name] = ({"x": x}, {"y": tf.identity(x, name=f"out_{name}")})
        _save_1(tf, session, path, signatures)


def lookup(tf: Any, path: str) -> None:
    """A table that is filled from an asset when the model is loaded."""
    vocabulary = Path(path).parent / "words.txt"
    vocabulary.write_text("zero\none\ntwo\n")

    class Lookup(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.file = tf.saved_model.Asset(str(vocabulary))
            initializer = tf.lookup.TextFileInitializer(
                self.file,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
            self.table = tf.lookup.StaticHashTable(initializer, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])  # type: ignore[untyped-decorator]
        def find(self, word: Any) -> Any:
            return {"id": self.table.lookup(word), "upper": tf.strings.upper(word)}

    model = Lookup()
    tf.saved_model.save(model, path, model.find)
    vocabulary.unlink()


def loops(tf: Any, path: str) -> None:
    """A while loop, a condition, a nested function, and an assertion that can fail."""

    class Loops(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        @tf.function  # type: ignore[untyped-decorator]
        def step(self, value: Any) -> Any:
            return tf.where(value % 2 == 0, value // 2, 3 * value + 1)

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="n")])  # type: ignore[untyped-decorator]
        def collatz(self, n: Any) -> Any:
            tf.debugging.assert_positive(n, message="n must be above zero")
            steps = tf.constant(0)
            while n > 1:
                n = self.step(n)
                steps += 1
            return {"steps": steps}

    model = Loops()
    tf.saved_model.save(model, path, model.collatz)


def several(tf: Any, path: str) -> None:
    """Several inputs and outputs of different types and ranks."""

    class Several(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tf.TensorSpec([None, None], tf.float32, name="matrix"),
                tf.TensorSpec([None], tf.float32, name="vector"),
                tf.TensorSpec([], tf.string, name="label"),
            ]
        )
        def call(self, matrix: Any, vector: Any, label: Any) -> Any:
            return {
                "product": tf.linalg.matvec(matrix, vector),
                "sum": tf.reduce_sum(matrix),
                "label": tf.strings.join([label, "!"]),
                "shape": tf.shape(matrix),
            }

    model = Several()
    tf.saved_model.save(model, path, model.call)


def counter(tf: Any, path: str) -> None:
    """A variable that requests change."""

    class Counter(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.count = tf.Variable(0, dtype=tf.int64)

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="by")])  # type: ignore[untyped-decorator]
        def add(self, by: Any) -> Any:
            return {"count": self.count.assign_add(by)}

    model = Counter()
    tf.saved_model.save(model, path, model.add)


def keras(tf: Any, path: str) -> None:
    """What `keras.Model.export` writes."""
    import keras as library

    library.utils.set_random_seed(1)
    model = library.Sequential(
        [
            library.Input((8, 8, 1), name="image"),
            library.layers.Conv2D(3, 3, activation="relu"),
            library.layers.Flatten(),
            library.layers.Dense(4, activation="softmax"),
        ]
    )
    model.export(path, verbose=False)


def custom_op(tf: Any, path: str) -> None:
    """An operation from a library that TensorFlow brings along but does not load by itself."""
    from tensorflow.lite.experimental.microfrontend.python.ops import audio_microfrontend_op

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        audio = v1.placeholder(tf.int16, [None], name="audio")
        features = audio_microfrontend_op.audio_microfrontend(audio)
        _save_1(tf, session, path, {"serving_default": ({"audio": audio}, {"features": features})})


def compiled(tf: Any, path: str) -> None:
    """A function that XLA has to compile."""

    class Compiled(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        @tf.function(  # type: ignore[untyped-decorator]
            jit_compile=True, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
        )
        def call(self, x: Any) -> Any:
            return {"y": tf.sqrt(x) * 2 + 1}

    model = Compiled()
    tf.saved_model.save(model, path, model.call)


def heavy(tf: Any, path: str) -> None:
    """200 MB of variables."""

    class Heavy(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.weights = tf.Variable(tf.ones([50, 1024 * 1024]))

        @tf.function(input_signature=[tf.TensorSpec([50], name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": tf.linalg.matvec(self.weights, x, transpose_a=True)[:3]}

    model = Heavy()
    tf.saved_model.save(model, path, model.call)


def traces(tf: Any, path: str) -> None:
    """Functions with many traces, arguments of many kinds, state of an optimizer beside."""

    class Traces(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.weights = tf.Variable([1.0, 2.0])
            self.count = tf.Variable(0, trainable=False)

        @tf.function  # type: ignore[untyped-decorator]
        def __call__(self, pair: Any, options: Any = None) -> Any:
            return pair[0] + pair[1]

        @tf.function  # type: ignore[untyped-decorator]
        def many(self, x: Any, training: Any = False, *, scale: Any = 1.0) -> Any:
            return self.inner(x) * self.weights * scale if training else tf.split(x, 2, 0)

        @tf.function  # type: ignore[untyped-decorator]
        def inner(self, x: Any) -> Any:
            return tf.cond(tf.size(x) > 1, lambda: x + 1.0, lambda: x)

        @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])  # type: ignore[untyped-decorator]
        def ragged(self, x: Any) -> Any:
            return tf.reduce_sum(x)

        @tf.function(input_signature=[tf.SparseTensorSpec([None, 4], tf.float32)])  # type: ignore[untyped-decorator]
        def sparse(self, x: Any) -> Any:
            return tf.sparse.reduce_sum(x)

        @tf.function(input_signature=[])  # type: ignore[untyped-decorator]
        def nothing(self) -> Any:
            return self.weights * 2.0

    model = Traces()
    for number in range(40):
        spec = tf.TensorSpec([2 * number, 2] if number % 3 else [None, 2])
        model.many.get_concrete_function(spec, training=bool(number % 2), scale=float(number))
    pairs = [[tf.TensorSpec([size]), tf.TensorSpec([size])] for size in (2, 3, 4)]
    for pair, options in zip(pairs, [(1, "x", None, 2.5, True), {"k": "v"}, "text"], strict=True):
        model.__call__.get_concrete_function(pair, options)
    model.bare = model.many.get_concrete_function(tf.TensorSpec([8, 2], name="x"))
    tf.saved_model.save(model, path, {"serving_default": model.nothing, "ragged": model.ragged})


def turns_nan(tf: Any, path: str) -> None:
    """Two nested functions; the logarithm in the inner one has no value for some inputs."""

    class TurnsNan(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.weights = tf.Variable([[1.0, -1.0], [2.0, 0.5]], name="weights")
            self.seen = tf.Variable(0, dtype=tf.int64)

        @tf.function  # type: ignore[untyped-decorator]
        def score(self, x: Any) -> Any:
            hidden = tf.matmul(x, self.weights, name="hidden")
            self.seen.assign_add(1)
            return tf.nn.softmax(tf.math.log(hidden, name="logarithm"))

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            scores = self.score(x)
            return {"scores": scores, "best": tf.argmax(scores, -1), "seen": self.seen.read_value()}

    model = TurnsNan()
    tf.saved_model.save(model, path, model.call)


def loops_1(tf: Any, path: str) -> None:
    """Loops and conditions as TensorFlow 1 wrote them: nodes that run many times, or not at all."""
    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [], name="x")

            def outer(step: Any, total: Any) -> Any:
                _, added = v1.while_loop(
                    lambda i, _: i < step, lambda i, t: (i + 1, t + x), (0, total), name="inner"
                )
                return step + 1, added

            _, looped = v1.while_loop(lambda i, _: i < 4, outer, (0, 0.0), name="outer")
            chosen = v1.cond(
                looped > 10.0,
                lambda: v1.cond(x > 100.0, lambda: looped * 3.0, lambda: looped + 1.0),
                lambda: looped - 1.0,
                name="chosen",
            )
            _save_1(tf, session, path, {"serving_default": ({"x": x}, {"y": chosen + 0.5})})
    finally:
        v1.enable_control_flow_v2()


MAKERS: dict[str, Callable[[Any, str], None]] = {
    maker.__name__: maker
    for maker in (
        half_plus_two_1, half_plus_two_2, echo, lookup, loops, several, counter, keras,
        custom_op, compiled, heavy, traces, turns_nan, loops_1,
    )
}  # fmt: skip


def _texts(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


_NUMBERS = {
    "float32": np.float32, "float64": np.float64, "int32": np.int32, "uint8": np.uint8,
    "int16": np.int16, "int8": np.int8, "complex64": np.complex64, "int64": np.int64,
    "bool": np.bool_, "uint16": np.uint16, "complex128": np.complex128, "float16": np.float16,
    "uint32": np.uint32, "uint64": np.uint64, "bfloat16": ml_dtypes.bfloat16,
    "float8_e5m2": ml_dtypes.float8_e5m2, "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4, "int2": ml_dtypes.int2,
    "uint2": ml_dtypes.uint2,
}  # fmt: skip
_QUANTIZED = {
    "qint8": np.int8, "quint8": np.uint8, "qint32": np.int32, "qint16": np.int16,
    "quint16": np.uint16,
}  # fmt: skip
ECHO_TYPES: Arrays = {
    **{name: np.array([[0, 1, 1], [1, 0, 1]]).astype(kind) for name, kind in _NUMBERS.items()},
    **{name: np.array([0, 3, 7], kind).view([(name, kind)]) for name, kind in _QUANTIZED.items()},
    "string": _texts(b"", b"\0", b"a\0b", "ä€".encode(), b"\xff\xfe", b"x" * 22, b"y" * 100_000),
}

INPUTS: dict[str, dict[str, Arrays]] = {
    "half_plus_two_1": {"serving_default": {"x": np.array([1, 2, 5], np.float32)}},
    "half_plus_two_2": {"serving_default": {"x": np.array([1, 2, 5], np.float32)}},
    "echo": {name: {"x": array} for name, array in ECHO_TYPES.items()},
    "lookup": {"serving_default": {"word": _texts(b"two", b"none", b"zero")}},
    "loops": {"serving_default": {"n": np.array(27, np.int64)}},
    "several": {
        "serving_default": {
            "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
            "vector": np.array([1, 10, 100], np.float32),
            "label": np.array(b"done", object),
        }
    },
    "keras": {
        "serving_default": {
            "image": np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1),
        }
    },
    "compiled": {"serving_default": {"x": np.array([0, 1, 4], np.float32)}},
    "custom_op": {"serving_default": {"audio": np.arange(4000, dtype=np.int16)}},
    "loops_1": {"serving_default": {"x": np.array(2, np.float32)}},
    "turns_nan": {},
    "counter": {},
    "heavy": {},
    "traces": {},
}


def _save_1(tf: Any, session: Any, path: str, signatures: dict[str, Any]) -> None:
    v1 = tf.compat.v1.saved_model
    builder = v1.Builder(path)
    definitions = {
        name: v1.signature_def_utils.predict_signature_def(inputs, outputs)
        for name, (inputs, outputs) in signatures.items()
    }
    builder.add_meta_graph_and_variables(session, ["serve"], definitions)
    builder.save()


def _answers(tf: Any, name: str, path: str) -> Answers:
    v1 = tf.compat.v1
    answers: Answers = {}
    with tf.Graph().as_default(), v1.Session() as session:
        meta_graph = v1.saved_model.load(session, ["serve"], path)
        for signature, inputs in INPUTS[name].items():
            definition = meta_graph.signature_def[signature]
            feeds = {definition.inputs[alias].name: value for alias, value in inputs.items()}
            fetches = {alias: info.name for alias, info in definition.outputs.items()}
            outputs = session.run(fetches, feeds)
            answers[signature] = (inputs, {a: np.asarray(v) for a, v in outputs.items()})
    return answers


def main(folder: str, *names: str) -> None:
    import tensorflow as tf

    for name in names:
        path = Path(folder) / name / "1"
        path.parent.mkdir(parents=True)
        MAKERS[name](tf, str(path))
        (path.parent / "answers.pickle").write_bytes(pickle.dumps(_answers(tf, name, str(path))))


if __name__ == "__main__":
    main(*sys.argv[1:])
