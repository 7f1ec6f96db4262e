"""What a TFLite file says of its inputs, outputs and signatures.

Source: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
and tensorflow/lite/tools/signature/signature_def_util.cc.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from salver.backends.flatbuffer_wire import Table, root_table
from salver.backends.flexbuffer_wire import map_of
from salver.backends.tflite_check import check_graphs
from salver.core.data_type import DataType
from salver.errors import InternalError

_IDENTIFIER = b"TFL3"
_SIGNATURES = "signature_defs_metadata"
"""The metadata entry that TensorFlow's tools for serving write: a FlexBuffer with a map."""

_SERVED_TYPES = (
    DataType.FLOAT, None, DataType.INT32, DataType.UINT8, DataType.INT64, DataType.STRING,
    DataType.BOOL, DataType.INT16, DataType.COMPLEX64, DataType.INT8,
)  # fmt: skip
"""By the number that the file has; TensorFlow Serving knows no others."""
_RUNTIME_NUMBERS = {0: 1, 1: 10, **{number: number for number in range(2, 10)}}
"""From the number in the file to the runtime's own, which error texts have."""


@dataclass(frozen=True, slots=True)
class LiteTensor:
    """One tensor, as the file declares it."""

    index: int
    """Its number in its graph."""
    name: str
    data_type: DataType
    shape: tuple[int, ...]
    """The shape that is allocated for it at first; unknown sizes are 1."""
    signature_shape: tuple[int, ...]
    """The same with -1 for unknown sizes, where the file tells."""


@dataclass(frozen=True, slots=True)
class LiteSignature:
    """A signature definition of TFLite's own: aliases, and the tensors of one of the graphs."""

    key: str
    inputs: Mapping[str, LiteTensor]
    outputs: Mapping[str, LiteTensor]


class LiteFile:
    """The parts of a model file that serving needs.

    Raises:
        ValueError: the bytes are no TFLite model.
    """

    def __init__(self, data: bytes) -> None:
        self._model = root_table(memoryview(data), _IDENTIFIER)
        self._main = self._model.table(2, 0)
        check_graphs(self._model)

    def inputs(self) -> tuple[LiteTensor, ...]:
        """The inputs of the main graph, in its order.

        Raises:
            InternalError: one has a type that cannot be served.
        """
        return tuple(_tensor(self._main, index) for index in self._main.integers(1))

    def outputs(self) -> tuple[LiteTensor, ...]:
        """The same for the outputs."""
        return tuple(_tensor(self._main, index) for index in self._main.integers(2))

    @property
    def main(self) -> Table:
        """The table of the main graph."""
        return self._main

    def tensor(self, index: int) -> LiteTensor:
        """A tensor of the main graph.

        Raises:
            ValueError: there is no such tensor.
            InternalError: it has a type that cannot be served.
        """
        return _tensor(self._main, index)

    def constant(self, index: int) -> bytes:
        """The content of a constant tensor of the main graph; empty if it is none.

        Raises:
            ValueError: there is no such tensor.
        """
        return bytes(self._buffer(self._main.table(0, index).integer(2, "uint32")))

    def custom_code(self, operator: Table) -> str:
        """The name of an operation that is no part of TFLite; empty for all others.

        Raises:
            ValueError: there is no such operation.
        """
        return self._model.table(1, operator.integer(0, "uint32")).text(1)

    def custom_codes(self) -> list[str]:
        """The names of all operations in the file that are no part of TFLite."""
        codes = (self._model.table(1, i).text(1) for i in range(self._model.count(1)))
        return [code for code in codes if code]

    def metadata_signatures(self) -> dict[str, bytes]:
        """Serialized `tensorflow.SignatureDef`s by name, from the metadata; empty if none.

        Raises:
            ValueError: the metadata cannot be read.
        """
        for i in range(self._model.count(6)):
            entry = self._model.table(6, i)
            if entry.text(0) == _SIGNATURES:
                values = map_of(bytes(self._buffer(entry.integer(1, "uint32"))))
                return {key: value for key, value in values.items() if isinstance(value, bytes)}
        return {}

    def own_signatures(self) -> list[LiteSignature]:
        """TFLite's own signature definitions, which the converter writes.

        Raises:
            ValueError: they cannot be read.
            InternalError: an input or output has a type that cannot be served.
        """
        signatures = []
        for i in range(self._model.count(7)):
            entry = self._model.table(7, i)
            graph = self._model.table(2, entry.integer(4, "uint32"))
            signatures.append(
                LiteSignature(
                    entry.text(2),
                    _aliases(graph, entry, number=0),
                    _aliases(graph, entry, number=1),
                )
            )
        return signatures

    def _buffer(self, index: int) -> memoryview:
        return self._model.table(4, index).content(0)


def _aliases(graph: Table, signature: Table, *, number: int) -> dict[str, LiteTensor]:
    aliases = {}
    for i in range(signature.count(number)):
        entry = signature.table(number, i)
        aliases[entry.text(0)] = _tensor(graph, entry.integer(1, "uint32"))
    return aliases


def _tensor(graph: Table, index: int) -> LiteTensor:
    entry = graph.table(0, index)
    shape = entry.integers(0)
    return LiteTensor(
        index=index,
        name=entry.text(3),
        data_type=_data_type(entry.integer(1, "int8")),
        shape=shape,
        signature_shape=entry.integers(7) or shape,
    )


def _data_type(number: int) -> DataType:
    data_type = _SERVED_TYPES[number] if 0 <= number < len(_SERVED_TYPES) else None
    if data_type is None:
        raise InternalError(f"Unknown TfLite type: {_RUNTIME_NUMBERS.get(number, number + 1)}")
    return data_type
