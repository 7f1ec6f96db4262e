"""One batch of rows: made into arrays, answered, and taken apart again; bad rows set apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.bulk.predictor import Predictor
from salver.bulk.row_source import Row, RowSource
from salver.bulk.row_values import InputValues
from salver.errors import Code, InternalError, ServingError

_OF_THE_ROW = frozenset(
    (
        Code.INVALID_ARGUMENT,
        Code.OUT_OF_RANGE,
        Code.FAILED_PRECONDITION,
        Code.INTERNAL,
        Code.UNKNOWN,
        Code.DATA_LOSS,
        Code.ABORTED,
    )
)
"""Errors that another row might not have; all others are of the server, and end the run."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that has no answer."""

    row: Row
    error: str


@dataclass(frozen=True, slots=True)
class GoodRow:
    """A row with its answer."""

    values: Mapping[str, Any]
    """As the file has them."""
    outputs: Arrays
    """Of all rows that were run with it."""
    index: int
    """Where in them its own are."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of the rows of a batch, in their order."""

    good: Sequence[GoodRow]
    bad: Sequence[BadRow]


class BatchAnswers:
    """Answers batches. Immutable; from any thread."""

    def __init__(
        self,
        source: RowSource,
        inputs: Sequence[InputValues],
        predictor: Predictor,
        *,
        batched: bool,
    ) -> None:
        self._source = source
        self._inputs = inputs
        self._predictor = predictor
        self._batched = batched

    def __call__(self, rows: Sequence[Row]) -> Answers:
        """Answer some rows.

        Raises:
            ServingError: none of the rows is to blame; the model cannot be asked now.
        """
        bad: dict[int, str] = {}
        values: dict[int, Mapping[str, Any]] = {}
        for place, row in enumerate(rows):
            try:
                values[place] = self._source.decode(row.content)
            except ValueError as error:
                bad[place] = str(error)
        outputs: dict[int, tuple[Arrays, int]] = {}
        for places, arrays in self._groups(values, bad):
            self._answer(places, arrays, outputs, bad)
        return Answers(
            [GoodRow(values[place], *outputs[place]) for place in sorted(outputs)],
            [BadRow(rows[place], bad[place]) for place in sorted(bad)],
        )

    def _groups(
        self, values: Mapping[int, Mapping[str, Any]], bad: dict[int, str]
    ) -> list[tuple[list[int], dict[str, np.ndarray]]]:
        """Rows that can be run together: arrays with one slice for each. Adds to `bad`."""
        if not values:
            return []
        try:
            together = list(values.values())
            return [(list(values), {each.name: each.arrays(together) for each in self._inputs})]
        except ValueError:
            return self._groups_one_by_one(values, bad)

    def _groups_one_by_one(
        self, values: Mapping[int, Mapping[str, Any]], bad: dict[int, str]
    ) -> list[tuple[list[int], dict[str, np.ndarray]]]:
        by_shapes: dict[tuple[Any, ...], dict[int, list[np.ndarray]]] = defaultdict(dict)
        for place, row in values.items():
            try:
                arrays = [each.array(row) for each in self._inputs]
            except ValueError as error:
                bad[place] = str(error)
            else:
                by_shapes[tuple(array.shape for array in arrays)][place] = arrays
        names = [each.name for each in self._inputs]
        return [
            (
                list(rows),
                {
                    name: np.stack([arrays[index] for arrays in rows.values()])
                    for index, name in enumerate(names)
                },
            )
            for rows in by_shapes.values()
        ]

    def _answer(
        self,
        places: Sequence[int],
        arrays: Arrays,
        outputs: dict[int, tuple[Arrays, int]],
        bad: dict[int, str],
    ) -> None:
        """Run rows together; where that fails, in halves, until each that is to blame is alone."""
        if not self._batched and len(places) > 1:
            for index, place in enumerate(places):
                self._answer([place], _part(arrays, index, index + 1), outputs, bad)
            return
        try:
            found = self._run(places, arrays)
        except ServingError as error:
            if error.code not in _OF_THE_ROW:
                raise
            if len(places) == 1:
                bad[places[0]] = " ".join(error.message.split())
                return
            middle = len(places) // 2
            self._answer(places[:middle], _part(arrays, 0, middle), outputs, bad)
            rest = _part(arrays, middle, len(places))
            self._answer(places[middle:], rest, outputs, bad)
        else:
            for index, place in enumerate(places):
                outputs[place] = found, index

    def _run(self, places: Sequence[int], arrays: Arrays) -> Arrays:
        """The outputs, with one slice for each row."""
        if not self._batched:
            whole = self._predictor.predict({name: array[0] for name, array in arrays.items()})
            return {name: np.asarray(array)[np.newaxis] for name, array in whole.items()}
        found = self._predictor.predict(arrays)
        for name, array in found.items():
            if array.shape[:1] != (len(places),):
                raise InternalError(
                    f"output {name!r} has the shape {list(array.shape)} for {len(places)} rows"
                )
        return found


def _part(arrays: Arrays, start: int, end: int) -> dict[str, np.ndarray]:
    return {name: array[start:end] for name, array in arrays.items()}
