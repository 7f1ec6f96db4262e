"""Categories as clients name them, turned into the codes that a model was trained on."""

from collections.abc import Sequence

import numpy as np

from salver.backends.columns import Column, Table
from salver.core.data_type import DataType

Category = str | int | float | bool


class CategoryCodes:
    """Makes the matrix of a table in which some columns hold categories. From any thread."""

    def __init__(
        self,
        names: Sequence[str],
        categories: Sequence[Sequence[Category] | None],
        numbers: DataType,
        unknown_is_missing: bool,
    ) -> None:
        """Take in what each column holds.

        Args:
            names: of the columns.
            categories: of each column in the order of their codes, None for numbers.
            numbers: the type of columns of numbers.
            unknown_is_missing: whether a category that the model does not know is a missing
                value; else it is an error.
        """
        self._unknown_is_missing = unknown_is_missing
        self._codes = [
            None if each is None else {_as_sent(one): code for code, one in enumerate(each)}
            for each in categories
        ]
        self.columns = tuple(
            Column(name, numbers) if each is None else _column(name, each)
            for name, each in zip(names, categories, strict=True)
        )

    def matrix(self, table: Table, numpy_type: np.dtype) -> np.ndarray:
        """The numbers and codes, shape [rows, columns]; missing values are NaN.

        Raises:
            ValueError: a category is unknown, and that is an error.
        """
        matrix = np.empty((len(table[0]), len(table)), numpy_type)
        for i, (values, codes) in enumerate(zip(table, self._codes, strict=True)):
            matrix[:, i] = values if codes is None else self._coded(i, values, codes)
        return matrix

    def _coded(
        self, column: int, values: np.ndarray, codes: dict[Category | bytes, int]
    ) -> list[float]:
        coded = [codes.get(value, np.nan) for value in values.tolist()]
        if not self._unknown_is_missing:
            for value, code in zip(values.tolist(), coded, strict=True):
                # What is empty, or no number, is missing.
                if code != code and value and value == value:
                    text = value.decode(errors="replace") if isinstance(value, bytes) else value
                    raise ValueError(
                        f'input "{self.columns[column].name}": the model knows no category {text!r}'
                    )
        return coded


def _column(name: str, categories: Sequence[Category]) -> Column:
    if all(isinstance(each, bool) for each in categories):
        return Column(name, DataType.BOOL, missing=False)
    if all(isinstance(each, int) for each in categories):
        return Column(name, DataType.INT64)
    if all(isinstance(each, int | float) for each in categories):
        return Column(name, DataType.DOUBLE)
    return Column(name, DataType.STRING, missing=b"")


def _as_sent(category: Category) -> Category | bytes:
    return category.encode() if isinstance(category, str) else category
