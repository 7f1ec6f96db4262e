"""`salver push MODEL BASE_PATH`: check a model, publish it as a new version, see it served."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from salver.cli.allowances import add_allow_flag, allowances
from salver.cli.command_line import SIGNAL, WRONG_USE, ArgumentParser, not_negative, positive
from salver.cli.model_flags import add_loading_flags, open_options
from salver.cli.server_flags import (
    add_server_flags,
    add_signature_flag,
    api_key,
    require_model,
    tls,
)
from salver.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from salver.push.order import PushOrder
    from salver.push.served_model import ServerOptions

EXIT_CODES = """exit codes:
  0  published (with --check_only: nothing speaks against it)
  1  refused by a check; nothing was published
  2  wrong flags, or no such folder, file or model; nothing was published
  3  published, and taken back as the server could not serve it
  4  the storage or the server could not be asked; nothing is published
  5  it could not be taken back, though the server or the storage failed: it may still be there
  128 and the number of the signal (130, 143): interrupted; all is as it was
"""


@contextmanager
def hushed() -> Iterator[None]:
    """Keep what parts of the server log out of the output: errors are told once, by us."""
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logger = logging.getLogger("salver")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@hushed()
def push(program: str, arguments: Sequence[str]) -> int:
    """Do as the arguments say; the exit code."""
    options = _parser(program).parse_args(arguments)
    require_model(options)
    require_report_folder(options)
    from salver.cli.progress_bar import StepsProgress
    from salver.push.interruption import Interrupted, Interruption
    from salver.push.pushing import push as run

    progress = StepsProgress(sys.stderr, quiet=options.json)
    order = _order(options)
    try:
        with Interruption() as interruption:
            report = run(order, progress, interruption)
    except Interrupted as interrupted:
        print(f"{program}: interrupted by {interrupted}; all is as it was", file=sys.stderr)
        return SIGNAL + interrupted.number
    code = written(program, report.as_json(), options)
    if report.error:
        print(f"{program}: {report.error}", file=sys.stderr)
    elif not options.json and report.version is not None:
        print(f"{report.destination}/{report.version}")
    return code or int(report.exit_code)


def require_report_folder(options: argparse.Namespace) -> None:
    """Tell before the work that its report could not be written.

    Raises:
        NotFound: there is no such folder.
        InvalidArgument: no file can be made there.
    """
    folder = os.path.dirname(os.path.abspath(options.report))
    if options.report and not os.path.isdir(folder):
        raise NotFound(f"--report {options.report}: there is no folder {folder}")
    if options.report and (os.path.isdir(options.report) or not os.access(folder, os.W_OK)):
        raise InvalidArgument(f"--report {options.report}: no file can be written there")


def written(program: str, document: dict[str, Any], options: argparse.Namespace) -> int:
    """Print the report, write it to a file, as the user wants; the exit code if that fails."""
    text = json.dumps(document, indent=2)
    if options.json:
        print(text)
    if options.report:
        beside = f"{options.report}.{os.getpid()}"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(f"{text}\n")
            os.replace(beside, options.report)
        except OSError as error:
            print(f"{program}: --report {options.report}: {error.strerror}", file=sys.stderr)
            with suppress(OSError):
                os.unlink(beside)
            return int(document["exit_code"]) or WRONG_USE
    return 0


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(program, __doc__, EXIT_CODES)
    flag = parser.add_argument
    flag("model_folder", metavar="MODEL", help="a version folder, a base path (its newest), "
         "the output of TFX's Trainer; a path or a URI")  # fmt: skip
    flag("base_path", metavar="BASE_PATH", help="where servers find versions; a path or a URI")
    add_waiting_flags(parser)
    checks = parser.add_argument_group("checks")
    flag = checks.add_argument
    flag("--blessing", metavar="FOLDER", default="", help="the output of TFX's Evaluator: "
         "NOT_BLESSED in it refuses the model")  # fmt: skip
    flag("--infra_blessing", metavar="FOLDER", default="", help="the output of TFX's "
         "InfraValidator: INFRA_NOT_BLESSED in it refuses the model")  # fmt: skip
    add_allow_flag(checks)
    flag("--allow_unsafe", action="store_true", help="no finding of the scan counts")
    flag("--allow_incompatible_signatures", action="store_true", help="push also what clients of "
         "the version that is there cannot call as before")  # fmt: skip
    flag("--no_load", action="store_true", help="do not load the model: no check of signatures, "
         "warm-up, requests and latency")  # fmt: skip
    flag("--requests", metavar="FILE", default="", help="requests to try the model with, instead "
         "of its warm-up requests: .json or .jsonl as for REST, or .npz")  # fmt: skip
    flag("--expected", metavar="FILE", default="", help="their answers, one for each")
    add_signature_flag(parser)
    flag("--compare", action="store_true", help="answers must be those of the version there")
    flag("--rtol", type=not_negative, default=1e-3, help="relative tolerance (0.001)")
    flag("--atol", type=not_negative, default=1e-5, help="absolute tolerance (0.00001)")
    flag("--max_latency_ratio", metavar="TIMES", type=not_negative, help="refuse a model whose "
         "median latency is more than so many times that of the version there")  # fmt: skip
    flag("--latency_rounds", metavar="N", type=positive, default=50, help="runs of each (50)")
    flag("--run_timeout_s", metavar="S", type=not_negative, default=60.0,
         help="the longest that one run may take (60)")  # fmt: skip
    flag("--check_only", action="store_true", help="publish nothing")
    add_loading_flags(parser)
    return parser


def add_waiting_flags(parser: ArgumentParser) -> None:
    """The flags about a running server and about the report."""
    server = add_server_flags(parser, "the server that serves the base path")
    server.add_argument("--wait_s", metavar="S", type=not_negative, default=300.0,
         help="so long a version may take until it is AVAILABLE (300)")  # fmt: skip
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print a report in JSON, nothing else")
    output.add_argument("--report", metavar="FILE", default="", help="write that report to a file")


def server_options(options: argparse.Namespace) -> "ServerOptions | None":
    """What the flags say of a server; None if they name none.

    Raises:
        InvalidArgument: a certificate without its key.
    """
    from salver.push.served_model import ServerOptions

    if not options.url:
        return None
    return ServerOptions(
        url=options.url,
        model=options.model,
        wait_s=options.wait_s,
        api_key=api_key(),
        tls=tls(options),
    )


def _order(options: argparse.Namespace) -> "PushOrder":
    from salver.push.comparison import Tolerance
    from salver.push.order import PushOrder

    return PushOrder(
        model=options.model_folder,
        base_path=options.base_path,
        server=server_options(options),
        blessing=options.blessing,
        infra_blessing=options.infra_blessing,
        allowances=allowances(options),
        allow_unsafe=options.allow_unsafe,
        allow_incompatible_signatures=options.allow_incompatible_signatures,
        load=not options.no_load,
        requests=options.requests,
        expected=options.expected,
        signature=options.signature,
        compare=options.compare,
        tolerance=Tolerance(options.rtol, options.atol),
        max_latency_ratio=options.max_latency_ratio,
        latency_rounds=options.latency_rounds,
        check_only=options.check_only,
        run_limit_s=options.run_timeout_s,
        open_options=open_options(options),
    )
