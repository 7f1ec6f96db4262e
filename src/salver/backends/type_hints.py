"""Signatures from type hints: what a function of arrays takes and gives.

A hint is `NDArray[np.float32]` for any shape, `np.ndarray[tuple[int, Literal[4]], np.dtype[T]]`
for a shape in the words of the type system, or `Annotated[NDArray[np.float32], (None, 4)]`
for the same in short. Several outputs are a NamedTuple, a TypedDict or a dataclass of such hints.
Strings are `np.object_` or `np.bytes_` for arrays of `bytes`, `np.str_` for arrays of `str`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

from salver.backends.functions import tensor
from salver.core.signature import TensorSpec

_ONLY_OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class ArrayHint:
    """One array that a function takes or gives."""

    spec: TensorSpec
    as_str: bool = False
    """Whether the function wants strings as `str`."""


def hinted_inputs(function: Callable[..., object]) -> dict[str, ArrayHint]:
    """Each parameter, in order.

    Raises:
        ValueError: one has no hint, or one that tells no array.
    """
    hints = _hints_of(function)
    inputs = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(f"{function.__name__}(*{name}) cannot be a signature: name each input")
        if name not in hints:
            raise ValueError(f"{function.__name__}({name}) has no type hint")
        inputs[name] = _array_hint(hints[name], f"{function.__name__}({name})")
    return inputs


def hinted_outputs(function: Callable[..., object]) -> dict[str, ArrayHint]:
    """The result's parts, in order; a lone array is called `output`.

    Raises:
        ValueError: there is no hint, or one that tells no arrays.
    """
    hints = _hints_of(function)
    where = f"the result of {function.__name__}"
    if "return" not in hints:
        raise ValueError(f"{where} has no type hint")
    result = _meant(hints["return"])
    fields = _fields(result)
    if fields is None:
        return {_ONLY_OUTPUT: _array_hint(result, where)}
    return {name: _array_hint(hint, f"{where}, {name},") for name, hint in fields.items()}


def as_str(array: np.ndarray) -> np.ndarray:
    """Strings as `str`, for a function whose hint says so.

    Raises:
        ValueError: one of them is no UTF-8.
    """
    texts = np.empty(array.size, object)
    texts[:] = [text.decode() for text in array.ravel()]
    return texts.reshape(array.shape)


def parts(result: object) -> Mapping[str, object] | None:
    """What a function gave, by name: of a dict, a NamedTuple or a dataclass; None of all else."""
    if isinstance(result, Mapping):
        return result
    if isinstance(result, tuple) and hasattr(result, "_asdict"):
        named: dict[str, object] = result._asdict()
        return named
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return None


def _hints_of(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ValueError(
            f"the type hints of {function.__name__} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _fields(hint: Any) -> dict[str, Any] | None:
    is_named_tuple = isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")
    if is_named_tuple or is_typeddict(hint) or dataclasses.is_dataclass(hint):
        return get_type_hints(hint, include_extras=True)
    return None


def _meant(hint: Any) -> Any:
    """What an alias stands for, as of Python 3.12: NumPy's own `NDArray` is one there.

    Raises:
        ValueError: it stands for itself.
    """
    seen: list[Any] = []
    while (value := getattr(get_origin(hint) or hint, "__value__", None)) is not None:
        if hint in seen:
            raise ValueError(f"the type alias {hint} stands for itself")
        seen.append(hint)
        arguments = get_args(hint)
        hint = value[arguments] if arguments else value
    return hint


def _array_hint(hint: Any, where: str) -> ArrayHint:
    shape: tuple[int, ...] | None = None
    hint = _meant(hint)
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        hint = _meant(hint)
        shapes = [note for note in notes if isinstance(note, tuple)]
        if len(shapes) != 1:
            raise ValueError(f"{where} is annotated with no shape, as (None, 4) would be one")
        shape = tuple(_size(size, where) for size in shapes[0])
    arguments = get_args(hint)
    if get_origin(hint) is not np.ndarray or len(arguments) != 2:
        raise ValueError(f"{where} is no array like NDArray[np.float32], but {hint}")
    if shape is None:
        shape = _hinted_shape(_meant(arguments[0]), where)
    (scalar,) = get_args(arguments[1]) or (None,)
    if not isinstance(scalar, type):
        raise ValueError(f"{where} has no type of its elements, but {scalar}")
    try:
        return ArrayHint(tensor(scalar, shape), issubclass(scalar, np.str_))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _hinted_shape(hint: Any, where: str) -> tuple[int, ...] | None:
    """`tuple[int, Literal[4]]` is [-1, 4]; `tuple[int, ...]` and Any are any shape."""
    sizes = get_args(hint)
    if get_origin(hint) is not tuple or Ellipsis in sizes:
        return None
    return tuple(
        _size(get_args(size)[0], where) if get_origin(size) is Literal else -1 for size in sizes
    )


def _size(size: object, where: str) -> int:
    if size is None:
        return -1
    if isinstance(size, int) and size >= -1:
        return size
    raise ValueError(f"{where}: {size!r} is no size; None stands for any")
