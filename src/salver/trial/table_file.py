"""A CSV file: each column an input, or one element of an input, by the names in its first line."""

import csv
import re
from collections.abc import Mapping, Sequence

import numpy as np

from salver.core.data_type import DataType, numpy_type_of
from salver.core.nearest import nearest
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, NotFound

_ELEMENT = re.compile(r"(.+)\[([0-9]{1,9})\]")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def table_inputs(path: str, signature: Signature) -> dict[str, np.ndarray]:
    """The arrays in a CSV file with a line of names, one row of every input a line.

    A column `x` is the input x, of shape [n] or [n,1] as declared; columns `x[0]`, `x[1]` ... are
    its elements, [n,k]. If the only input has rows of k elements and no column has its name,
    the k columns of the file are those elements, in their order.

    Raises:
        NotFound: there is no such file.
        InvalidArgument: it is no such table, a column belongs to no input, or a cell does not fit
            the type; the message has the line.
    """
    names, rows = _read(path)
    inputs: dict[str, np.ndarray] = {}
    for name, places in _places(path, names, signature).items():
        spec = signature.inputs[name]
        table = [[row[place] for place in places] for row in rows]
        array = _array(path, name, spec, table)
        inputs[name] = _shaped(array, names[places[0]] == name, spec)
    return inputs


def _read(path: str) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is no CSV file in UTF-8: {error}") from error
    if len(lines) < 2:
        raise InvalidArgument(f"{path} needs a line of names and at least one row")
    names, rows = [name.strip() for name in lines[0]], lines[1:]
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise InvalidArgument(
                f"{path}: row {number} has {len(row)} cells, but there are {len(names)} columns"
            )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidArgument(f"{path} has the column {twice!r} twice")
    return names, rows


def _places(path: str, names: Sequence[str], signature: Signature) -> Mapping[str, list[int]]:
    """Which columns make up each input, in order."""
    found: dict[str, dict[int, int]] = {}
    strange = []
    for place, name in enumerate(names):
        match = _ELEMENT.fullmatch(name)
        if name in signature.inputs:
            found.setdefault(name, {})[-1] = place
        elif match and match[1] in signature.inputs:
            found.setdefault(match[1], {})[int(match[2])] = place
        else:
            strange.append(name)
    only = next(iter(signature.inputs), "")
    if len(signature.inputs) == 1 and not found and _takes(signature.inputs[only], len(names)):
        return {only: list(range(len(names)))}
    if strange:
        known = nearest(strange[0], signature.inputs)
        raise InvalidArgument(f"{path} has a column {strange[0]!r}, which is no input{known}")
    for name, places in found.items():
        if sorted(places) not in ([-1], list(range(len(places)))):
            raise InvalidArgument(
                f"{path}: the columns of {name!r} are not {name}[0] to {name}[{len(places) - 1}]"
            )
    return {name: [places[index] for index in sorted(places)] for name, places in found.items()}


def _takes(spec: TensorSpec, width: int) -> bool:
    return spec.shape is not None and len(spec.shape) == 2 and spec.shape[1] in (-1, width)


def _array(path: str, name: str, spec: TensorSpec, table: list[list[str]]) -> np.ndarray:
    if spec.data_type is DataType.STRING:
        strings = np.empty((len(table), len(table[0])), object)
        strings[:] = [[cell.encode() for cell in row] for row in table]
        return strings
    numpy_type = numpy_type_of(spec.data_type)
    if numpy_type is None:
        raise InvalidArgument(f"input {name!r} is {spec.data_type.short_name}: no column can be")
    rows = []
    for number, row in enumerate(table, 1):
        try:
            rows.append([_number(cell.strip(), spec.data_type, numpy_type) for cell in row])
        except (ValueError, KeyError) as error:
            raise InvalidArgument(
                f"{path}: row {number} of {name!r} has {row!r:.80}, which is not "
                f"{spec.data_type.short_name}"
            ) from error
    return np.array(rows)


def _number(cell: str, data_type: DataType, numpy_type: np.dtype) -> bool | int | float:
    if data_type is DataType.BOOL:
        return _TRUTH[cell.lower()]
    if numpy_type.kind in "iu":
        return int(cell)
    return float(cell)


def _shaped(table: np.ndarray, is_whole: bool, spec: TensorSpec) -> np.ndarray:
    """A single column as the input's own rank wants it."""
    if is_whole and (spec.shape is None or len(spec.shape) == 1):
        return table[:, 0]
    return table
