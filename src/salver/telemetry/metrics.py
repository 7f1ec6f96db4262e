"""Counters and histograms, and their page in the text format of TensorFlow Serving.

The names, labels, bucket limits and the format are those that dashboards made for
TensorFlow Serving expect: names with colons, no HELP lines, integers for counts, and
a value equal to a bucket's limit counted in the next bucket. Owned by the loop.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


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

    def first_value(self) -> int:
        """The value under the first labels, 0 if there are none."""
        return min(self._values.items())[1] if self._values else 0

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""
        lines = [f"# TYPE {self.name} counter"]
        for labels, value in sorted(self._values.items()):
            lines.append(f"{self.name}{{{_label_text(self._labels, labels)}}} {value}")
        return lines


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

    @property
    def count(self) -> int:
        return sum(self._counts)

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

    def lines(self) -> list[str]:
        """The metric in the text format, its TYPE line first."""
        lines = [f"# TYPE {self.name} histogram"]
        for labels, cell in sorted(self._cells.items()):
            lines.extend(cell.lines(self.name, _label_text(self._labels, labels)))
        return lines


def exponential_limits(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """`count` bucket limits: `scale`, then each `growth` times the one before."""
    return tuple(scale * growth**power for power in range(count))


def _label_text(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )


def _escaped(value: str) -> str:
    # A raw line feed would break the line format; TensorFlow Serving lets it through.
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
