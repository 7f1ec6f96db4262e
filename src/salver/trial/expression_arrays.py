"""Values of expressions as arrays: numbers and strings only, nothing that runs code."""

from typing import Any

import ml_dtypes
import numpy as np

from salver.core.nearest import nearest
from salver.errors import InvalidArgument
from salver.trial.expression_budget import Budget

NUMBERS = "biufc"
"""Kinds of dtypes that functions compute with."""

_TYPE_NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
TYPES: dict[str, np.dtype] = {
    **{name: np.dtype(name) for name in _TYPE_NAMES},
    **{"int": np.dtype(np.int64), "float": np.dtype(np.float64), "bool_": np.dtype(np.bool_)},
    **{"half": np.dtype(np.float16), "single": np.dtype(np.float32)},
    **{"double": np.dtype(np.float64), "bfloat16": np.dtype(ml_dtypes.bfloat16)},
}
"""What an array may be asked to hold, by the names that NumPy has for it."""
TEXT_TYPES = ("str", "bytes", "object", "str_", "bytes_", "object_")
"""Names that stand for strings, which always become objects of bytes."""


class TypeName:
    """A dtype, named in an expression."""

    def __init__(self, name: str) -> None:
        self.name = name


def type_of(given: object) -> np.dtype:
    """The dtype that an expression names; that of strings is object.

    Raises:
        InvalidArgument: there is none of this name.
    """
    name = given.name if isinstance(given, TypeName) else given
    if isinstance(name, str):
        if name in TYPES:
            return TYPES[name]
        if name in TEXT_TYPES:
            return np.dtype(object)
        raise InvalidArgument(f"there is no dtype {name!r:.80}{nearest(name[:80], TYPES)}")
    raise InvalidArgument(f"{given!r:.80} is not a dtype")


def array_of(value: object, budget: Budget) -> np.ndarray:
    """A number, a string, or nested lists of them as an array; arrays are returned as they are.

    Strings become object arrays of bytes, text in UTF-8.

    Raises:
        InvalidArgument: there are numbers and strings in it, or its lists are of unequal length.
    """
    if isinstance(value, np.ndarray):
        return value
    leaves: list[Any] = []
    shape = _flattened(value, leaves, 0)
    budget.elements(len(leaves) + sum(a.size for a in leaves if isinstance(a, np.ndarray)))
    texts = [isinstance(leaf, str | bytes) for leaf in leaves]
    if any(texts):
        if not all(texts):
            raise InvalidArgument("a list has both numbers and strings")
        array = np.empty(len(leaves), object)
        array[:] = [leaf.encode() if isinstance(leaf, str) else leaf for leaf in leaves]
        return array.reshape(shape)
    made = np.array(_plain(value))
    if made.dtype.kind not in NUMBERS:
        raise InvalidArgument(f"{value!r:.80} is not an array of numbers or strings")
    return made


def _plain(value: object) -> object:
    """The value, its arrays of objects refused: NumPy would look into them."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        raise InvalidArgument("a list has arrays of strings; np.concatenate and np.stack join them")
    return value


def _flattened(value: object, leaves: list[Any], depth: int) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        if not isinstance(
            value, bool | int | float | complex | str | bytes | np.generic | np.ndarray
        ):
            raise InvalidArgument(f"{value!r:.80} is neither a number, a string nor an array")
        leaves.append(value)
        return ()
    if depth > 32:
        raise InvalidArgument("lists lie more than 32 deep in each other")
    shapes = {_flattened(item, leaves, depth + 1) for item in value}
    if len(shapes) > 1:
        raise InvalidArgument("the lists in a list are not all of one length")
    return (len(value), *next(iter(shapes), ()))


def numbers_of(value: object, budget: Budget) -> np.ndarray:
    """As `array_of`, but without strings: NumPy would add and multiply them.

    Raises:
        InvalidArgument: it has strings in it, or is no array.
    """
    array = array_of(value, budget)
    # The types of ml_dtypes are of kind V, as structures are.
    if array.dtype.kind not in NUMBERS and array.dtype != TYPES["bfloat16"]:
        raise InvalidArgument("strings cannot be computed with")
    return array
