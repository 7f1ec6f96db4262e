"""JSON to tensors value by value: slow, and exact about what is wrong.

`json_tensor` converts the bodies that are right; this takes those that it passes up. Most
end in an error here, with the text of TensorFlow Serving (json_tensor.cc); the few that
do not are lawful but odd, such as a name given twice in one instance.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from salver.codecs.json_base64 import unescape_base64
from salver.codecs.json_quote import Node, quoted, text_of
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import TensorSpec
from salver.errors import InvalidArgument, ServingError, Unimplemented

Shape = tuple[int, ...]
Value = bool | int | float | bytes
Members = tuple[Node, ...]

_MAX_RANK = 64  # of a NumPy array


def _is_number(value: Node) -> bool:
    return type(value) is int or type(value) is float


def _is_integer_in(allowed: range) -> Callable[[Node], bool]:
    return lambda value: type(value) is int and value in allowed


_is_int32 = _is_integer_in(range(-(2**31), 2**31))
_FITS: Mapping[DataType, Callable[[Node], bool]] = {
    DataType.FLOAT: _is_number,
    DataType.DOUBLE: _is_number,
    DataType.INT32: _is_int32,
    # The narrower ones wrap around later, in the runtime of the original.
    DataType.INT16: _is_int32,
    DataType.INT8: _is_int32,
    DataType.UINT8: _is_int32,
    DataType.INT64: _is_integer_in(range(-(2**63), 2**63)),
    DataType.UINT32: _is_integer_in(range(2**32)),
    DataType.UINT64: _is_integer_in(range(2**64)),
    DataType.STRING: lambda value: isinstance(value, bytes),
    DataType.BOOL: lambda value: isinstance(value, bool),
}
"""What each type takes; the types that are not here cannot be given in JSON."""


@dataclass(slots=True)
class _Tensor:
    """What the instances have given one input so far."""

    shape: Shape = ()
    size: int = -1
    """Elements of one instance; -1 before the first."""
    values: list[Value] = field(default_factory=list)


def rows(instances: list[Node], inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Arrays of the row format: each instance gives every input one slice along axis 0.

    `instances` is not empty.

    Raises:
        InvalidArgument: with the first mistake in the order of the document.
    """
    if not isinstance(instances[0], tuple) and len(inputs) > 1:
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    tensors: dict[str, _Tensor] = {}
    named = _is_named(instances[0])
    for index, instance in enumerate(instances):
        if named:
            if not _is_named(instance):
                raise InvalidArgument(
                    f"Expecting object but got list at item {index} of input list"
                )
            _add_named(cast(Members, instance), index, inputs, tensors)
        else:
            if _is_named(instance):
                raise InvalidArgument(
                    f"Expecting value/list but got object at item {index} of input list"
                )
            _add(instance, next(iter(inputs)), inputs, tensors, f"{index} of")
    return {
        name: _array(name, inputs[name].data_type, (len(instances), *tensor.shape), tensor.values)
        for name, tensor in tensors.items()
    }


