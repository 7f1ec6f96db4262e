"""Counters, gauges and histograms, and their page in the text format of TensorFlow Serving.

The names, labels, bucket limits and the format are those that dashboards made for
TensorFlow Serving expect: names with colons, no HELP lines, integers for counts, and
a value equal to a bucket's limit counted in the next bucket. Owned by the loop.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Protocol


class Metric(Protocol):
    """What the page is made of."""

    name: str

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""


class Counter:
    """A number that only grows, one per combination of label values."""

    def __init__(self, name: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self._labels = tuple(labels)
        self._values: dict[tuple[str, ...], int] = {}

    def increase(self, labels: tuple[str, ...], amount: int = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + amount

    def value(self, labels: tuple[str, ...]) -> int:
        return self._values.get(labels, 0)

    def values(self) -> Mapping[tuple[str, ...], int]:
        """All of them, by their labels, as they are now."""
        return dict(self._values)

    def first_value(self) -> int:
        """The value under the first labels, 0 if there are none."""
        return min(self._values.items())[1] if self._values else 0

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""
        return _number_lines(self.name, "counter", self._labels, self._values)


class Gauge:
    """A number that goes up and down, one per combination of label values."""

    def __init__(self, name: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self._labels = tuple(labels)
        self._values: dict[tuple[str, ...], int] = {}

    def set(self, labels: tuple[str, ...], value: int) -> None:
        self._values[labels] = value

    def remove(self, labels: tuple[str, ...]) -> None:
        """Show no value under these labels any more; there need not be one."""
        self._values.pop(labels, None)

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""
        return _number_lines(self.name, "gauge", self._labels, self._values)


class Reading:
    """A number that is looked up when it is printed: a gauge, or a counter, without labels."""

    def __init__(self, name: str, read: Callable[[], int], kind: str = "gauge") -> None:
        self.name = name
        self._read = read
        self._kind = kind

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""
        return _number_lines(self.name, self._kind, (), {(): self._read()})


class HistogramCell:
    """The observations under one combination of label values."""

    __slots__ = ("_counts", "_limits", "_sum")

    def __init__(self, limits: Sequence[float]) -> None:
        self._limits = limits
        self._counts = [0] * (len(limits) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_right(self._limits, value)] += times
        self._sum += value * times

    def add(self, other: "HistogramCell") -> None:
        """Take in all that `other`, with the same limits, has observed."""
        self._counts = [mine + its for mine, its in zip(self._counts, other._counts, strict=True)]
        self._sum += other._sum

    @property
    def count(self) -> int:
        return sum(self._counts)

    @property
    def total(self) -> float:
        """The sum of what was observed."""
        return self._sum

    def lines(self, name: str, labels: str) -> list[str]:
        comma = "," if labels else ""
        limits = [*(f"{limit:.6g}" for limit in self._limits), "+Inf"]
        lines = [
            f'{name}_bucket{{{labels}{comma}le="{limit}"}} {count}'
            for limit, count in zip(limits, accumulate(self._counts), strict=True)
        ]
        lines.append(f"{name}_sum{{{labels}}} {self._sum:.6g}")
        lines.append(f"{name}_count{{{labels}}} {self.count}")
        return lines


class Histogram:
    """How often values fell below each limit, one distribution per combination of label values."""

    def __init__(self, name: str, labels: Sequence[str], limits: Sequence[float]) -> None:
        self.name = name
        self._labels = tuple(labels)
        self._limits = tuple(limits)
        self._cells: dict[tuple[str, ...], HistogramCell] = {}

    def cell(self, labels: tuple[str, ...]) -> HistogramCell:
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = HistogramCell(self._limits)
        return found

    def add(self, other: "Histogram") -> None:
        """Take in all that `other`, with the same labels and limits, has observed."""
        for labels, cell in other._cells.items():
            self.cell(labels).add(cell)

    def cells(self) -> Mapping[tuple[str, ...], HistogramCell]:
        """All of them, by their labels."""
        return self._cells

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""
        lines = [f"# TYPE {self.name} histogram"]
        for labels, cell in sorted(self._cells.items()):
            lines.extend(cell.lines(self.name, _label_text(self._labels, labels)))
        return lines


def exponential_limits(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """`count` bucket limits: `scale`, then each `growth` times the one before."""
    return tuple(scale * growth**power for power in range(count))


def _number_lines(
    name: str, kind: str, labels: Sequence[str], values: Mapping[tuple[str, ...], int]
) -> list[str]:
    lines = [f"# TYPE {name} {kind}"]
    for label_values, value in sorted(values.items()):
        lines.append(f"{name}{{{_label_text(labels, label_values)}}} {value}")
    return lines


def _label_text(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )


def _escaped(value: str) -> str:
    # A raw line feed would break the line format; TensorFlow Serving lets it through.
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
