"""Results as text: tables for the terminal and for Markdown, from the same rows.

Every cell is shown with its ratio to the server under test, because a figure means nothing
on another machine, and a ratio often does.
"""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

Results = dict[str, Any]
Row = list[str]

LOAD_HEADER = [
    "model",
    "request",
    "at once",
    "server",
    "answers/s",
    "",
    "CPU per answer",
    "",
    "p50",
    "p99",
    "resident",
]


def milliseconds(value: float) -> str:
    return f"{value:.2f} ms" if value < 10 else f"{value:,.0f} ms"


def microseconds(value: float) -> str:
    if value < 10:
        return f"{value:.1f} µs"
    return f"{value:,.0f} µs" if value < 10_000 else f"{value / 1000:,.0f} ms"


def times(value: float) -> str:
    return f"{value:.1f} x" if value < 10 else f"{value:,.0f} x"


def ratio(numerator: float, denominator: float) -> str:
    return times(numerator / denominator) if denominator else "no answer"


def load_rows(cells: Sequence[dict[str, Any]], under_test: str) -> list[Row]:
    """One row for each cell; the ratios say by how much the server under test is better."""
    rows = []
    for (workload, form, concurrency), group in groupby(cells, key=_load_of):
        together = list(group)
        own = next((cell["median"] for cell in together if cell["server"] == under_test), None)
        for cell in together:
            median = cell["median"]
            more = less = ""
            if own is not None and cell["server"] != under_test:
                more = ratio(own["rate"], median["rate"])
                less = ratio(median["cpu_us"], own["cpu_us"])
            failed = f" ({cell['failed']} failed)" if cell["failed"] else ""
            rows.append(
                [
                    *(workload, form, str(concurrency), cell["server"]),
                    *(f"{median['rate']:,.0f}{failed}", more),
                    *(microseconds(median["cpu_us"]), less),
                    *(milliseconds(median["p50_ms"]), milliseconds(median["p99_ms"])),
                    f"{cell['resident_mb']:,.0f} MiB",
                ]
            )
    return rows


def loop_rows(loops: Sequence[dict[str, Any]]) -> list[Row]:
    return [
        [
            *(loop["model"], str(loop["callers"]), str(loop["threads_per_call"])),
            *(f"{loop['rate']:,.0f}", microseconds(loop["cpu_us"])),
        ]
        for loop in loops
    ]


LOOP_HEADER = ["model", "callers", "threads within a call", "calls/s", "CPU per call"]


def start_rows(starts: Sequence[dict[str, Any]]) -> list[Row]:
    return [
        [
            start["name"],
            f"{start['median']['seconds']:.2f} s",
            f"{start['median']['resident_mb']:,.0f} MiB",
        ]
        for start in starts
    ]


START_HEADER = ["start", "to the first answer", "resident then"]


def piece_rows(pieces: Sequence[dict[str, Any]]) -> list[Row]:
    return [[piece["name"], microseconds(piece["us"]), piece["note"]] for piece in pieces]


PIECE_HEADER = ["piece", "time", ""]


def as_text(header: Row, rows: Sequence[Row]) -> str:
    """Aligned columns; figures to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if _is_figure(rows, column) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(header: Row, rows: Sequence[Row]) -> str:
    rule = ["---:" if _is_figure(rows, column) else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def sections(results: Results) -> list[tuple[str, Row, list[Row]]]:
    """Title, header and rows of each table that there are figures for."""
    tables = [
        ("Under load", LOAD_HEADER, load_rows(results["cells"], results["under_test"])),
        ("The model in a bare loop", LOOP_HEADER, loop_rows(results["loops"])),
        ("From the launch to the first answer", START_HEADER, start_rows(results["starts"])),
        ("Pieces of a request", PIECE_HEADER, piece_rows(results["pieces"])),
    ]
    return [table for table in tables if table[2]]


def page(results: Results, chart: str) -> str:
    """The Markdown page of one run."""
    machine = results["machine"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    parts = [
        "# Results",
        f"Made by `python -m benchmarks` on {results['date']}; do not edit. {facts}. "
        "The load generator ran on the same machine. Medians; `x` says how many times more "
        f"answers, or less CPU time, {results['under_test']} has. "
        f"{'This was a quick run: the figures are rough. ' if results['quick'] else ''}"
        "How it is measured: [../README.md](../README.md).",
        f"![Answers per second]({chart})" if results["cells"] else "",
    ]
    for title, header, rows in sections(results):
        parts += [f"## {title}", as_markdown(header, rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(results: Results, drawing: str, folder: Path, name: str) -> Path:
    """Write `<name>.json`, `<name>.svg` and the page that shows them; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    if results["cells"]:
        (folder / f"{name}.svg").write_text(drawing)
    path = folder / "README.md"
    path.write_text(page(results, f"{name}.svg"))
    return path


def _load_of(cell: dict[str, Any]) -> tuple[str, str, int]:
    return cell["workload"], cell["form"], cell["concurrency"]


def _is_figure(rows: Sequence[Row], column: int) -> bool:
    return all(row[column][:1].isdigit() or not row[column] for row in rows)
