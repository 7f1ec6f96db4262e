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
    builder = v1.saved_model.Builder(path)
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
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


MAKERS: dict[str, Any] = {maker.__name__: maker for maker in (constant, slow, weighty)}


def main(name: str, path: str, *arguments: str) -> None:
    import tensorflow as tf

    MAKERS[name](tf, path, *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
