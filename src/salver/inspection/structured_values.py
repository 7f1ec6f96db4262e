"""The arguments of saved functions, which a SavedModel states as messages, as Python values.

What Python has of its own becomes that; TensorFlow's types become objects with the same text.
Source: tensorflow/python/saved_model/nested_structure_coder.py, whose order of the keys of a
dict is that of a hash table: here they are sorted.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from salver.backends.tensor_proto import array_of_proto
from salver.codecs.messages import WireMessage
from salver.inspection.saved_model import type_label

_SPEC_CLASSES = {
    1: "SparseTensorSpec",
    2: "IndexedSlicesSpec",
    3: "RaggedTensorSpec",
    4: "TensorArraySpec",
    5: "DatasetSpec",
    6: "IteratorSpec",
    7: "OptionalSpec",
    8: "PerReplicaSpec",
    9: "VariableSpec",
    10: "RowPartitionSpec",
}
"""`TypeSpecProto.TypeSpecClass`; all others carry the name of their class."""
_LONGER_NAMES = {"float": "float32", "double": "float64", "half": "float16"}


@dataclass(frozen=True, slots=True)
class ElementType:
    """As `tf.DType`."""

    number: int

    @property
    def name(self) -> str:
        """The Python name: `float32`, `float32_ref`."""
        name, ref, _ = type_label(self.number).removeprefix("DT_").lower().partition("_ref")
        return _LONGER_NAMES.get(name, name) + ref

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"


@dataclass(frozen=True, slots=True)
class Shape:
    """As `tf.TensorShape`."""

    sizes: tuple[int | None, ...] | None

    def __iter__(self) -> Iterator[int | None]:
        return iter(self.sizes or ())

    def __repr__(self) -> str:
        return f"TensorShape({None if self.sizes is None else list(self.sizes)})"

    def __str__(self) -> str:
        return "<unknown>" if self.sizes is None else str(self.sizes)


@dataclass(frozen=True, slots=True)
class TensorArgument:
    """As `tf.TensorSpec`."""

    name: str | None
    shape: Shape
    element_type: ElementType
    bounds: str = ""

    def __repr__(self) -> str:
        kind = "BoundedTensorSpec" if self.bounds else "TensorSpec"
        return (
            f"{kind}(shape={self.shape}, dtype={self.element_type!r}, "
            f"name={self.name!r}{self.bounds})"
        )


@dataclass(frozen=True, slots=True)
class CompositeArgument:
    """As any other `tf.TypeSpec`: a class, and what it serializes to."""

    class_name: str
    state: object

    def __repr__(self) -> str:
        return f"{self.class_name}{self.state!r}"


def class_name_of(value: object) -> str:
    """What TensorFlow calls the class of a value from `value_of`."""
    if isinstance(value, CompositeArgument):
        return value.class_name
    if isinstance(value, ElementType):
        return "DType"
    return "TensorShape" if isinstance(value, Shape) else type(value).__name__


def value_of(message: WireMessage) -> Any:
    """What a `tensorflow.StructuredValue` stands for.

    Raises:
        ValueError: it stands for nothing that is known.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise ValueError("a structure without a value")
    value = getattr(message, kind)
    decode = _DECODERS.get(kind)
    return value if decode is None else decode(value)


def _shape(message: WireMessage) -> Shape:
    if message.unknown_rank:
        return Shape(None)
    return Shape(tuple(None if dim.size < 0 else dim.size for dim in message.dim))


def _tensor(message: WireMessage) -> TensorArgument:
    shape, element_type = _shape(message.shape), ElementType(message.dtype)
    return TensorArgument(message.name or None, shape, element_type)


def _bounded_tensor(message: WireMessage) -> TensorArgument:
    bounds = ", ".join(
        f"{name}={array_of_proto(memoryview(getattr(message, name).SerializeToString()))!r}"
        for name in ("minimum", "maximum")
    )
    shape, element_type = _shape(message.shape), ElementType(message.dtype)
    return TensorArgument(message.name or None, shape, element_type, f", {bounds}")


def _composite(message: WireMessage) -> CompositeArgument:
    name = _SPEC_CLASSES.get(message.type_spec_class)
    if name is None:
        name = message.type_spec_class_name.rpartition(".")[2]
    return CompositeArgument(name, value_of(message.type_state))


def _named_tuple(message: WireMessage) -> Any:
    # Its fields are known from the file only, not to who checks types.
    kind = namedtuple(message.name, [pair.key for pair in message.values])  # type: ignore[misc]
    return kind(*(value_of(pair.value) for pair in message.values))


def _array(message: WireMessage) -> Any:
    return array_of_proto(memoryview(message.SerializeToString()))


_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "none_value": lambda value: None,
    "tensor_shape_value": _shape,
    "tensor_dtype_value": ElementType,
    "tensor_spec_value": _tensor,
    "bounded_tensor_spec_value": _bounded_tensor,
    "type_spec_value": _composite,
    "list_value": lambda value: [value_of(item) for item in value.values],
    "tuple_value": lambda value: tuple(value_of(item) for item in value.values),
    "dict_value": lambda value: {key: value_of(value.fields[key]) for key in sorted(value.fields)},
    "named_tuple_value": _named_tuple,
    "tensor_value": _array,
    "numpy_value": _array,
}
