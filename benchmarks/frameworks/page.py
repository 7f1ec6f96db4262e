"""The results as tables, for the terminal and for the page `results/frameworks.md`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.frameworks.models import MODELS
from benchmarks.frameworks.ratios import Measured, measured_of
from benchmarks.frameworks.rivals import AUTO, FASTAPI, GRPC_AIO, LOOP, MLSERVER, OFF, SALVER
from benchmarks.report import Row, as_markdown, microseconds, milliseconds

Table = tuple[str, Row, list[Row]]

LOOP_HEADER = [
    *("model", "request", "loop, calls/s", "CPU per call", "server"),
    *("answers/s to the loop", "on the cores left", "CPU of the loop to ours"),
]
AIO_HEADER = [
    *("model", "request", "grpc.aio, answers/s", "CPU per answer", "server", "answers/s", "CPU"),
]
RIVAL_HEADER = [
    *("model", "request", "rival", "answers/s", "CPU per answer", "server", "answers/s", "CPU"),
]
CELL_HEADER = [
    *("model", "request", "server", "answers/s", "CPU per answer", "mean", "p99", "resident"),
]
START_HEADER = [
    *("backend", "to the first answer", "CPU time until then", "resident then", "processes"),
]
NOTES = {
    "Against the framework's own loop": "The model called in a loop in a process of its own, by "
    "one or two threads, whichever gave more. Answers per second as a share of its calls; the same "
    "where the loop had only as much of the cores as the load generator leaves to the server; and "
    "the loop's CPU time as a share of the server's, which is steadier. Above 1: the server is "
    "quicker than the loop, because it runs several rows at once, or knows a shorter way into the "
    "framework.",
    "Against grpc.aio": "How many times more answers, and less CPU time, Salver has than a server "
    "of `grpc.aio` with the same model. REST is compared with the same server, which speaks gRPC.",
    "Against MLServer and FastAPI": "How many times more answers, and less CPU time, Salver has.",
    "All servers": "Medians of the rounds.",
    "From the launch to the first answer": "A server with one small model of each backend, its "
    "framework imported when the model is loaded, files in the system's cache. Resident: of all "
    "processes, what they share counted once.",
}


def times(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def cell_rows(cells: Sequence[dict[str, Any]]) -> list[Row]:
    """All figures of one model."""
    rows = []
    for cell in cells:
        median = cell["median"]
        failed = f" ({cell['failed']} failed)" if cell["failed"] else ""
        has_latency = median["mean_ms"] > 0
        rows.append(
            [
                *(cell["workload"], cell["form"], cell["server"]),
                *(f"{median['rate']:,.0f}{failed}", microseconds(median["cpu_us"])),
                *(
                    milliseconds(median[figure]) if has_latency else ""
                    for figure in ("mean_ms", "p99_ms")
                ),
                f"{cell['resident_mb']:,.0f} MiB",
            ]
        )
    return rows


def loop_rows(each: Measured) -> list[Row]:
    first = [f"{each.loop['rate']:,.0f}", microseconds(each.loop["cpu_us"])]
    return [
        [each.model, each.form, *first, server, *map(times, each.of_loop(server))]
        for server in _own(each)
    ]


def aio_rows(each: Measured) -> list[Row]:
    if each.grpc_aio is None:
        return []
    return _against(each, each.grpc_aio, [each.model, each.form])


def rival_rows(each: Measured) -> list[Row]:
    return [
        row
        for server, figures in each.servers.items()
        if server.startswith((MLSERVER, FASTAPI))
        for row in _against(each, figures, [each.model, each.form, server])
    ]


def _against(each: Measured, other: dict[str, float], first: Row) -> list[Row]:
    known = [*first, f"{other['rate']:,.0f}", microseconds(other["cpu_us"])]
    return [[*known, server, *map(times, each.over(server, other))] for server in _own(each)]


def _own(each: Measured) -> list[str]:
    """Salver with default flags, and where batching is not what it is by default."""
    return [server for server in (SALVER, OFF, AUTO) if server in each.servers]


def start_rows(starts: Sequence[dict[str, Any]]) -> list[Row]:
    return [
        [
            start["name"],
            f"{start['median']['seconds']:.2f} s",
            f"{start['median']['cpu_seconds']:.2f} s",
            f"{start['median']['resident_mb']:,.0f} MiB",
            str(start["processes"]),
        ]
        for start in starts
    ]


def sections(results: dict[str, Any], *, is_complete: bool) -> list[Table]:
    """Title, header and rows of each table that there are figures for."""
    each_measured = list(_all_measured(results))

    def rows_by(make: Any) -> list[Row]:
        return [row for each in each_measured for row in make(each)]

    tables = [
        ("Against the framework's own loop", LOOP_HEADER, rows_by(loop_rows)),
        ("Against grpc.aio", AIO_HEADER, rows_by(aio_rows)),
        ("Against MLServer and FastAPI", RIVAL_HEADER, rows_by(rival_rows)),
        ("From the launch to the first answer", START_HEADER, start_rows(results["starts"])),
    ]
    if is_complete:
        cells = [row for model in results["models"].values() for row in cell_rows(model["cells"])]
        tables.insert(3, ("All servers", CELL_HEADER, cells))
    return [table for table in tables if table[2]]


def _all_measured(results: dict[str, Any]) -> Iterator[Measured]:
    for name, model in results["models"].items():
        yield from measured_of(name, model, int(results["machine"]["cores"]))


def charted(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of gRPC that the chart shows: of the two loops the better one."""
    shown = []
    for model in results["models"].values():
        cells = [cell for cell in model["cells"] if cell["form"] == "gRPC"]
        loops = [cell for cell in cells if cell["server"].startswith(LOOP)]
        best = max(loops, key=lambda cell: cell["median"]["rate"])
        shown += [c for c in cells if c["server"] in (SALVER, OFF, AUTO, GRPC_AIO, MLSERVER)]
        shown.append({**best, "server": LOOP})
    return shown


