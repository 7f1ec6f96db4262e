"""Compare a model server with baselines measured in the same run: `python -m benchmarks`."""

import argparse
import datetime
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import chart, limits, machine, report
from benchmarks.load import LoadFailed
from benchmarks.measure import measure
from benchmarks.options import parse
from benchmarks.servers import ROOT, Program, ServerFailed, baselines
from benchmarks.startup import measure_starts
from benchmarks.workloads import WORKLOADS, Workload


def adjusted(workload: Workload, options: argparse.Namespace) -> Workload:
    """The workload with the rounds and seconds that were asked for."""
    if options.quick:
        load = (workload.quick_concurrency,)
        workload = replace(workload, concurrencies=load, rounds=1, seconds=0.6)
    rounds = options.rounds or workload.rounds
    return replace(workload, rounds=rounds, seconds=options.seconds or workload.seconds)


def run(options: argparse.Namespace) -> report.Results:
    """Measure what was asked for; tables of loads appear as they are complete."""
    folder: Path = options.workdir
    make_models = [sys.executable, "-m", "benchmarks.models", str(folder)]
    subprocess.run(make_models, check=True, cwd=ROOT)
    servers: list[Program] = [options.server, *options.against]
    results: report.Results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "under_test": options.server.name,
        "quick": options.quick,
        **{part: [] for part in ("cells", "loops", "starts", "pieces")},
    }
    for name, workload in WORKLOADS.items():
        if name in options.only:
            add_workload(results, adjusted(workload, options), servers, options)
    if "large" in options.only:
        pieces = limits.measure_pieces(folder, 0.3 if options.quick else 2.0)
        results["pieces"] = [asdict(piece) for piece in pieces]
    if "startup" in options.only:
        rivals = [] if options.no_baselines else baselines(computes_long=True)
        rounds = options.rounds or (1 if options.quick else 3)
        starts = measure_starts([*servers, *rivals], folder, rounds, warm_up=not options.quick)
        results["starts"] = [start.as_json() for start in starts]
    return results


def add_workload(
    results: report.Results,
    workload: Workload,
    servers: Sequence[Program],
    options: argparse.Namespace,
) -> None:
    """The servers and the baselines under the loads of one model, and the model alone."""
    folder: Path = options.workdir
    rivals = [] if options.no_baselines else baselines(computes_long=workload.computes_long)
    for cells in measure(workload, [*servers, *rivals], folder):
        rows = [cell.as_json() for cell in cells]
        results["cells"] += rows
        table = report.load_rows(rows, results["under_test"])
        print(report.as_text(report.LOAD_HEADER, table), end="\n\n", flush=True)
    if workload.is_looped:
        loops = limits.measure_loops(workload.model, folder, workload.seconds, quick=options.quick)
        results["loops"] += [asdict(loop) for loop in loops]


def main() -> int:
    options = parse()
    try:
        results = run(options)
    except (ServerFailed, LoadFailed) as error:
        print(error, file=sys.stderr)
        return 1
    for title, header, rows in report.sections(results)[1 if results["cells"] else 0 :]:
        print(f"{title}\n{report.as_text(header, rows)}\n")
    if options.name:
        folder = Path(__file__).with_name("results")
        drawing = chart.draw(results["cells"], results["under_test"])
        print(report.write(results, drawing, folder, options.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
