"""Compare batching that tunes itself with none and with tuned parameters.

python -m benchmarks.batching
"""

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.batching import charts, page
from benchmarks.batching.contest import Contest, Trial
from benchmarks.batching.options import parse
from benchmarks.batching.workloads import WORKLOADS, BatchWorkload
from benchmarks.driver.client import Driver
from benchmarks.limits import measure_batch_loops
from benchmarks.load import LoadFailed
from benchmarks.measure import Cell
from benchmarks.report import as_text
from benchmarks.servers import ROOT, ServerFailed

Say = Callable[[str], None]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for; a workload that fails does not take the others along."""
    folder: Path = options.workdir
    make_models = [sys.executable, "-m", "benchmarks.batching.models", str(folder)]
    subprocess.run(make_models, check=True, cwd=ROOT)
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "quick": options.quick,
        "workloads": [],
        "failures": [],
    }
    started = time.perf_counter()
    trials: dict[str, list[Trial]] = {}
    with Driver() as driver:
        for name, workload in WORKLOADS.items():
            if name not in options.only:
                continue

            def say(text: str, name: str = name) -> None:
                print(f"[{time.perf_counter() - started:4.0f} s] {name}: {text}", flush=True)

            adjusted = workload.in_short() if options.quick else workload
            try:
                contest = Contest(adjusted, options.server.command, folder, driver, say)
                trials[name] = trials.get(workload.screened_as) or contest.screen()
                results["workloads"].append(measure(contest, trials[name], folder, say))
            except (ServerFailed, LoadFailed) as failure:
                say(f"failed: {failure}")
                results["failures"].append({"workload": name, "failure": str(failure)})
    results["seconds"] = time.perf_counter() - started
    return results


def measure(contest: Contest, trials: Sequence[Trial], folder: Path, say: Say) -> dict[str, Any]:
    """All figures of one workload; those under load appear as soon as they are complete."""
    workload = contest.workload
    cells: list[dict[str, Any]] = []
    open_cells: list[dict[str, Any]] = []
    for fresh, opened in contest.play(contest.chosen_from(trials)):
        shown = [cell_as_json(cell, contest) for cell in fresh]
        cells += shown
        open_cells += [asdict(cell) for cell in opened]
        if fresh:
            rows = page.closed_rows(shown)
            print(as_text(page.CLOSED_HEADER, rows), end="\n\n", flush=True)
    print(as_text(page.OPEN_HEADER, page.open_rows(workload.name, open_cells)), end="\n\n")
    say("the model in a bare loop")
    return {
        "name": workload.name,
        "title": workload.title,
        "rows": contest.requests.rows,
        "limit_ms": contest.limit_s * 1000,
        "trials": [asdict(trial) for trial in trials],
        "cells": cells,
        "open": open_cells,
        "loops": loops_of(workload, folder),
    }


def cell_as_json(cell: Cell, contest: Contest) -> dict[str, Any]:
    rows_per_batch = contest.rows_per_batch.get((cell.server, cell.concurrency))
    return {**cell.as_json(), "rows_per_batch": rows_per_batch}


def loops_of(workload: BatchWorkload, folder: Path) -> list[dict[str, Any]]:
    loops = measure_batch_loops(
        *(workload.model, folder, workload.loop_seconds, workload.batch_sizes),
        round_lengths_to=workload.round_lengths_to,
        quick=workload.is_short,
    )
    return [asdict(loop) for loop in loops]


def main() -> int:
    options = parse()
    results = run(options)
    for title, header, rows in page.sections(results, is_complete=False):
        print(f"{title}\n{as_text(header, rows)}\n")
    if options.name:
        folder = Path(__file__).parents[1] / "results"
        print(page.write(results, charts.draw(results), folder, options.name))
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
