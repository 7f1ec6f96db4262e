"""The options of `python -m benchmarks.frameworks`."""

import argparse
from pathlib import Path

from benchmarks.frameworks.models import MODELS, QUICK
from benchmarks.options import DEFAULT_SERVER, program_of

STARTUP = "startup"
TOPICS = (*MODELS, STARTUP)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.frameworks",
        description="Compare how models of many frameworks are served: with the framework's own "
        "loop, grpc.aio, MLServer and FastAPI.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short and rough, one model, nothing is installed"
    )
    parser.add_argument(
        "--only", help=f"of {','.join(TOPICS)} (default: all; with --quick {','.join(QUICK)})"
    )
    parser.add_argument("--rounds", type=int, help="turns of each server (default: 7)")
    parser.add_argument(
        "--seconds",
        type=float,
        help="length of each turn, three times as much where calls compute long (default: 0.5)",
    )
    parser.add_argument("--protocols", default="grpc,rest", help="one or both of grpc,rest")
    parser.add_argument(
        "--name",
        help="keep the result: results/frameworks-NAME.json and .svg, and the page frameworks.md; "
        "what is not measured keeps its figures",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path.home() / ".cache" / "salver-bench",
        help="where models, environments and logs are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--server",
        type=program_of,
        default=DEFAULT_SERVER,
        metavar="NAME=COMMAND",
        help="the server under test, another checkout of Salver say (default: salver)",
    )
    options = parser.parse_args(arguments)
    everything = QUICK if options.quick else TOPICS
    options.only = options.only.split(",") if options.only else list(everything)
    unknown = sorted(set(options.only) - set(TOPICS))
    if unknown:
        parser.error(f"--only does not know {', '.join(unknown)}")
    options.protocols = options.protocols.split(",")
    if not set(options.protocols) <= {"grpc", "rest"}:
        parser.error("--protocols knows grpc and rest")
    options.rounds = options.rounds or (1 if options.quick else 7)
    options.seconds = options.seconds or (0.2 if options.quick else 0.5)
    return options
