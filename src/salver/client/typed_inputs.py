"""Inputs as arrays of the declared types."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.client.exchange import Operation
from salver.core.data_type import DataType, data_type_of, numpy_type_of
from salver.core.nearest import nearest
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument

Inputs = Mapping[str, npt.ArrayLike]


def arrays_of(
    inputs: Inputs, signature: Callable[[], Operation[Signature]]
) -> Operation[dict[str, np.ndarray]]:
    """The inputs as arrays; `signature` is only asked for if one has no type of its own.

    Raises:
        InvalidArgument: a value cannot be had in the declared type without a loss, or the
            signature has no such input.
    """
    if not isinstance(inputs, Mapping):
        raise InvalidArgument(
            f"the inputs are a {type(inputs).__name__}, not a dict of arrays by name"
        )
    for name in inputs:
        if not isinstance(name, str):
            raise InvalidArgument(f"an input is named {name!r}, which is no text")
    arrays = {
        name: _checked(name, np.asarray(value))
        for name, value in inputs.items()
        if isinstance(value, np.ndarray | np.generic)
    }
    if len(arrays) == len(inputs):
        return arrays
    declared = yield from signature()
    for name, value in inputs.items():
        if name not in arrays:
            spec = declared.inputs.get(name)
            if spec is None:
                raise InvalidArgument(
                    f"signature {declared.name!r} has no input {name!r}"
                    f"{nearest(name, declared.inputs)}"
                )
            arrays[name] = array_of_type(name, value, spec)
    return {name: arrays[name] for name in inputs}


def fitted(arrays: dict[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """The arrays in the declared types; the very same dict where they have them already.

    Raises:
        InvalidArgument: an array cannot be had in the declared type without a loss; as for lists,
            digits of a float are none.
    """
    other = {}
    for name, array in arrays.items():
        spec = signature.inputs.get(name)
        # What no such input is for is left to the server's words.
        if (
            spec is not None
            and data_type_of(array.dtype) is not spec.data_type
            and numpy_type_of(spec.data_type) is not None
        ):
            other[name] = array_of_type(name, array, spec)
    return {**arrays, **other} if other else arrays


def array_of_type(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """Numbers, text or nested lists of these as an array of the declared type.

    Raises:
        InvalidArgument: they do not fit: ragged, fractions for integers, out of range.
    """
    wanted = numpy_type_of(spec.data_type)
    if wanted is None:
        raise InvalidArgument(f"input {name!r} is {spec.data_type.short_name}, which has no values")
    try:
        if spec.data_type is DataType.STRING:
            return _text(name, value)
        return _numbers(name, value, spec.data_type, wanted)
    except (ValueError, OverflowError, TypeError) as error:
        raise InvalidArgument(
            f"input {name!r} cannot be an array of {spec.data_type.short_name}: {error}"
        ) from error


def _numbers(name: str, value: Any, declared: DataType, wanted: np.dtype) -> np.ndarray:
    plain = np.asarray(value)
    given, rank = str(plain.dtype), _rank(plain.dtype)
    is_perhaps_rounded = plain.dtype.kind == "f" and plain is not value
    if plain.dtype.kind == "O" or (is_perhaps_rounded and _rank(wanted) == _INTEGER):
        # Which NumPy also makes of integers that no integer type of its own holds all of.
        highest = max(np.asarray(value, object).reshape(-1), key=_rank_of_value, default=0)
        rank = _rank_of_value(highest)
        given = f"a {type(highest).__name__}" if plain.dtype.kind == "O" else given
    if plain.size and rank > _rank(wanted):
        given = "text" if plain.dtype.kind in "SU" else given
        raise InvalidArgument(f"input {name!r} takes {declared.short_name}, and was given {given}")
    # From the values themselves: as an array, large integers might be rounded already.
    with np.errstate(over="ignore"):
        array = np.asarray(value, wanted) if plain.size else plain.astype(wanted)
    if _rank(wanted) == _INTEGER:
        fits = np.array_equal(array.astype(plain.dtype), plain)
    else:
        wide = np.complex128 if _rank(wanted) == _COMPLEX else np.float64
        fits = not np.any(np.isfinite(plain.astype(wide)) & ~np.isfinite(array.astype(wide)))
    if not fits:
        raise OverflowError("a value is out of its range")
    return array


_TRUTH, _INTEGER, _FLOAT, _COMPLEX, _OTHER = range(5)


def _rank(dtype: np.dtype) -> int:
    """How much a type can hold: one of a lower rank has nothing to lose but range and digits."""
    if dtype.kind == "V" and dtype.names is None:
        # Of ml_dtypes.
        return _INTEGER if "int" in dtype.name else _FLOAT
    ranks = {"b": _TRUTH, "u": _INTEGER, "i": _INTEGER, "f": _FLOAT, "c": _COMPLEX}
    return ranks.get(dtype.kind, _OTHER)


def _rank_of_value(value: object) -> int:
    if isinstance(value, bool | np.bool_):
        return _TRUTH
    if isinstance(value, int | np.integer):
        return _INTEGER
    if isinstance(value, float | np.floating):
        return _FLOAT
    return _COMPLEX if isinstance(value, complex | np.complexfloating) else _OTHER


def _text(name: str, value: Any) -> np.ndarray:
    array = np.array(value, object)
    flat = array.reshape(-1)
    for index, item in enumerate(flat):
        if isinstance(item, str):
            flat[index] = item.encode()
        elif not isinstance(item, bytes):
            kind = type(item).__name__
            raise InvalidArgument(f"input {name!r} takes text, and was given a {kind}")
    return array


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    if data_type_of(array.dtype) is DataType.INVALID:
        raise InvalidArgument(f"input {name!r} is {array.dtype}, which no tensor can have")
    return array
