"""SavedModels that do more than compute, as TensorFlow itself exports them.

Run as a program with a folder, it writes each under the name of the operation that is in it.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any


def export(folder: Path) -> None:
    """Make all of them under `folder`, in a child process."""
    done = subprocess.run([sys.executable, __file__, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _write_all(tf: Any, folder: Path) -> None:
    def written(x: Any) -> Any:
        tf.io.write_file("/tmp/x", tf.strings.as_string(x[0]))
        return {"y": x}

    def joined(path: Any) -> Any:
        text = tf.constant("")
        for line in tf.data.TextLineDataset(path):
            text += line
        return {"text": text}

    def printed(x: Any) -> Any:
        tf.print(x, output_stream="file:///tmp/x")
        return {"y": x}

    def in_a_branch(x: Any) -> Any:
        def read() -> Any:
            return tf.strings.to_number(tf.io.read_file("/etc/hostname")) + x

        return {"y": tf.cond(x[0] > 1e9, read, lambda: x)}

    path, numbers = tf.TensorSpec([], tf.string, "path"), tf.TensorSpec([None], tf.float32, "x")
    for name, call, spec in (
        ("ReadFile", lambda path: {"content": tf.io.read_file(path)}, path),
        ("MatchingFiles", lambda path: {"names": tf.io.matching_files(path)}, path),
        ("WriteFile", written, numbers),
        ("TextLineDataset", joined, path),
        ("PrintV2", printed, numbers),
        ("in_a_branch", in_a_branch, numbers),
        ("PyFunc", lambda x: {"y": tf.numpy_function(lambda a: a, [x], tf.float32)}, numbers),
    ):
        model = tf.Module()
        model.call = tf.function(call, input_signature=[spec])
        tf.saved_model.save(model, str(folder / name), model.call)


if __name__ == "__main__":
    import tensorflow

    _write_all(tensorflow, Path(sys.argv[1]))
