"""Compare a model server with baselines measured in the same run: `python -m benchmarks`."""

import argparse
import datetime
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import chart, limits, machine, report
from benchmarks.load import LoadFailed
from benchmarks.measure import Cell, measure
from benchmarks.servers import ROOT, Program, ServerFailed, baselines
from benchmarks.startup import measure_starts
from benchmarks.workloads import WORKLOADS, Workload

TOPICS = (*WORKLOADS, "startup")
BOTH = frozenset({"grpc", "rest"})
DEFAULT_SERVER = (sys.executable, "-m", "salver", "serve")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short and rough, in a minute or so")
    parser.add_argument("--only", default=",".join(TOPICS), help=f"of {','.join(TOPICS)}")
    parser.add_argument("--rounds", type=int, help="turns of each server under each load")
    parser.add_argument("--seconds", type=float, help="length of each turn")
    parser.add_argument("--name", help="write results/NAME.json and the page and chart of it")
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path.home() / ".cache" / "salver-bench",
        help="where models, requests and logs are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--server",
        help="command of the server under test, as NAME=COMMAND; gets TensorFlow Serving's flags",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a further server to compare with, such as another checkout or TensorFlow Serving",
    )
    parser.add_argument("--no-baselines", action="store_true", help="only --server and --against")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    unknown = sorted(set(options.only) - set(TOPICS))
    if unknown:
        parser.error(f"--only does not know {', '.join(unknown)}")
    return options


def program_of(text: str) -> Program:
    """`NAME=COMMAND`; the name may be missing.

    `NAME:grpc=COMMAND` is a server that speaks only gRPC, `NAME:rest=COMMAND` only REST.
    """
    name, _, command = text.rpartition("=") if "=" in text.split(" ")[0] else ("", "", text)
    words = tuple(shlex.split(command))
    name, _, protocol = name.partition(":")
    return Program(name or Path(words[0]).name, words, frozenset({protocol}) if protocol else BOTH)


def adjusted(workload: Workload, options: argparse.Namespace) -> Workload:
    """The workload with the rounds and seconds that were asked for."""
    if options.quick:
        workload = replace(workload, rounds=1, seconds=0.6)
    rounds = options.rounds or workload.rounds
    return replace(workload, rounds=rounds, seconds=options.seconds or workload.seconds)


def show(cells: list[Cell], under_test: str) -> None:
    rows = report.load_rows([cell.as_json() for cell in cells], under_test)
    print(report.as_text(report.LOAD_HEADER, rows), end="\n\n", flush=True)


def run(options: argparse.Namespace) -> report.Results:
    """Measure what was asked for; tables appear as they are complete."""
    folder: Path = options.workdir
    make_models = [sys.executable, "-m", "benchmarks.models", str(folder)]
    subprocess.run(make_models, check=True, cwd=ROOT)
    under_test = (
        program_of(options.server) if options.server else Program("salver", DEFAULT_SERVER, BOTH)
    )
    servers = [under_test, *map(program_of, options.against)]
    results: report.Results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "under_test": under_test.name,
        "quick": options.quick,
        **{part: [] for part in ("cells", "loops", "starts", "pieces")},
    }
    for name, workload in WORKLOADS.items():
        if name not in options.only:
            continue
        workload = adjusted(workload, options)
        rivals = [] if options.no_baselines else baselines(computes_long=workload.computes_long)
        cells = measure(
            workload, [*servers, *rivals], folder, lambda row: show(row, under_test.name)
        )
        results["cells"] += [cell.as_json() for cell in cells]
        if name != "large":
            loops = limits.measure_loops(workload.model, folder, workload.seconds)
            results["loops"] += [asdict(loop) for loop in loops]
    if "large" in options.only:
        seconds = 0.3 if options.quick else 2.0
        results["pieces"] = [asdict(piece) for piece in limits.measure_pieces(folder, seconds)]
    if "startup" in options.only:
        others = [] if options.no_baselines else baselines(computes_long=True)
        rounds = options.rounds or (1 if options.quick else 3)
        starts = measure_starts(under_test, [*servers[1:], *others], folder, rounds)
        results["starts"] = [start.as_json() for start in starts]
    return results


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
