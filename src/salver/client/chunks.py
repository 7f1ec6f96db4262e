"""A large batch in parts along its first dimension, and the results of the parts as one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from salver.client.results import Prediction
from salver.client.typed_inputs import Inputs
from salver.errors import InvalidArgument


def chunks_of(inputs: Inputs, rows: int) -> Iterator[Inputs]:
    """The inputs in parts of so many rows, the last one perhaps of fewer.

    Single values without dimensions go with every part. No rows at all are one part.

    Raises:
        InvalidArgument: the inputs have different numbers of rows, or `rows` is no number of rows.
    """
    if rows < 1:
        raise InvalidArgument(f"a part has {rows} rows, and needs 1 at least")
    count = row_count(inputs)
    for start in range(0, max(count, 1), rows):
        yield {
            name: value if _is_single(value) else value[start : start + rows]
            for name, value in _items(inputs)
        }


def row_count(inputs: Inputs) -> int:
    """The size of the first dimension, which all inputs that have one share.

    Raises:
        InvalidArgument: they differ, or no input has one.
    """
    counts = {name: len(value) for name, value in _items(inputs) if not _is_single(value)}
    if not counts:
        raise InvalidArgument("no input has rows: there is nothing to part")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise InvalidArgument(f"the inputs have different numbers of rows: {listed}")
    return next(iter(counts.values()))


def rows_of_chunks(inputs: Inputs, rows: int) -> list[int]:
    """How many rows each part of `chunks_of` has."""
    count = row_count(inputs)
    return [min(rows, count - start) for start in range(0, max(count, 1), rows)]


def joined(rows: Sequence[int], parts: Sequence[Prediction]) -> Prediction:
    """One prediction from those of the parts, given how many rows each had; there is one at least.

    Raises:
        InvalidArgument: an output has not one row for each row of the inputs.
    """
    for count, part in zip(rows, parts, strict=True):
        for name, array in part.items():
            if array.ndim == 0 or len(array) != count:
                raise InvalidArgument(
                    f"output {name!r} has the shape {array.shape} for {count} rows of input, so it "
                    "cannot be joined: use predict, or predict_stream"
                )
    first = parts[0]
    return Prediction(
        {name: np.concatenate([part[name] for part in parts]) for name in first},
        first.model,
        first.version if len({part.version for part in parts}) == 1 else None,
        first.signature,
    )


def _is_single(value: Any) -> bool:
    return value.ndim == 0 if isinstance(value, np.ndarray | np.generic) else not _is_nest(value)


def _is_nest(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _items(inputs: Inputs) -> Iterator[tuple[str, Any]]:
    # What an array-like can do depends on what it is, which `_is_single` tells.
    yield from inputs.items()
