"""`salver serve` and `tensorflow_model_server`: read the flags, run the server until it ends."""

import faulthandler
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from salver import __version__
from salver.config.command_line import parse, usage
from salver.config.flags import Flags
from salver.errors import ServingError

START_FAILED = 255
HELP = "--help"
TENSORFLOW_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu")

logger = logging.getLogger(__name__)


def tensorflow_model_server(program: str, arguments: Sequence[str]) -> int:
    """Do what TensorFlow Serving does with these arguments: asking for help is a failed start."""
    return _run(program, arguments, START_FAILED)


def serve(program: str, arguments: Sequence[str]) -> int:
    """The same, but help is an answer."""
    return _run(program, arguments, 0)


def _run(program: str, arguments: Sequence[str], help_exit_code: int) -> int:
    command_line = parse(arguments)
    asks_for_help = command_line.unknown_arguments[:1] == (HELP,)
    if command_line.errors or asks_for_help:
        for error in command_line.errors:
            print(error, file=sys.stderr)
        print(usage(program), end="")
        return START_FAILED if command_line.errors else help_exit_code
    if command_line.flags.version:
        print(f"TensorFlow ModelServer: {__version__}")
        print(f"TensorFlow Library: {tensorflow_version()}")
        return 0
    if command_line.unknown_arguments:
        print(f"unknown argument: {command_line.unknown_arguments[0]}")
        print(usage(program), end="", flush=True)
    return start(command_line.flags, command_line.without_effect)


def tensorflow_version() -> str:
    """The version of the installed TensorFlow, which is not imported for it."""
    for distribution in TENSORFLOW_DISTRIBUTIONS:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "not installed"


def start(flags: Flags, without_effect: Sequence[str]) -> int:
    """Run the server to its end; the exit code."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.getLevelNamesMapping().get(flags.log_level.upper(), logging.INFO),
        format="%(asctime)s %(levelname).1s %(name)s] %(message)s",
    )
    if without_effect:
        names = ", ".join(f"--{name}" for name in without_effect)
        logger.warning("These flags are accepted but have no effect: %s", names)
    # It brings the main thread a stack for signals. TensorFlow's kernels for matrices use the stack
    # pointer for their own ends: a signal that arrives while one runs on the loop would otherwise
    # write into the heap.
    faulthandler.enable()
    # NumPy's linear algebra is not used here; its threads would only take time and memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        # Only now, so that --help and --version do not wait for NumPy, protobuf and the bindings.
        from salver.server import run

        return run(flags)
    except ServingError as error:
        logger.error("%s", error.status)
        print(f"Failed to start server. Error: {error.status}", flush=True)
    except Exception:
        logger.exception("The server ended by an error that nobody expected")
    return START_FAILED
