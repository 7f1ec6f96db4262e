"""Tables: what models of rows and columns are asked about, and the ways to send one.

A table goes to a model as a matrix, where all columns hold the same kind of numbers, or as a list
of columns. Clients send it as one input of two dimensions, as one input for each column, or
as `tf.Example`s whose features are the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salver.backends.example_parsing import Values, example_features
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import TensorSpec

INPUTS = "inputs"
"""The input of a matrix, and of examples; Classify and Regress ask for this name."""

_WHOLE = (DataType.INT64, DataType.INT32)

Table = np.ndarray | list[np.ndarray]
"""A matrix of shape [rows, columns], or one array of shape [rows] for each column."""
Feature = tuple[DataType, Values]


@dataclass(frozen=True, slots=True)
class Column:
    """One feature of a model."""

    name: str
    data_type: DataType = DataType.FLOAT
    missing: object = np.nan
    """What stands for a value that an example lacks."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a model's table, in order."""

    columns: tuple[Column, ...]
    matrix: DataType | None
    """The type of the matrix that the model takes; None: it takes a list of columns."""
    has_names: bool = True
    """Whether the model knows its columns by name; else they only have an order."""

    def array_specs(self) -> dict[str, TensorSpec]:
        """The inputs of the usual way to send a table."""
        if self.matrix is None:
            return self.column_specs()
        return {INPUTS: TensorSpec("", self.matrix, (-1, len(self.columns)))}

    def column_specs(self) -> dict[str, TensorSpec]:
        """One input for each column."""
        return {each.name: TensorSpec("", each.data_type, (-1,)) for each in self.columns}

    def nothing_known(self) -> Table:
        """A table of one row in which every value is missing."""
        columns = [_array(column, [column.missing]) for column in self.columns]
        return columns if self.matrix is None else np.stack(columns, axis=1)

    def of_arrays(self, arrays: Sequence[np.ndarray]) -> Table:
        """The table that was sent as `array_specs` say.

        Raises:
            ValueError: columns have different numbers of rows.
        """
        if self.matrix is None:
            return self.of_columns(arrays)
        # Rows lie in a request where they happen to: native code wants them where numbers lie.
        flags = arrays[0].flags
        return arrays[0] if flags.aligned and flags.c_contiguous else arrays[0].copy()

    def of_columns(self, arrays: Sequence[np.ndarray]) -> Table:
        """The table that was sent column by column.

        Raises:
            ValueError: columns have different numbers of rows.
        """
        rows = len(arrays[0])
        for column, array in zip(self.columns, arrays, strict=True):
            if len(array) != rows:
                raise ValueError(
                    f'input "{self.columns[0].name}" has {rows} rows, '
                    f'input "{column.name}" has {len(array)}'
                )
        return list(arrays) if self.matrix is None else np.stack(arrays, axis=1)

    def of_examples(self, serialized: np.ndarray) -> tuple[Table, list[str]]:
        """The table in `tf.Example`s, shape [rows], and which features are missing where.

        Raises:
            ValueError: an example cannot be read, or a feature is not one value of the right kind.
        """
        if not self.has_names:
            return self._of_unnamed(serialized), []
        keys = [column.name.encode() for column in self.columns]
        wanted = frozenset(keys)
        values = [[column.missing] * len(serialized) for column in self.columns]
        missing = []
        for row, data in enumerate(serialized):
            features = example_features(memoryview(data), wanted)
            for column, key, cells in zip(self.columns, keys, values, strict=True):
                where = f'feature "{column.name}" of example {row}'
                found = features.get(key)
                if found is None or not len(found[1]):
                    missing.append(where)
                else:
                    cells[row] = _value(column, found, where)
        columns = [_array(*pair) for pair in zip(self.columns, values, strict=True)]
        return (columns if self.matrix is None else np.stack(columns, axis=1)), missing

    def _of_unnamed(self, serialized: np.ndarray) -> Table:
        """The whole row is one feature."""
        assert self.matrix is not None
        key, count = INPUTS.encode(), len(self.columns)
        table = np.empty((len(serialized), count), numpy_type_of(self.matrix))
        for row, data in enumerate(serialized):
            features = example_features(memoryview(data), (key,))
            data_type, values = features.get(key, (DataType.FLOAT, np.empty(0)))
            are_words = data_type is DataType.STRING
            if are_words != (self.matrix is DataType.STRING) or len(values) != count:
                raise ValueError(
                    f'feature "{INPUTS}" of example {row}: expected {count} values of '
                    f"{self.matrix.short_name}, the columns of the model in order; "
                    f"got {len(values)} of {data_type.short_name}"
                )
            table[row] = values
        return table


def row_count(table: Table) -> int:
    """How many rows a table has."""
    return len(table[0]) if isinstance(table, list) else len(table)


def _value(column: Column, feature: Feature, where: str) -> object:
    data_type, values = feature
    if len(values) != 1:
        raise ValueError(f"{where}: expected one value, got {len(values)}")
    value: object = values[0]
    if column.data_type is DataType.STRING:
        # Numbers that name categories are strings of digits.
        fits = data_type is not DataType.FLOAT
        value = str(value).encode() if data_type is DataType.INT64 else value
    elif column.data_type in _WHOLE:
        fits = data_type is DataType.INT64
    elif column.data_type is DataType.BOOL:
        # An example has no feature of that type.
        fits = data_type is DataType.INT64 and value in (0, 1)
    else:
        fits = data_type is not DataType.STRING
    if not fits:
        expected = column.data_type.short_name
        raise ValueError(f"{where}: expected {expected}, got {data_type.short_name}")
    return value


def _array(column: Column, cells: list[object]) -> np.ndarray:
    numpy_type = numpy_type_of(column.data_type)
    whole = column.data_type in (*_WHOLE, DataType.BOOL)
    if whole and any(cell is column.missing for cell in cells):
        # Whole numbers have no missing values, floats do.
        numpy_type = np.dtype(np.float64)
    array = np.empty(len(cells), numpy_type)
    array[:] = cells
    return array
