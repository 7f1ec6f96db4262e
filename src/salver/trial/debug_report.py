"""What `--debug` prints: a row for each tensor in the order of the run, and where NaN began."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from salver.errors import InvalidArgument
from salver.trial.fitting import shown
from salver.trial.tensor_statistics import TensorStatistics

_TITLES = ("tensor", "operation", "dtype", "shape", "min", "mean", "max", "NaN", "Inf")


@dataclass(frozen=True, slots=True)
class DebugStep:
    """One output of one operation, as it was computed."""

    tensor: str
    """`dense/MatMul`, with `:1` and so on for further outputs."""
    operation: str
    statistics: TensorStatistics
    inputs: Sequence[str] = field(default=())
    """Tensors that the operation read."""


@dataclass(frozen=True, slots=True)
class DebugRun:
    """All that one run computed, in its order."""

    steps: Sequence[DebugStep]
    left_out: int = 0
    """Operations within loops and conditions: they run many times, or not at all."""
    not_opened: int = 0
    """Functions that are shown as one operation."""


Report = Callable[[DebugRun], None]


def reporter(watch: str, stream: TextIO) -> Report:
    """Prints runs, with rows only for tensors or types of operations that a pattern finds.

    Raises:
        InvalidArgument: the pattern is no regular expression.
    """
    try:
        pattern = re.compile(watch)
    except re.error as error:
        raise InvalidArgument(f"--watch={watch} is no regular expression: {error}") from error

    def report(run: DebugRun) -> None:
        stream.writelines(f"{line}\n" for line in lines_of(run, pattern))

    return report


def lines_of(run: DebugRun, pattern: re.Pattern[str]) -> Iterator[str]:
    """The whole report."""
    watched = [
        step for step in run.steps if pattern.search(step.tensor) or pattern.search(step.operation)
    ]
    yield f"Tensors in the order in which they were computed, {len(watched)} of {len(run.steps)}:"
    rows = [_TITLES, *map(_row, watched)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    for row in rows:
        # Names to the left, numbers to the right.
        cells = [
            cell.ljust(width) if place < 4 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    if run.left_out:
        yield f"{run.left_out} operations inside loops and conditions are not shown."
    if run.not_opened:
        yield f"{run.not_opened} functions could not be opened and are shown as one operation each."
    yield from _first(run, "NaN", lambda statistics: statistics.nan_count)
    yield from _first(run, "Inf", lambda statistics: statistics.inf_count)
    yield ""


def _row(step: DebugStep) -> tuple[str, ...]:
    values = step.statistics
    return (
        step.tensor,
        step.operation,
        values.data_type.short_name,
        shown(values.shape),
        _number(values.minimum),
        _number(values.mean),
        _number(values.maximum),
        str(values.nan_count),
        str(values.inf_count),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _first(run: DebugRun, kind: str, count_of: Callable[[TensorStatistics], int]) -> Iterator[str]:
    """Where NaN or Inf comes from: the first in the run's order that did not get it as an input."""
    counts = {step.tensor: count_of(step.statistics) for step in run.steps}
    for step in run.steps:
        if counts[step.tensor]:
            found = counts[step.tensor]
            yield (
                f"{kind} first appears in {step.tensor} ({step.operation}): {found} of its values"
            )
            yield from _origins(run, step)
            return
    yield f"No {kind}."


def _origins(run: DebugRun, step: DebugStep) -> Iterator[str]:
    by_tensor = {each.tensor: each for each in run.steps}
    for tensor in dict.fromkeys(step.inputs):
        if tensor in by_tensor:
            cells = _row(by_tensor[tensor])
            yield f"  its input {tensor}: min {cells[4]}, mean {cells[5]}, max {cells[6]}"