def columns(value: Node, inputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Arrays of the column format: the value, or each member of it, is one whole tensor.

    Raises:
        InvalidArgument: a value does not fit, or an input is missing.
        Unimplemented: an input's type cannot be given in JSON.
    """
    if not _is_named(value):
        if len(inputs) > 1:
            raise InvalidArgument(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        ((name, spec),) = inputs.items()
        return {name: _whole(name, value, spec.data_type)}
    arrays = {}
    for name, spec in inputs.items():
        member = find_member(cast(Members, value), name.encode())
        if member is None:
            raise InvalidArgument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _whole(name, member[0], spec.data_type)
    return arrays


def find_member(members: Members, name: bytes) -> tuple[Node] | None:
    """The first member of this name, in a tuple of one: its value may be None."""
    for index in range(0, len(members), 2):
        if members[index] == name:
            return (members[index + 1],)
    return None


def base64_text(value: Node) -> bytes | None:
    """The text inside `{"b64": "..."}`; None if `value` is anything else."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == b"b64":
        return value[1] if isinstance(value[1], bytes) else None
    return None


def type_name(value: Node) -> str:
    """What the messages call the kind of a value."""
    if isinstance(value, bool):
        return "True" if value else "False"
    names = {tuple: "Object", list: "Array", bytes: "String", type(None): "Null"}
    return names.get(type(value), "Number")


def name_of(key: Node) -> str:
    """A member's name; like the original's, it ends at a NUL."""
    return text_of(cast(bytes, key).split(b"\0", 1)[0])


def _is_named(value: Node) -> bool:
    return isinstance(value, tuple) and base64_text(value) is None


def _add_named(
    instance: Members, index: int, inputs: Mapping[str, TensorSpec], tensors: dict[str, _Tensor]
) -> None:
    names = set()
    for place in range(0, len(instance), 2):
        name = name_of(instance[place])
        names.add(name)
        _add(instance[place + 1], name, inputs, tensors, f"{index} key: {name} of")
    if names != set(inputs):
        expected = ",".join(sorted(inputs))
        raise InvalidArgument(
            f"Failed to process element: {index} of 'instances' list. "
            f"JSON object: {quoted(instance)} keys must be equal to: {expected}"
        )


def _add(
    value: Node, name: str, inputs: Mapping[str, TensorSpec], tensors: dict[str, _Tensor], at: str
) -> None:
    try:
        if name not in inputs:
            raise InvalidArgument(f"JSON object: does not have named input: {name}")
        _add_slice(value, inputs[name].data_type, tensors.setdefault(name, _Tensor()))
    except ServingError as error:
        raise InvalidArgument(
            f"Failed to process element: {at} 'instances' list. Error: {error.status}"
        ) from error


def _add_slice(value: Node, data_type: DataType, tensor: _Tensor) -> None:
    shape = _shape(value)
    before = len(tensor.values)
    tensor.values.extend(_values(value, data_type, shape))
    size = len(tensor.values) - before
    if tensor.size < 0:
        tensor.size = size
        tensor.shape = shape
    elif tensor.size != size:
        raise InvalidArgument(f"Expecting tensor size: {tensor.size} but got: {size}")
    elif tensor.shape != shape:
        raise InvalidArgument(f"Expecting shape {_text(tensor.shape)} but got: {_text(shape)}")


def _whole(name: str, value: Node, data_type: DataType) -> np.ndarray:
    shape = _shape(value)
    return _array(name, data_type, shape, list(_values(value, data_type, shape)))


def _text(shape: Shape) -> str:
    return f"[{','.join(map(str, shape))}]"


def _shape(value: Node) -> Shape:
    """Rank and sizes, as the first element of each level has them."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _values(value: Node, data_type: DataType, shape: Shape) -> Iterator[Value]:
    """The elements in row-major order, once they are known to be of `shape`."""
    pending = [iter([value])]
    while pending:
        level = len(pending) - 1
        for item in pending[-1]:
            if isinstance(item, list):
                _check_list(item, level, shape)
                pending.append(iter(item))
                break
            if level != len(shape):
                raise InvalidArgument(
                    f"JSON Value: {quoted(item)} found at incorrect level: {level + 1} "
                    f"in the JSON DOM. Expected at level: {len(shape)}"
                )
            yield _element(item, data_type)
        else:
            pending.pop()


def _check_list(items: list[Node], level: int, shape: Shape) -> None:
    if level >= len(shape):
        raise InvalidArgument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(items) != shape[level]:
        raise InvalidArgument(
            f"Encountered list at unexpected size: {len(items)} at level: {level} "
            f"expected size: {shape[level]}"
        )


def _element(value: Node, data_type: DataType) -> Value:
    if isinstance(value, tuple):
        if data_type is DataType.STRING:
            return decode_base64(value)
        raise _wrong_type(value, data_type)
    fits = _FITS.get(data_type)
    if fits is None:
        raise Unimplemented(
            f"Conversion of JSON Value: {quoted(value)} to type: {data_type.short_name}"
        )
    if not fits(value):
        raise _wrong_type(value, data_type)
    return cast(Value, value)


def decode_base64(value: Node) -> bytes:
    """The bytes that `{"b64": "..."}` stands for.

    Raises:
        InvalidArgument: it is another object, or not base64.
    """
    text = base64_text(value)
    if text is None:
        raise InvalidArgument(
            f"JSON Value: {quoted(value)} not formatted correctly for base64 data"
        )
    data = unescape_base64(text)
    if data is None:
        raise InvalidArgument("Unable to base64 decode")
    return data


def _wrong_type(value: Node, data_type: DataType) -> InvalidArgument:
    return InvalidArgument(
        f"JSON Value: {quoted(value)} Type: {type_name(value)} "
        f"is not of expected type: {data_type.short_name}"
    )


def _array(name: str, data_type: DataType, shape: Shape, values: list[Value]) -> np.ndarray:
    numpy_type = numpy_type_of(data_type)
    if len(shape) > _MAX_RANK or numpy_type is None:
        raise InvalidArgument(f"tensor parsing error: {name}")
    # A name given twice in an instance adds its values twice; the tensor takes the first.
    values = values[: int(np.prod(shape, dtype=np.int64))]
    if data_type is DataType.STRING:
        array = np.empty(len(values), object)
        array[:] = values
    elif data_type in (DataType.FLOAT, DataType.DOUBLE):
        with np.errstate(over="ignore", under="ignore"):
            array = np.array(values, np.float64).astype(numpy_type)
        tiny = np.abs(array) < np.finfo(numpy_type).tiny
        array[tiny] = np.copysign(0, array[tiny])
    else:
        wide = np.uint64 if data_type is DataType.UINT64 else np.int64
        array = np.array(values, wide).astype(numpy_type)
    return array.reshape(shape)
