"""The options of `python -m benchmarks.batching`."""

import argparse
from pathlib import Path

from benchmarks.batching.workloads import QUICK, WORKLOADS
from benchmarks.options import DEFAULT_SERVER, program_of


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batching",
        description="Compare batching that tunes itself with none and with tuned parameters.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few settings, short and rough, in a minute or so"
    )
    parser.add_argument(
        "--only", help=f"of {','.join(WORKLOADS)} (default: all; with --quick {','.join(QUICK)})"
    )
    parser.add_argument(
        "--name",
        help="keep the result: results/batching-NAME.json and .svg, and the page batching.md",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path.home() / ".cache" / "salver-bench",
        help="where models, requests and logs are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--server",
        type=program_of,
        default=DEFAULT_SERVER,
        metavar="NAME=COMMAND",
        help="the server, another checkout of Salver say (default: salver)",
    )
    options = parser.parse_args(arguments)
    everything = QUICK if options.quick else tuple(WORKLOADS)
    options.only = options.only.split(",") if options.only else list(everything)
    unknown = sorted(set(options.only) - set(WORKLOADS))
    if unknown:
        parser.error(f"--only does not know {', '.join(unknown)}")
    return options
