"""Takes the operation ParseExample out of a TFLite file, because the runtime does not have it.

What the operation would compute become further inputs of the main graph; the
program parses the examples and feeds them. The file is changed in place: the list
of operations loses one, the list of inputs is written anew at the end.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salver.backends.example_parsing import DenseFeature, SparseFeature, parse_examples
from salver.backends.flatbuffer_wire import Table
from salver.backends.flexbuffer_wire import map_of
from salver.backends.tflite_file import LiteFile, LiteTensor
from salver.core.data_type import DataType, numpy_type_of

_INPUTS, _OPERATORS = 1, 3
"""Fields of a graph."""
_SPARSE_KEYS, _DENSE_KEYS = 2, 3
"""Inputs of the second version, which has all keys of a kind in one tensor."""


@dataclass(frozen=True, slots=True)
class ParseExample:
    """The operation, as far as it was taken out of the file."""

    position: int
    """Which input of the main graph has the serialized examples."""
    sparse: Sequence[SparseFeature]
    dense: Sequence[DenseFeature]

    def parse(self, serialized: np.ndarray) -> list[np.ndarray]:
        """The further inputs, in order.

        Raises:
            ValueError: an example is not as the model wants it.
        """
        return parse_examples(serialized.flat, self.sparse, self.dense)


def take_out_parse_example(data: bytes, file: LiteFile) -> tuple[bytes, ParseExample | None]:
    """The file without the operation, and what it did; the same file if it has none.

    It must read an input of the main graph and have constant keys and defaults. What is
    otherwise stays in the file, and the runtime says that it does not know it.

    Raises:
        ValueError: the file is damaged.
    """
    graph = file.main
    for number in range(graph.count(_OPERATORS)):
        operator = graph.table(_OPERATORS, number)
        version = {"ParseExample": 1, "ParseExampleV2": 2}.get(file.custom_code(operator), 0)
        read, computed = operator.integers(1), operator.integers(2)
        if version and read and read[0] in graph.integers(_INPUTS):
            features = _features(file, version, operator)
            if features is None:
                continue
            position = graph.integers(_INPUTS).index(read[0])
            return _without(data, graph, number, computed), ParseExample(position, *features)
    return data, None


def _features(
    file: LiteFile, version: int, operator: Table
) -> tuple[list[SparseFeature], list[DenseFeature]] | None:
    read, computed = operator.integers(1), operator.integers(2)
    options = map_of(bytes(operator.content(5)))
    count = options.get("num_sparse" if version == 2 else "Nsparse", 0)
    if not isinstance(count, int) or 3 * count > len(computed) or len(read) < 4:
        return None
    if file.tensor(read[0]).data_type is not DataType.STRING:
        return None
    if version == 2:
        sparse_keys = _texts(file.constant(read[_SPARSE_KEYS]))
        dense_keys = _texts(file.constant(read[_DENSE_KEYS]))
        defaults = read[5:]
    else:
        dense_count = len(computed) - 3 * count
        keys = [_texts(file.constant(index)) for index in read[2 : 2 + count + dense_count]]
        sparse_keys = [key for texts in keys[:count] for key in texts]
        dense_keys = [key for texts in keys[count:] for key in texts]
        defaults = read[2 + count + dense_count :]
    values = [file.tensor(index) for index in computed[count : 2 * count]]
    dense = [file.tensor(index) for index in computed[3 * count :]]
    if len(sparse_keys) != count or not len(dense_keys) == len(dense) == len(defaults):
        return None
    if any(size < 0 for tensor in dense for size in tensor.signature_shape[1:]):
        return None
    return (
        [SparseFeature(key, t.data_type) for key, t in zip(sparse_keys, values, strict=True)],
        [
            DenseFeature(key, t.data_type, t.signature_shape[1:], _default(file, index, t))
            for key, t, index in zip(dense_keys, dense, defaults, strict=True)
        ],
    )


def _default(file: LiteFile, index: int, tensor: LiteTensor) -> np.ndarray:
    content = file.constant(index)
    if tensor.data_type is not DataType.STRING:
        return np.frombuffer(content, numpy_type_of(tensor.data_type))
    texts = _texts(content)
    values = np.empty(len(texts), object)
    values[:] = texts
    return values


def _texts(content: bytes) -> list[bytes]:
    """The strings of a tensor: their number, where each begins and the last one ends, the bytes."""
    if len(content) < 4:
        return []
    (count,) = struct.unpack_from("<I", content)
    if 4 * count + 8 > len(content):
        raise ValueError(f"{count} strings in {len(content)} bytes")
    bounds = struct.unpack_from(f"<{count + 1}I", content, 4)
    return [content[bounds[i] : bounds[i + 1]] for i in range(count)]


def _without(data: bytes, graph: Table, number: int, further: Sequence[int]) -> bytes:
    changed = bytearray(data)
    start, count = graph.vector(_OPERATORS, 4)
    for place in range(start + 4 * number, start + 4 * (count - 1), 4):
        # Offsets count from where they stand, which is one place further up now.
        (offset,) = struct.unpack_from("<I", changed, place + 4)
        struct.pack_into("<I", changed, place, offset + 4)
    struct.pack_into("<I", changed, start - 4, count - 1)
    inputs = (*graph.integers(_INPUTS), *further)
    changed += bytes(-len(changed) % 4)
    field = graph.position(_INPUTS)
    struct.pack_into("<I", changed, field, len(changed) - field)
    changed += struct.pack(f"<I{len(inputs)}i", len(inputs), *inputs)
    return bytes(changed)
