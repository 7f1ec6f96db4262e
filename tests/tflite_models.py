"""TFLite models for the tests, made by TensorFlow's converter in a process of its own.

Run as a program with the names of models and a folder: each is written as version 1
under its name. `with_signatures` puts signature definitions into the metadata of a file,
as TensorFlow Serving reads them.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TYPES = ("float32", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8")
"""All that TensorFlow Serving knows of TFLite's types; of each there is a model `echo_...`."""


def export(names: Iterable[str], folder: Path) -> None:
    """Make the models of these names under `folder`, in a child process."""
    command = [sys.executable, __file__, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def path_of(folder: Path, name: str) -> str:
    """The version folder of a model."""
    return str(folder / name / "1")


def file_of(folder: Path, name: str) -> Path:
    return folder / name / "1" / "model.tflite"


def half_plus_two(tf: Any) -> bytes:
    """y = x / 2 + 2, with signatures of that name in the metadata."""
    x = tensor_info("serving_default_x:0", 1, [-1])
    y = tensor_info("PartitionedCall:0", 1, [-1])
    return with_signatures(_half_plus_two(tf), {"serving_default": ({"x": x}, {"y": y})})


def plain(tf: Any) -> bytes:
    """The same as the converter leaves it, with a signature of TFLite's own."""
    return _half_plus_two(tf)


def two_graphs(tf: Any) -> bytes:
    """Two signatures of TFLite's own, each with its own graph."""
    spec = [tf.TensorSpec([None], tf.float32, name="x")]
    return _convert(
        tf,
        add=tf.function(lambda x: {"y": x + 1}, input_signature=spec),
        double=tf.function(lambda x: {"y": x * 2}, input_signature=spec),
    )


def positive(tf: Any) -> bytes:
    """The elements above zero: how many there are depends on their values."""
    return _of(tf, lambda x: {"y": tf.boolean_mask(x, x > 0)}, x=([None], tf.float32))


def words(tf: Any) -> bytes:
    """Strings in two columns, and how many there were."""
    return _of(
        tf,
        lambda words: {"pairs": tf.reshape(words, [-1, 2]), "count": tf.size(words)},
        words=([None], tf.string),
    )


def scalars(tf: Any) -> bytes:
    """Outputs without dimensions: a number and a string."""
    return _of(
        tf,
        lambda x, words: {"sum": tf.reduce_sum(x), "first": words[0]},
        x=([None], tf.float32),
        words=([None], tf.string),
    )


def matrix(tf: Any) -> bytes:
    """x times a matrix of 4 by 2, and the sum of x and z."""
    return _of(
        tf,
        lambda x, z: {"product": tf.linalg.matmul(x, tf.ones([4, 2])), "sum": x + z},
        x=([None, 4], tf.float32),
        z=([None, 4], tf.float32),
    )


def slow(tf: Any) -> bytes:
    """Multiplies matrices `steps` times, one after the other."""

    def multiply(steps: Any) -> Any:
        start = tf.fill([192, 192], 1.0 / 192)
        done, product = tf.while_loop(
            lambda step, _: step < steps,
            lambda step, value: (step + 1, tf.matmul(value, value)),
            (tf.constant(0), start),
        )
        return {"done": done, "corner": product[0, 0]}

    return _of(tf, multiply, steps=([], tf.int32))


def heavy(tf: Any) -> bytes:
    """40 MB of weights."""
    weights = tf.random.stateless_normal([1000, 10_000], (1, 2))
    return _of(tf, lambda x: {"y": tf.matmul(x, weights)[:, :2]}, x=([None, 1000], tf.float32))


def double_precision(tf: Any) -> bytes:
    """A type that TensorFlow Serving does not know."""
    return _of(tf, lambda x: {"y": tf.reshape(x, [-1])}, x=([None], tf.float64))


def examples(tf: Any) -> bytes:
    """Half plus two of feature x of serialized examples, to classify and to regress."""

    def parse(serialized: Any) -> Any:
        features = tf.io.parse_example(
            serialized,
            {
                "x": tf.io.FixedLenFeature([1], tf.float32),
                "name": tf.io.FixedLenFeature([], tf.string, default_value="none"),
                "ids": tf.io.FixedLenFeature([2], tf.int64, default_value=[-1, -2]),
                "tags": tf.io.VarLenFeature(tf.string),
            },
        )
        tags = features["tags"]
        return {
            "half": features["x"] / 2 + 2,
            "name": tf.reshape(features["name"], [-1, 1]),
            "ids": features["ids"],
            "tag_indices": tags.indices,
            "tag_values": tags.values,
            "tag_shape": tags.dense_shape,
        }

    spec = [tf.TensorSpec([None], tf.string, name="serialized")]
    data = _convert(tf, serving_default=tf.function(parse, input_signature=spec))
    inputs, outputs = _own_names(data, "serving_default")
    serialized = tensor_info(inputs["serialized"], 7, [-1])
    infos = {alias: tensor_info(name, 0, [-1]) for alias, name in outputs.items()}
    regress = ({"inputs": serialized}, {"outputs": infos["half"]})
    classify = ({"inputs": serialized}, {"scores": infos["half"], "classes": infos["name"]})
    everything = ({"serialized": serialized}, infos)
    return with_signatures(
        data,
        {"regress": regress, "classify": classify, "serving_default": everything},
        {"regress": "tensorflow/serving/regress", "classify": "tensorflow/serving/classify"},
    )


def with_signatures(
    data: bytes,
    signatures: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    methods: Mapping[str, str] | None = None,
) -> bytes:
    """The file with signature definitions in its metadata."""
    from tensorflow.core.protobuf import meta_graph_pb2

    serialized = {}
    for name, (inputs, outputs) in signatures.items():
        definition = meta_graph_pb2.SignatureDef()
        for alias, info in inputs.items():
            definition.inputs[alias].CopyFrom(info)
        for alias, info in outputs.items():
            definition.outputs[alias].CopyFrom(info)
        definition.method_name = (methods or {}).get(name, "tensorflow/serving/predict")
        serialized[name] = definition.SerializeToString()
    return with_metadata(data, map_of_strings(serialized))


def map_of_strings(values: Mapping[str, bytes]) -> bytes:
    """A FlexBuffer as TensorFlow's own tool makes it."""
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in values.items():
            builder.Key(key)
            # The library's own `String` wants text.
            builder.Blob(value)
    return bytes(builder.Finish())


def with_metadata(data: bytes, content: bytes) -> bytes:
    """The file with this content as its signatures' metadata, whatever it is."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(content)
    entry.name, entry.buffer = b"signature_defs_metadata", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(data) + len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor_info(name: str, number: int, shape: list[int]) -> Any:
    """A `tensorflow.TensorInfo` for a signature."""
    from tensorflow.core.protobuf import meta_graph_pb2

    info = meta_graph_pb2.TensorInfo(name=name, dtype=number)
    for size in shape:
        info.tensor_shape.dim.add(size=size)
    return info


def _own_names(data: bytes, key: str) -> tuple[dict[str, str], dict[str, str]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    names = [d["name"] for d in interpreter.get_tensor_details()]
    signature = interpreter._get_full_signature_list()[key]
    return (
        {alias: names[index] for alias, index in signature["inputs"].items()},
        {alias: names[index] for alias, index in signature["outputs"].items()},
    )


def _half_plus_two(tf: Any) -> bytes:
    return _of(tf, lambda x: {"y": x / 2 + 2}, x=([None], tf.float32))


def _echo(name: str) -> Any:
    def echo(tf: Any) -> bytes:
        kind = tf.dtypes.as_dtype(name)
        return _of(tf, lambda x: {"y": tf.reshape(x, [-1])}, x=([None], kind))

    return echo


def _of(tf: Any, function: Any, **inputs: tuple[list[int | None], Any]) -> bytes:
    specs = [tf.TensorSpec(shape, kind, name=name) for name, (shape, kind) in inputs.items()]
    return _convert(tf, serving_default=tf.function(function, input_signature=specs))


def _convert(tf: Any, **signatures: Any) -> bytes:
    module = tf.Module()
    folder = Path(sys.argv[1]) / "converting"
    tf.saved_model.save(module, str(folder), signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[*signatures])
    converter.allow_custom_ops = True
    data: bytes = converter.convert()
    shutil.rmtree(folder)
    return data


MAKERS: dict[str, Any] = {
    **{
        maker.__name__: maker
        for maker in (
            half_plus_two, plain, two_graphs, positive, words, scalars, matrix, slow, heavy,
            double_precision, examples,
        )
    },
    **{f"echo_{name}": _echo(name) for name in TYPES},
}  # fmt: skip


def main(folder: str, *names: str) -> None:
    import tensorflow as tf

    for name in names:
        path = file_of(Path(folder), name)
        path.parent.mkdir(parents=True)
        path.write_bytes(MAKERS[name](tf))


if __name__ == "__main__":
    main(*sys.argv[1:])
