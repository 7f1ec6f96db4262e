"""Inputs of a model from serialized `tf.Example`s."""

from collections.abc import Mapping
from typing import Any

from salver.core.nearest import nearest
from salver.errors import InvalidArgument
from salver.export.signatures import Examples, Inputs


def features_of(tf: Any, examples: Examples, inputs: Inputs, where: str) -> dict[str, Any]:
    """What `tf.io.parse_example` takes: as given, or one feature for each input.

    `where` names the signature, for messages.

    Raises:
        InvalidArgument: a feature is for no input, an input has none, or none can be made for it.
    """
    if isinstance(examples, Mapping):
        given = dict(examples)
        if inputs is not None:
            _require_the_same(given, inputs, where)
        if not given:
            raise InvalidArgument(f"{where}: examples has no features")
        kinds = (tf.io.FixedLenFeature, tf.io.VarLenFeature, tf.io.RaggedFeature,
                 tf.io.FixedLenSequenceFeature, tf.io.SparseFeature)  # fmt: skip
        for name, feature in given.items():
            if not isinstance(feature, kinds):
                raise InvalidArgument(
                    f"{where}: feature {name!r} is {feature!r}; it must be such as "
                    "tf.io.FixedLenFeature([1], tf.float32)"
                )
        return given
    if inputs is None:
        raise InvalidArgument(
            f"{where}: examples=True needs to know the inputs; give the features themselves: "
            "examples={'age': tf.io.FixedLenFeature([1], tf.float32)}"
        )
    return {name: _feature_for(tf, name, spec, where) for name, spec in inputs.items()}


def parsed(
    tf: Any, serialized: Any, features: Mapping[str, Any], inputs: Inputs, where: str
) -> dict[str, Any]:
    """The features of serialized Examples, shape [n], as the tensors that the inputs ask for.

    Raises:
        InvalidArgument: a feature cannot be such a tensor.
    """
    tensors = tf.io.parse_example(serialized, features)
    if inputs is None:
        return dict(tensors)
    return {name: _fitting(tf, name, tensors[name], spec, where) for name, spec in inputs.items()}


def _require_the_same(features: Mapping[str, Any], inputs: Mapping[str, Any], where: str) -> None:
    for name in features:
        if name not in inputs:
            raise InvalidArgument(
                f"{where}: feature {name!r} is for no input{nearest(name, inputs)}"
            )
    for name in inputs:
        if name not in features:
            raise InvalidArgument(f"{where}: input {name!r} needs a feature in examples, too")


def _feature_for(tf: Any, name: str, spec: Any, where: str) -> Any:
    shape = spec.shape
    if shape.rank is None or shape.rank < 1 or not shape[1:].is_fully_defined():
        raise InvalidArgument(
            f"{where}: input {name!r} has the shape {shape}, of which no feature of fixed length "
            "can be made; give the features themselves in examples"
        )
    if spec.dtype.is_floating:
        kind = tf.float32
    elif spec.dtype == tf.string:
        kind = tf.string
    elif spec.dtype.is_integer or spec.dtype.is_bool:
        kind = tf.int64
    else:
        raise InvalidArgument(f"{where}: input {name!r} is {spec.dtype.name}; no tf.Example has it")
    return tf.io.FixedLenFeature(shape[1:].as_list(), kind)


def _fitting(tf: Any, name: str, value: Any, spec: Any, where: str) -> Any:
    if isinstance(value, tf.SparseTensor):
        value = tf.sparse.to_dense(value)
    elif isinstance(value, tf.RaggedTensor):
        value = value.to_tensor()
    if value.dtype != spec.dtype:
        is_text = tf.string in (value.dtype, spec.dtype)
        if is_text or (value.dtype.is_floating and not spec.dtype.is_floating):
            raise InvalidArgument(
                f"{where}: feature {name!r} is {value.dtype.name}, the input {spec.dtype.name}"
            )
        # Examples know three types alone; the others are made of these.
        value = tf.cast(value, spec.dtype)
    if not spec.shape.is_compatible_with(value.shape):
        raise InvalidArgument(
            f"{where}: feature {name!r} has the shape {value.shape}, the input {spec.shape}; "
            f"a feature that fits is tf.io.FixedLenFeature({spec.shape[1:].as_list()}, ...)"
            if spec.shape.rank
            else f"{where}: feature {name!r} has the shape {value.shape}, the input {spec.shape}"
        )
    return value
