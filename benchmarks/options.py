"""The options of `python -m benchmarks`."""

import argparse
import shlex
import sys
from pathlib import Path

from benchmarks.servers import Program
from benchmarks.workloads import WORKLOADS

DESCRIPTION = "Compare a model server with baselines measured in the same run."
TOPICS = (*WORKLOADS, "startup")
BOTH = frozenset({"grpc", "rest"})
DEFAULT_SERVER = Program("salver", (sys.executable, "-m", "salver", "serve"), BOTH)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=DESCRIPTION)
    parser.add_argument("--quick", action="store_true", help="short and rough, in a minute or so")
    parser.add_argument("--only", default=",".join(TOPICS), help=f"of {','.join(TOPICS)}")
    parser.add_argument("--rounds", type=int, help="turns of each server under each load")
    parser.add_argument("--seconds", type=float, help="length of each turn")
    parser.add_argument(
        "--name", help="keep the result: results/NAME.json, a chart, and the page results/README.md"
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
        help="the server under test, which gets TensorFlow Serving's flags (default: salver)",
    )
    parser.add_argument(
        "--against",
        type=program_of,
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
    """`NAME=COMMAND`; `NAME:grpc=COMMAND` speaks only gRPC, `NAME:rest=COMMAND` only REST.

    Raises:
        argparse.ArgumentTypeError: a part is missing, or there is no such protocol.
    """
    label, _, command = text.partition("=")
    name, _, protocol = label.partition(":")
    words = tuple(shlex.split(command))
    if not (name and words and protocol in {"", *BOTH}):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND")
    return Program(name, words, frozenset({protocol}) if protocol else BOTH)
