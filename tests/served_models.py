"""SavedModels for tests of the whole server: versions that can be told apart, and slow ones.

Run as a program with the name of a model and a path, it makes that model with
TensorFlow. Further versions of `constant` are made from the first by a change of
its one number, which needs no TensorFlow process.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def export(name: str, path: Path, *arguments: str) -> None:
    """Make one of the models below at `path`, in a child process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, name, str(path), *arguments]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def constant(tf: Any, path: str) -> None:
    """Answers its own number for each element of `x`."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        number = tf.constant(1.0, name="number")
        _save(v1, session, path, {"x": x}, {"y": tf.add(tf.multiply(x, 0.0), number)})


def slow(tf: Any, path: str) -> None:
    """Multiplies matrices `steps` times, one after the other: a few hundred microseconds each."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        steps = v1.placeholder(tf.int64, [], name="steps")
        side = 256
        start = tf.fill([side, side], 1.0 / side)
        done, product = tf.while_loop(
            lambda step, _: step < steps,
            lambda step, matrix: (step + 1, tf.matmul(matrix, matrix)),
            (tf.constant(0, tf.int64), start),
            parallel_iterations=1,
        )
        # The product is an output too, or TensorFlow would not compute it.
        outputs = {"done": done, "corner": product[0, 0]}
        _save(v1, session, path, {"steps": steps}, outputs)


def examples(tf: Any, path: str) -> None:
    """Of `x` in each `tf.Example`: half of it plus two, or how likely `yes` and `no` are."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(tf.string, [None], name="examples")
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        x = parsed["x"]
        labels = tf.tile(tf.constant([["no", "yes"]]), [tf.shape(x)[0], 1])
        scores = tf.concat([1.0 - x, x], axis=1)
        plain = v1.placeholder(tf.float32, [None], name="x")
        definition = v1.saved_model.signature_def_utils.predict_signature_def
        signatures = {
            "classify": definition({"inputs": inputs}, {"classes": labels, "scores": scores}),
            "regress": definition({"inputs": inputs}, {"outputs": 0.5 * x + 2.0}),
            "serving_default": definition({"x": plain}, {"y": 0.5 * plain + 2.0, "z": -plain}),
        }
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def seen(tf: Any, path: str) -> None:
    """Answers how many rows a run of the model had, beside `x` itself.

    `wide`: the same for rows of any length; `checked`: fails where an `x` is below zero; `twins`:
    one tensor under two names;
    `gated`: writes to the files `<gate>.begun` and `<gate>.go` of its first row before it
    answers, so that named pipes of these names tell that it runs, and hold it; `classify` and
    `regress` read examples and give the number of rows as the score.
    """
    v1 = tf.compat.v1
    predict = v1.saved_model.signature_def_utils.predict_signature_def
    with tf.Graph().as_default(), v1.Session() as session:

        def rows_like(rows: Any) -> Any:
            count = tf.shape(rows)[:1]
            return tf.fill(count, count[0])

        x = v1.placeholder(tf.float32, [None], name="x")
        signatures = {"serving_default": predict({"x": x}, {"y": x * 1.0, "rows": rows_like(x)})}
        wide = v1.placeholder(tf.float32, [None, None], name="wide")
        signatures["wide"] = predict({"x": wide}, {"y": wide * 1.0, "rows": rows_like(wide)})
        with tf.control_dependencies([v1.assert_positive(x, message="x must be above zero")]):
            signatures["checked"] = predict({"x": x}, {"y": x * 2.0, "rows": rows_like(x)})
        twin = x * 5.0
        signatures["twins"] = predict({"x": x}, {"one": twin, "other": twin})
        gate = v1.placeholder(tf.string, [None], name="gate")
        begun = tf.io.write_file(tf.strings.join([gate[0], ".begun"]), "begun")
        with tf.control_dependencies([begun]):
            held = tf.io.write_file(tf.strings.join([gate[0], ".go"]), "held")
        with tf.control_dependencies([held]):
            signatures["gated"] = predict(
                {"x": x, "gate": gate}, {"y": x * 3.0, "rows": rows_like(x)}
            )
        examples = v1.placeholder(tf.string, [None], name="examples")
        features = {"x": tf.io.FixedLenFeature([], tf.float32)}
        values = tf.io.parse_example(examples, features)["x"]
        score = tf.cast(rows_like(values), tf.float32)
        signatures["regress"] = v1.saved_model.signature_def_utils.regression_signature_def(
            examples, score + 0.0 * values
        )
        signatures["classify"] = v1.saved_model.signature_def_utils.classification_signature_def(
            examples, tf.strings.as_string(values, precision=0)[:, None], score[:, None]
        )
        _save_all(v1, session, path, signatures)


def weighty(tf: Any, path: str, megabytes: str = "20", answer: str = "1") -> None:
    """Answers one number, for which it keeps so many megabytes of variables."""

    class Weighty(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            self.rows = [
                tf.Variable(tf.fill([256 * 1024], float(answer))) for _ in range(int(megabytes))
            ]

        @tf.function(input_signature=[tf.TensorSpec([None], name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": x * 0.0 + self.rows[-1][0]}

    model = Weighty()
    tf.saved_model.save(model, path, model.call)


def _save(v1: Any, session: Any, path: str, inputs: Any, outputs: Any) -> None:
    signature = v1.saved_model.signature_def_utils.predict_signature_def(inputs, outputs)
    _save_all(v1, session, path, {"serving_default": signature})


def _save_all(v1: Any, session: Any, path: str, signatures: dict[str, Any]) -> None:
    builder = v1.saved_model.Builder(path)
    builder.add_meta_graph_and_variables(session, ["serve"], signatures)
    builder.save()


class VersionedModel:
    """A base path to which versions that answer their own number are added."""

    def __init__(self, template: Path, base_path: Path) -> None:
        self.base_path = base_path
        self.template = template
        self._template = (template / "saved_model.pb").read_bytes()

    def prepare(self, version: int, answer: float | None = None) -> Path:
        """Write a version under a name that is no number, so that no server takes it yet."""
        from tensorflow.core.protobuf import saved_model_pb2

        model = saved_model_pb2.SavedModel.FromString(self._template)
        graph = model.meta_graphs[0].graph_def
        (number,) = (node for node in graph.node if node.name == "number")
        number.attr["value"].tensor.float_val[:] = [version if answer is None else answer]
        path = self.base_path / f"incoming-{version}"
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(model.SerializeToString())
        return path

    def add(self, version: int, answer: float | None = None) -> Path:
        """Let a version appear at once, as operators are told to."""
        return self.prepare(version, answer).rename(self.base_path / str(version))

    def break_(self, version: int) -> Path:
        """Let a version appear that cannot be loaded."""
        path = self.base_path / f"incoming-{version}"
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(b"this is no graph")
        return path.rename(self.base_path / str(version))

    def remove(self, version: int) -> None:
        """Let a version vanish at once."""
        gone = self.base_path / f"outgoing-{version}"
        os.rename(self.base_path / str(version), gone)
        shutil.rmtree(gone)


MAKERS: dict[str, Any] = {
    maker.__name__: maker for maker in (constant, examples, seen, slow, weighty)
}


def main(name: str, path: str, *arguments: str) -> None:
    import tensorflow as tf

    MAKERS[name](tf, path, *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