def page(results: dict[str, Any], drawing: str) -> str:
    """The Markdown page."""
    facts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    models = results["models"]
    dates = sorted({model["date"] for model in models.values()})
    are_rough = any(model["quick"] for model in models.values())
    parts = [
        "# Results of the frameworks",
        f"Made by `python -m benchmarks.frameworks` on {' to '.join(dates)}; do not edit. {facts}. "
        "Single rows, 64 requests at once, the load generator on the same machine. "
        f"{'Some were quick runs: the figures are rough. ' if are_rough else ''}"
        "How it is measured: [../README.md](../README.md#frameworks).",
        f"![Answers per second over gRPC]({drawing})" if models else "",
        "\n".join(f"- `{name}`: {model['title']}" for name, model in models.items()),
        *(f"**{each['model']} failed:** {each['failure']}" for each in results["failures"]),
    ]
    for title, header, rows in sections(results, is_complete=True):
        parts += [f"## {title}", NOTES.get(title, ""), as_markdown(header, rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def merged(fresh: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """The new figures, and the kept ones of what was not measured again."""
    models = dict(kept["models"])
    for name, model in fresh["models"].items():
        forms = {cell["form"] for cell in model["cells"]}
        before = models.get(name, {"cells": []})["cells"]
        cells = [*model["cells"], *(cell for cell in before if cell["form"] not in forms)]
        models[name] = {
            **model,
            "cells": sorted(cells, key=lambda cell: cell["form"], reverse=True),
        }
    again = [*fresh["models"], *(failure["model"] for failure in fresh["failures"])]
    failures = [each for each in kept["failures"] if each["model"] not in again]
    return {
        "machine": {**kept["machine"], **fresh["machine"]},
        "models": {name: models[name] for name in MODELS if name in models},
        "starts": fresh["starts"] or kept["starts"],
        "failures": [*failures, *fresh["failures"]],
    }


def write(results: dict[str, Any], folder: Path, name: str) -> Path:
    """Write `frameworks-<name>.json` and `.svg`, and `frameworks.md`; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"frameworks-{name}.json"
    if data.exists():
        results = merged(results, json.loads(data.read_text()))
    data.write_text(json.dumps(results, indent=1) + "\n")
    drawing = folder / f"frameworks-{name}.svg"
    drawing.write_text(chart.draw(charted(results), SALVER))
    path = folder / "frameworks.md"
    path.write_text(page(results, drawing.name))
    return path
