"""Arrays of a signature's inputs from the values of rows, checked against what it declares."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.bulk.row_source import Values
from salver.core.data_type import DataType, numpy_type_of
from salver.core.nearest import nearest
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument

_WORDS = {"true": True, "false": False, "1": True, "0": False}
_MISSING = object()
_EXACT = 2.0**53
"""Below, every integer is a float64 of its own."""


def takes_batches(signature: Signature) -> bool:
    """Whether rows can be joined along the first dimension of every input and output."""
    specs = (*signature.inputs.values(), *signature.outputs.values())
    return all(spec.shape is None or spec.shape[:1] == (-1,) for spec in specs)


@dataclass(frozen=True, slots=True)
class InputValues:
    """Finds one input's value in a row."""

    name: str
    spec: TensorSpec
    columns: tuple[str, ...]
    """Where its value is; several: one number of a vector in each."""
    values: Values
    batched: bool

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the value of one row."""
        if self.spec.shape is None:
            return None
        return self.spec.shape[1:] if self.batched else self.spec.shape

    def array(self, row: Mapping[str, Any]) -> np.ndarray:
        """The value of one row.

        Raises:
            ValueError: it is missing, or of another type or shape than the input.
        """
        value = self._found(row)
        try:
            return self._shaped(self._typed(self._plain(value)))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"input {self.name!r}: {_line(error)}") from None

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The values of several rows, which are all good and of one shape, in one array.

        Raises:
            ValueError: they are not; `array` tells which.
        """
        values = [self._plain(self._found(row)) for row in rows]
        try:
            array = self._typed(values)
        except (TypeError, OverflowError) as error:
            raise ValueError(str(error)) from None
        if self.values is Values.FLAT and self.shape is not None:
            return array.reshape((len(rows), *self.shape))
        self._require_shape(array.shape[1:])
        return array

    def _found(self, row: Mapping[str, Any]) -> Any:
        found = [row.get(column, _MISSING) for column in self.columns]
        for column, value in zip(self.columns, found, strict=True):
            if value is _MISSING:
                raise ValueError(f"it has no {column!r}")
            if value is None:
                raise ValueError(f"{column!r} is null")
        if len(found) == 1:
            return found[0]
        if self.values is Values.FLAT:
            lists = (value if isinstance(value, list) else [value] for value in found)
            return [each for values in lists for each in values]
        return found

    def _plain(self, value: Any) -> Any:
        if self.values is Values.TEXT:
            value = self._parsed(value)
        return _bytes(value) if self.spec.data_type is DataType.STRING else value

    def _parsed(self, cell: Any) -> Any:
        """What a cell stands for, or several."""
        if isinstance(cell, list):
            return [self._parsed(each) for each in cell]
        text: str = cell.strip()
        is_text = self.spec.data_type is DataType.STRING
        if text.startswith("[") and not (is_text and self.shape == ()):
            return json.loads(text)
        if is_text:
            return cell
        if not text:
            raise ValueError("the cell is empty")
        if self.spec.data_type is DataType.BOOL:
            return _WORDS.get(text.lower(), cell)
        if "_" in text:  # Which Python takes, as in its programs.
            raise ValueError(f"{text!r:.60} is no number")
        try:
            return int(text)
        except ValueError:
            return float(text)

    def _typed(self, values: Any) -> np.ndarray:
        wanted = numpy_type_of(self.spec.data_type)
        if wanted is None:
            raise ValueError(f"a file cannot hold a {self.spec.data_type.short_name}")
        if self.spec.data_type is DataType.STRING:
            array = np.asarray(values, object)  # As anything else, text would be cut.
            for each in array.flat:
                if not isinstance(each, bytes):
                    raise ValueError(f"{each!r:.60} is no text")
            return array
        array = np.asarray(values)
        kind = array.dtype.kind
        if self.spec.data_type is DataType.BOOL:
            if kind != "b" and not (self.values is Values.FLAT and _is_bit(array)):
                raise ValueError(f"{_first(array)} is neither true nor false")
            return array.astype(wanted)
        if kind == "O" and all(type(each) in (int, float) for each in array.flat):
            array = _of_large_numbers(array, wanted)
        elif kind not in "iuf" and array.size:
            raise ValueError(f"{_first(array)} is no number")
        found = _converted(array, wanted)
        if array.dtype.kind == "f" and wanted.kind in "iu" and (np.abs(array) >= _EXACT).any():
            # Integers beside fractions have become fractions, and are not what they were.
            return np.asarray(values, object).astype(wanted)
        return found

    def _shaped(self, array: np.ndarray) -> np.ndarray:
        if self.values is Values.FLAT and self.shape is not None:
            return array.reshape(self.shape)
        self._require_shape(array.shape)
        return array

    def _require_shape(self, found: tuple[int, ...]) -> None:
        shape = self.shape
        if shape is None:
            return
        fits = len(found) == len(shape) and all(
            size in (-1, there) for size, there in zip(shape, found, strict=True)
        )
        if not fits:
            raise ValueError(f"its shape is {_shown(found)}, and must be {_shown(shape)} in a row")


def _bytes(value: Any) -> Any:
    """Text as bytes, and what is marked as base64, in lists however deep."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_bytes(each) for each in value]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError("what is marked as b64 is no base64") from None
    return value


def _converted(array: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Numbers as another type, where they stay what they are but for rounding.

    Raises:
        ValueError: they do not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(wanted)
        if array.dtype != wanted:
            back = found.astype(array.dtype)
            if wanted.kind in "iu":
                wrong = back != array
                if array.dtype.kind == "f":
                    wrong |= ~np.isfinite(array)
            else:
                wrong = np.isinf(back.astype(np.float64)) & np.isfinite(array.astype(np.float64))
            if wrong.any():
                value = array[wrong].flat[0] if array.ndim else array
                raise ValueError(f"{value} is no {wanted}")
    return found


def _of_large_numbers(array: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Numbers of Python as NumPy's, where some are integers of more than 64 bits."""
    if wanted.kind in "iu":
        large = max(array.flat, key=abs)
        raise ValueError(f"{large!r:.60} is no {wanted}")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{max(array.flat, key=abs)!r:.60} is no {wanted}") from None


def _is_bit(array: np.ndarray) -> bool:
    return array.dtype.kind in "iu" and bool(np.isin(array, (0, 1)).all())


def _first(array: np.ndarray) -> str:
    """The first value, or among values of several kinds the first that is no number."""
    values = array.reshape(-1).tolist()
    wrong = [value for value in values if type(value) not in (int, float)]
    for value in wrong or values:
        return "null" if value is None else f"{value!r:.60}"
    return "nothing"


def _shown(shape: Sequence[int]) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "its lists are not all of one length" if "inhomogeneous" in text else text


def columns_of(
    signature: Signature, mapping: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """By input: the columns that it takes its values from; of its own name, unless `mapping` says.

    Raises:
        InvalidArgument: `mapping` names an input that there is not.
    """
    for name in mapping:
        if name not in signature.inputs:
            raise InvalidArgument(
                f"signature {signature.name!r} has no input {name!r}"
                f"{nearest(name, signature.inputs)}"
            )
    return {name: mapping.get(name, (name,)) for name in signature.inputs}
