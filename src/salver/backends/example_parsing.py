"""`tf.io.parse_example` in Python: serialized `tf.Example`s to one array per feature.

The runtime of TFLite has no such operation, but TensorFlow Serving's has, and models that
classify or regress begin with it. Source: tensorflow/core/example/{example,feature}.proto
and tensorflow/lite/kernels/parse_example/parse_example.cc.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salver.backends.protobuf_wire import Message
from salver.core.data_type import DataType, numpy_type_of

_KINDS = {1: DataType.STRING, 2: DataType.FLOAT, 3: DataType.INT64}
"""Fields of `tensorflow.Feature`, of which one is there."""

Values = np.ndarray
Example = Mapping[bytes, tuple[DataType, Values]]
"""The features of one example that have a value."""


@dataclass(frozen=True, slots=True)
class DenseFeature:
    """A feature that has as many values in every example."""

    key: bytes
    data_type: DataType
    shape: tuple[int, ...]
    """Of the values of one example."""
    default: np.ndarray
    """What stands for a feature that is missing; without elements, it must be there."""

    def parse(self, examples: Sequence[Example]) -> list[np.ndarray]:
        """One array with the values of all examples.

        Raises:
            ValueError: an example has no such feature, or another type or number of values.
        """
        count = math.prod(self.shape)
        values = np.empty((len(examples), count), numpy_type_of(self.data_type))
        for i, example in enumerate(examples):
            found = _values(example, self.key, self.data_type)
            row = self.default if found is None else found
            if found is None and not row.size and count:
                raise ValueError(f"Feature: {self.key!r} is required but could not be found.")
            if row.size != count:
                raise ValueError(
                    f"Key: {self.key!r}, Index: {i}. Number of values != expected. "
                    f"Values size: {row.size} but output shape: {list(self.shape)}"
                )
            values[i] = row
        return [values.reshape(len(examples), *self.shape)]


@dataclass(frozen=True, slots=True)
class SparseFeature:
    """A feature that has any number of values."""

    key: bytes
    data_type: DataType

    def parse(self, examples: Sequence[Example]) -> list[np.ndarray]:
        """Indices, values and shape of a sparse matrix with a row for each example.

        Raises:
            ValueError: an example has values of another type.
        """
        rows = [_values(example, self.key, self.data_type) for example in examples]
        counts = [0 if row is None else row.size for row in rows]
        indices = [(i, j) for i, count in enumerate(counts) for j in range(count)]
        values = np.empty(len(indices), numpy_type_of(self.data_type))
        position = 0
        for row, count in zip(rows, counts, strict=True):
            values[position : position + count] = row if row is not None else ()
            position += count
        shape = np.array([len(examples), max(counts, default=0)], np.int64)
        return [np.array(indices, np.int64).reshape(-1, 2), values, shape]


def parse_examples(
    serialized: Iterable[bytes], sparse: Sequence[SparseFeature], dense: Sequence[DenseFeature]
) -> list[np.ndarray]:
    """Indices of all sparse features, then their values, then their shapes, then the dense ones.

    Raises:
        ValueError: an example cannot be read, or does not have what the features expect.
    """
    wanted = frozenset([f.key for f in sparse] + [f.key for f in dense])
    examples = [example_features(memoryview(data), wanted) for data in serialized]
    parsed = [feature.parse(examples) for feature in sparse]
    arrays = [arrays[part] for part in range(3) for arrays in parsed]
    for feature in dense:
        arrays += feature.parse(examples)
    return arrays


def example_features(data: memoryview, wanted: Collection[bytes]) -> Example:
    """The wanted features of one serialized example, as far as they are there.

    Raises:
        ValueError: it cannot be read.
    """
    features = {}
    for content in Message(data).contents(1):
        for entry in Message(content).contents(1):
            pair = Message(entry)
            key = bytes(pair.content(1))
            if key in wanted:
                # As in every map of protobuf, the last one counts.
                features[key] = _feature(pair.content(2))
    return {key: feature for key, feature in features.items() if feature is not None}


def _feature(data: memoryview) -> tuple[DataType, Values] | None:
    message = Message(data)
    for number, data_type in _KINDS.items():
        if message.has(number):
            return data_type, _list(Message(message.content(number)), data_type)
    return None


def _list(message: Message, data_type: DataType) -> Values:
    if data_type is DataType.FLOAT:
        return message.fixed(1, np.dtype("<f4"))
    if data_type is DataType.INT64:
        return message.integers(1)
    texts = np.empty(len(message.contents(1)), object)
    texts[:] = [bytes(text) for text in message.contents(1)]
    return texts


def _values(example: Example, key: bytes, data_type: DataType) -> Values | None:
    found = example.get(key)
    if found is None:
        return None
    if found[0] is not data_type:
        raise ValueError(
            f"Key: {key!r}. Data types don't match. Data type: {found[0].short_name} "
            f"but expected type: {data_type.short_name}"
        )
    return found[1]
