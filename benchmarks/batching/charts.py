"""Line charts of the results as SVG: a row for each model.

Answers per second and the 99th percentile over the callers, then the 99th percentile and the
answers in time over the arrivals. All axes are logarithmic but for the last chart's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.batching.ratios import open_series, series
from benchmarks.chart import text

COLOURS = {
    "auto": "#1f6f8b",
    "best setting": "#d98324",
    "off": "#8d959c",
    "grpc.aio": "#b9a0c9",
    "grpc.aio, session": "#7d5a94",
    "bare loop": "#222222",
}
DASHED = "bare loop"
FAR = 20
"""A limit that is more than so many times above all servers is left out."""
ENOUGH_TICKS = 3
PANEL_WIDTH, PANEL_HEIGHT = 300, 210
PLOT_LEFT, PLOT_TOP = 52, 34
PLOT_WIDTH, PLOT_HEIGHT = 230, 132
MARGIN_TOP = 58
TITLE_HEIGHT = 24
Lines = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to pixels."""

    low: float
    high: float
    length: int
    is_logarithmic: bool

    def at(self, value: float) -> float:
        if self.is_logarithmic:
            span = math.log(self.high / self.low)
            return math.log(max(value, self.low) / self.low) / span * self.length
        return (value - self.low) / (self.high - self.low) * self.length

    def ticks(self) -> list[float]:
        """Round values, few but enough."""
        if not self.is_logarithmic:
            step = nice(self.high / 3)
            return [step * n for n in range(int(self.high / step) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values: list[float] = []
        for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
            values = [digit * 10.0**decade for decade in decades for digit in digits]
            values = [value for value in values if self.low <= value <= self.high]
            if len(values) >= ENOUGH_TICKS:
                break
        return values


def nice(value: float) -> float:
    """1, 2 or 5 times a power of ten, not above the value."""
    decade = 10.0 ** math.floor(math.log10(value))
    return max(digit * decade for digit in (1, 2, 5) if digit * decade <= value * 1.0001)


def axis(values: Sequence[float], length: int, *, is_logarithmic: bool) -> Axis:
    """From a little below the lowest to a little above the highest value; linear ones from 0."""
    good = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    if is_logarithmic:
        return Axis(min(good) / 1.2, max(good) * 1.2, length, True)
    return Axis(0.0, max(good) * 1.05, length, False)


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a row."""

    title: str
    lines_of: Callable[[dict[str, Any]], Lines]
    x_label: str
    is_logarithmic: bool = True
    ticks_at_points: bool = False


PANELS = (
    Panel("answers/s", lambda w: series(w, "rate"), "callers", ticks_at_points=True),
    Panel("p99, ms", lambda w: series(w, "p99_ms"), "callers", ticks_at_points=True),
    Panel("p99 of the answers, ms", lambda w: open_series(w, "p99_ms"), "arrivals/s"),
    Panel(
        "answers in time/s",
        lambda w: open_series(w, "in_time_per_s"),
        "arrivals/s",
        is_logarithmic=False,
    ),
)


def draw(results: dict[str, Any]) -> str:
    """All charts as an SVG document."""
    width = 12 + PANEL_WIDTH * len(PANELS)
    row_height = PANEL_HEIGHT + TITLE_HEIGHT
    workloads = results["workloads"]
    height = MARGIN_TOP + row_height * len(workloads) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(12, 20, "Batching: callers who wait, and arrivals as they come", size=15),
        *_legend(workloads),
    ]
    for row, workload in enumerate(workloads):
        top = MARGIN_TOP + row * row_height
        title = f"{workload['name']}: {workload['title']}"
        parts.append(text(12, top + 14, title, weight="bold"))
        for column, panel in enumerate(PANELS):
            left, below = 6 + column * PANEL_WIDTH, top + TITLE_HEIGHT
            parts.append(f'<g transform="translate({left},{below})">')
            parts += _panel(panel, panel.lines_of(workload))
            parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(workloads: Sequence[dict[str, Any]]) -> list[str]:
    shown = {name for workload in workloads for name in series(workload, "rate")}
    parts, x = [], 12
    for name, colour in COLOURS.items():
        if name in shown:
            parts.append(_stroke(name, f"{x},38 {x + 22},38", colour))
            parts.append(text(x + 28, 42, name, size=12))
            x += 48 + 7 * len(name)
    return parts


def _panel(panel: Panel, lines: Lines) -> list[str]:
    lines = without_far_limit(lines)
    points = [point for line in lines.values() for point in line]
    if not points:
        return []
    x_axis = axis([x for x, _ in points], PLOT_WIDTH, is_logarithmic=panel.is_logarithmic)
    y_axis = axis([y for _, y in points], PLOT_HEIGHT, is_logarithmic=panel.is_logarithmic)
    bottom = PLOT_TOP + PLOT_HEIGHT
    parts = [text(PLOT_LEFT, PLOT_TOP - 8, panel.title, size=12)]
    for value in y_axis.ticks():
        y = round(bottom - y_axis.at(value), 1)
        parts.append(_rule(PLOT_LEFT, y, PLOT_LEFT + PLOT_WIDTH, y))
        parts.append(text(PLOT_LEFT - 5, round(y + 4), short(value), anchor="end", size=10))
    x_ticks = sorted({x for x, _ in points}) if panel.ticks_at_points else x_axis.ticks()
    for value in x_ticks:
        x = round(PLOT_LEFT + x_axis.at(value), 1)
        parts.append(_rule(x, bottom, x, bottom + 4))
        parts.append(text(round(x), bottom + 16, short(value), anchor="middle", size=10))
    right = PLOT_LEFT + PLOT_WIDTH
    parts.append(text(right, bottom + 30, panel.x_label, anchor="end", size=10))
    for name in reversed(COLOURS):
        if name in lines:
            places = [
                (round(PLOT_LEFT + x_axis.at(x), 1), round(bottom - y_axis.at(y), 1))
                for x, y in lines[name]
                if math.isfinite(y)
            ]
            corners = " ".join(f"{x},{y}" for x, y in places)
            parts.append(_stroke(name, corners, COLOURS[name]))
            parts += [
                f'<circle cx="{x}" cy="{y}" r="2.5" fill="{COLOURS[name]}"/>' for x, y in places
            ]
    return parts


def without_far_limit(lines: Lines) -> Lines:
    """A limit that nobody comes near would press all other lines together."""
    rest = {name: line for name, line in lines.items() if name != DASHED}
    highest = max((y for line in rest.values() for _, y in line), default=0.0)
    limit = lines.get(DASHED, [])
    return rest if any(y > FAR * highest for _, y in limit) else lines


def _stroke(name: str, corners: str, colour: str) -> str:
    dashes = ' stroke-dasharray="4 3"' if name == DASHED else ""
    return f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#e2e2e2"/>'


def short(value: float) -> str:
    """A tick's label."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
