"""The results as tables, for the terminal and for the page `results/batching.md`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.batching.ratios import comparisons
from benchmarks.report import Row, as_markdown, microseconds, milliseconds

Table = tuple[str, Row, list[Row]]

RATIO_HEADER = [
    *("model", "at once", "auto, answers/s", "to off", "to the best setting", "best setting"),
    *("to the bare loop", "to grpc.aio", "to grpc.aio, session"),
]
LATENCY_HEADER = [
    *("model", "at once", "auto, mean", "p99", "p99 / mean"),
    *("p99 of off", "p99 of the best setting"),
]
OVERHEAD_HEADER = [
    *("model", "off, mean", "auto, mean", "more", "off, CPU per answer", "auto, CPU per answer"),
    "more",
]
GOODPUT_HEADER = [
    *("model", "time limit", "server", "most answers/s", "arrivals/s", "in time/s", "of the most"),
]
CLOSED_HEADER = [
    *("model", "at once", "server", "answers/s", "rows a batch", "CPU per answer", "mean"),
    *("p50", "p99", "resident"),
]
OPEN_HEADER = [
    *("model", "server", "load", "arrivals/s", "in time/s", "in time", "refused", "expired"),
    *("late", "p50", "p99", "CPU per call", "generator late, p99"),
]


def ratio(value: float, other: float | None) -> str:
    if not other:
        return ""
    times = value / other
    return f"{times:.2f} x" if times >= 0.1 else f"{times:.2g} x"


def percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def closed_rows(cells: Sequence[dict[str, Any]]) -> list[Row]:
    """All servers under loads that wait for their answers."""
    rows = []
    for cell in cells:
        median = cell["median"]
        failed = f" ({cell['failed']} failed)" if cell["failed"] else ""
        rows.append(
            [
                *(cell["workload"], str(cell["concurrency"]), cell["server"]),
                f"{median['rate']:,.0f}{failed}",
                f"{cell['rows_per_batch']:,.1f}" if cell["rows_per_batch"] else "",
                microseconds(median["cpu_us"]),
                *(milliseconds(median[f"{figure}_ms"]) for figure in ("mean", "p50", "p99")),
                f"{cell['resident_mb']:,.0f} MiB",
            ]
        )
    return rows


def open_rows(workload: str, cells: Sequence[dict[str, Any]]) -> list[Row]:
    """All servers under loads that come as they come."""
    rows = []
    for cell in cells:
        turn = cell["turn"]
        late = 1 - sum(turn[part] for part in ("in_time", "refused", "expired", "failed"))
        failed = f" ({turn['failed']:.1%} failed)" if turn["failed"] else ""
        rows.append(
            [
                *(workload, cell["server"], percent(cell["load"])),
                *(f"{turn['arrivals_per_s']:,.0f}", f"{turn['in_time_per_s']:,.0f}{failed}"),
                *(percent(turn[part]) for part in ("in_time", "refused", "expired")),
                percent(max(late, 0.0)),
                *(milliseconds(turn[figure]) for figure in ("p50_ms", "p99_ms")),
                microseconds(turn["cpu_us"]),
                milliseconds(turn["send_lag_p99_ms"]),
            ]
        )
    return rows


def ratio_rows(workload: dict[str, Any]) -> list[Row]:
    return [
        [
            *(workload["name"], str(each.concurrency), f"{each.auto['rate']:,.0f}"),
            ratio(each.auto["rate"], each.off["rate"]),
            *(ratio(each.auto["rate"], each.tuned["rate"]), each.tuned_name),
            ratio(each.auto["rate"], each.loop_rate),
            *(
                ratio(each.auto["rate"], other["rate"] if other else None)
                for other in (each.grpc, each.grpc_session)
            ),
        ]
        for each in comparisons(workload)
    ]


def latency_rows(workload: dict[str, Any]) -> list[Row]:
    return [
        [
            *(workload["name"], str(each.concurrency)),
            *(milliseconds(each.auto[figure]) for figure in ("mean_ms", "p99_ms")),
            f"{each.auto['p99_ms'] / each.auto['mean_ms']:.1f}",
            *(milliseconds(other["p99_ms"]) for other in (each.off, each.tuned)),
        ]
        for each in comparisons(workload)
    ]


def overhead_rows(workload: dict[str, Any]) -> list[Row]:
    """What it costs where nothing can be batched: one caller, who waits for each answer."""
    alone = comparisons(workload)[0]
    off, auto = alone.off, alone.auto
    return [
        [
            workload["name"],
            *(milliseconds(figures["mean_ms"]) for figures in (off, auto)),
            f"{(auto['mean_ms'] / off['mean_ms'] - 1):+.0%}",
            *(microseconds(figures["cpu_us"]) for figures in (off, auto)),
            f"{(auto['cpu_us'] / off['cpu_us'] - 1):+.0%}",
        ]
    ]


def goodput_rows(workload: dict[str, Any]) -> list[Row]:
    """Answers in time while more is asked than can be answered."""
    most = max((cell["load"] for cell in workload["open"]), default=0.0)
    rows = []
    for cell in workload["open"]:
        if cell["load"] == most:
            turn = cell["turn"]
            rows.append(
                [
                    *(workload["name"], milliseconds(workload["limit_ms"]), cell["server"]),
                    f"{cell['capacity']:,.0f}",
                    f"{turn['arrivals_per_s']:,.0f}",
                    f"{turn['in_time_per_s']:,.0f}",
                    percent(turn["in_time_per_s"] / cell["capacity"]),
                ]
            )
    return rows


def loop_table(workload: dict[str, Any]) -> Table:
    """A row for each size of a batch, a column for each way to spend the cores."""
    loops = workload["loops"]
    ways = sorted({(loop["callers"], loop["threads_per_call"]) for loop in loops})
    rates = {
        (loop["batch"], loop["callers"], loop["threads_per_call"]): loop["rate"] for loop in loops
    }
    header = ["requests a call", *(f"{callers} x {threads}" for callers, threads in ways)]
    rows = [
        [str(batch), *(f"{rates[(batch, *way)]:,.0f}" for way in ways)]
        for batch in sorted({loop["batch"] for loop in loops})
    ]
    return f"The bare loop: {workload['name']}", header, rows


RowsOf = Callable[[dict[str, Any]], list[Row]]
SUMMARIES: tuple[tuple[str, Row, RowsOf], ...] = (
    ("Answers per second", RATIO_HEADER, ratio_rows),
    ("Latency", LATENCY_HEADER, latency_rows),
    ("One caller", OVERHEAD_HEADER, overhead_rows),
    ("More than can be answered", GOODPUT_HEADER, goodput_rows),
)
DETAILS: tuple[tuple[str, Row, RowsOf], ...] = (
    ("Arrivals as they come", OPEN_HEADER, lambda w: open_rows(w["name"], w["open"])),
    ("All servers, callers who wait", CLOSED_HEADER, lambda w: closed_rows(w["cells"])),
)


def sections(results: dict[str, Any], *, is_complete: bool = True) -> list[Table]:
    """Title, header and rows of each table; those of single servers only in a complete list."""
    workloads = results["workloads"]
    tables = [
        (title, header, [row for workload in workloads for row in rows_of(workload)])
        for title, header, rows_of in (*SUMMARIES, *(DETAILS if is_complete else ()))
    ]
    return [table for table in (*tables, *map(loop_table, workloads)) if table[2]]


NOTES = {
    "Answers per second": "`auto` divided by the others, at the same number of requests at once: "
    "`off` is the server without batching; the best setting is the one of TensorFlow Serving's "
    "parameters that gave the most answers there; the bare loop is the model without a server, in "
    "batches of all sizes, with no more requests at once. `auto` had each load for some seconds "
    "before its turns, in which it tunes itself.",
    "Latency": "Of the same loads. The best setting is the one above, chosen for its answers.",
    "One caller": "Where nothing can be batched, batching can only cost.",
    "More than can be answered": "The answers that come before the time of a client is over, "
    "while half as much again arrives as the server can answer at its best. As below, the load "
    "generator has a processor of its own.",
    "Arrivals as they come": "Poisson arrivals, as a share of the most answers that the server "
    "gives to callers who wait, with the last processor for the load generator and the others for "
    "the server. Latency counts from the time at which a call was due. Refused: "
    "UNAVAILABLE; expired: the server saw that the time was over; late: the answer came after it. "
    "Percentiles are those of the answers.",
    "All servers, callers who wait": "Medians of the rounds; rows a batch as the server's own "
    "metrics have it.",
}


def page(results: dict[str, Any], chart: str) -> str:
    """The Markdown page of one run."""
    facts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    settings = len({str(t["setting"]) for w in results["workloads"] for t in w["trials"]})
    parts = [
        "# Results of batching",
        f"Made by `python -m benchmarks.batching` on {results['date']} in "
        f"{results['seconds']:,.0f} s; do not edit. {facts}. The load generator ran on "
        f"the same machine. {settings} settings of TensorFlow Serving's parameters were tried. "
        f"{'This was a quick run: the figures are rough. ' if results['quick'] else ''}"
        "How it is measured: [../README.md](../README.md#batching).",
        f"![Answers per second, latency and overload]({chart})",
        "\n".join(f"- `{w['name']}`: {w['title']}" for w in results["workloads"]),
        *(f"**{each['workload']} failed:** {each['failure']}" for each in results["failures"]),
    ]
    for title, header, rows in sections(results):
        parts += [f"## {title}", NOTES.get(title, ""), as_markdown(header, rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(results: dict[str, Any], drawing: str, folder: Path, name: str) -> Path:
    """Write `batching-<name>.json` and `.svg`, and `batching.md`; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"batching-{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"batching-{name}.svg").write_text(drawing)
    path = folder / "batching.md"
    path.write_text(page(results, f"batching-{name}.svg"))
    return path
