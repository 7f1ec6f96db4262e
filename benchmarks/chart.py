"""A bar chart of the results as SVG, written as text so that a change of it can be read.

One group of bars for each model and request, at the highest concurrency measured. Within a
group the longest bar is the fastest server: lengths of different groups do not compare.
"""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

WIDTH = 760
LEFT = 170
BAR_WIDTH = 400
BAR_HEIGHT = 16
BAR_STEP = 21
GROUP_GAP = 36
TOP = 44
UNDER_TEST_COLOUR = "#1f6f8b"
OTHER_COLOURS = ("#b8bec4", "#8d959c", "#cfc6b4", "#a99f8b")


def draw(cells: Sequence[dict[str, Any]], under_test: str) -> str:
    """The chart of answers per second as an SVG document."""
    parts: list[str] = []
    y = TOP
    for cells_of_group in _groups(cells):
        first = cells_of_group[0]
        title = f"{first['workload']}, {first['form']}, {first['concurrency']} at once"
        parts.append(text(12, y, title, weight="bold"))
        y += 10
        parts += _bars(cells_of_group, under_test, y)
        y += BAR_STEP * len(cells_of_group) + GROUP_GAP
    height = y - GROUP_GAP + 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    caption = text(12, 20, "Answers per second, and CPU time per answer", size=15)
    return "\n".join([head, background, caption, *parts, "</svg>"]) + "\n"


def _groups(cells: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups = []
    for _, group in groupby(cells, key=lambda cell: (cell["workload"], cell["form"])):
        together = list(group)
        highest = max(cell["concurrency"] for cell in together)
        groups.append([cell for cell in together if cell["concurrency"] == highest])
    return groups


def _bars(cells: Sequence[dict[str, Any]], under_test: str, top: int) -> list[str]:
    longest = max(cell["median"]["rate"] for cell in cells) or 1.0
    others = iter(OTHER_COLOURS * len(cells))
    parts = []
    for number, cell in enumerate(cells):
        rate, cpu_us = cell["median"]["rate"], cell["median"]["cpu_us"]
        colour = UNDER_TEST_COLOUR if cell["server"] == under_test else next(others)
        y = top + number * BAR_STEP
        width = max(1, round(BAR_WIDTH * rate / longest))
        cpu = f"{cpu_us:,.0f} µs" if cpu_us < 10_000 else f"{cpu_us / 1000:,.0f} ms"
        parts += [
            text(LEFT - 8, y + 13, cell["server"], anchor="end"),
            f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR_HEIGHT}" fill="{colour}"/>',
            text(LEFT + width + 6, y + 13, f"{rate:,.0f}/s, {cpu}"),
        ]
    return parts


def text(
    x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal", size: int = 13
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}">{escape(text)}</text>'
    )
