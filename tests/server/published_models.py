"""Models as TensorFlow Serving's published end-to-end test makes them.

Run as a program with the name of a model and a path. Each takes `x` or what Keras calls it.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any


def export(name: str, path: Path) -> None:
    """Make one of the models below at `path`, in a child process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, __file__, name, str(path)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def six_times(tf: Any, path: str) -> None:
    """A function of a checkpoint, of any rank: y = 6 x."""
    root = tf.train.Checkpoint()
    root.v1 = tf.Variable(3.0)
    root.v2 = tf.Variable(2.0)
    root.f = tf.function(lambda x: {"y": root.v1 * root.v2 * x})
    call = root.f.get_concrete_function(tf.TensorSpec(None, tf.float32, name="x"))
    tf.saved_model.save(root, path, call)


def two_signatures(tf: Any, path: str) -> None:
    """One answers 1, the other 2."""
    specification = [tf.TensorSpec(None, tf.float32, name="x")]
    root = tf.train.Checkpoint()
    root.f = tf.function(lambda x: {"y": 1.0 + 0.0 * x}, input_signature=specification)
    root.g = tf.function(lambda x: {"y": 2.0 + 0.0 * x}, input_signature=specification)
    signatures = {"serving_default": root.f, "custom_signature_key": root.g}
    tf.saved_model.save(root, path, signatures)


def sequential(tf: Any, path: str) -> None:
    """A Keras model with one weight, which is one."""
    _ones().export(path, verbose=False)


def distributed(tf: Any, path: str) -> None:
    """The same, made and saved under a strategy for several devices."""
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = _ones()
    model.export(path, verbose=False)


def words(tf: Any, path: str) -> None:
    """How many words a text has, by an operation of TensorFlow Text."""
    import tensorflow_text as text

    tokenizer = text.WhitespaceTokenizer()

    class Words(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": tf.cast(tokenizer.tokenize(x).row_lengths(), tf.float32)}

    model = Words()
    tf.saved_model.save(model, path, model.call)


def _ones() -> Any:
    import keras

    dense = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)
    return keras.Sequential([keras.layers.Input((1,), name="x"), dense])


MAKERS: dict[str, Any] = {
    maker.__name__: maker for maker in (six_times, two_signatures, sequential, distributed, words)
}


def main(name: str, path: str) -> None:
    import tensorflow as tf

    MAKERS[name](tf, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
