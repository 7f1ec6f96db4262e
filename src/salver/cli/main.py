"""`salver`: one program, its commands, and the second name under which it serves."""

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from salver import __version__
from salver.cli.command_line import WRONG_USE, ended
from salver.cli.explain_batching import explain_batching
from salver.cli.greetings import greetings_kept_off
from salver.cli.predict import predict
from salver.cli.push import push
from salver.cli.rollback import rollback
from salver.cli.run import run
from salver.cli.scan import scan
from salver.cli.serve import serve
from salver.cli.serve import tensorflow_model_server as serve_like_tensorflow
from salver.cli.show import show
from salver.cli.snippets import snippets
from salver.core.nearest import nearest


@dataclass(frozen=True, slots=True)
class Command:
    """What follows `salver` on the command line."""

    summary: str
    run: Callable[[str, Sequence[str]], int]
    """Called with the words to print in a usage line, and the arguments; the exit code."""
    loads_models: bool = False
    """Whether it may load a model, and with it the library of a framework."""


COMMANDS = {
    "serve": Command("serve models over gRPC and REST", serve),
    "show": Command("what a model takes, gives and holds, and what made it", show, True),
    "run": Command("try a model on data, in a folder or on a server", run, True),
    "scan": Command("what a model could do beside computing: files, code, network", scan),
    "push": Command("check a model and publish it as a new version", push, True),
    "rollback": Command("return to the version before the newest one", rollback),
    "predict": Command("predictions for every row of a file", predict, True),
    "snippets": Command("source code that calls a served model, in several languages", snippets),
    "explain-batching": Command("what the scheduler of a running server does", explain_batching),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The program `salver`; the exit code."""
    _print_any_text()
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words or words[0] in ("--help", "-h", "help"):
        print(usage(), end="")
        return 0 if words else WRONG_USE
    if words[0] == "--version":
        print(f"salver {__version__}")
        return 0
    command = COMMANDS.get(words[0])
    program = f"salver {words[0]}"
    if command is None:
        meant = nearest(words[0], COMMANDS)
        print(f"salver: there is no command {words[0]!r}{meant}", file=sys.stderr)
        return WRONG_USE
    with greetings_kept_off() if command.loads_models else nullcontext():
        return ended(program, lambda: command.run(program, words[1:]))


def tensorflow_model_server(arguments: Sequence[str] | None = None) -> int:
    """The program `tensorflow_model_server`; the exit code."""
    _print_any_text()
    words = sys.argv[1:] if arguments is None else arguments
    return serve_like_tensorflow("tensorflow_model_server", words)


def usage() -> str:
    """The text of `salver --help`."""
    width = max(map(len, COMMANDS))
    lines = ["usage: salver COMMAND [FLAGS]", "       salver --version", "", "Commands:"]
    lines += [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "salver COMMAND --help lists the flags of a command."]
    return "\n".join(lines) + "\n"


def _print_any_text() -> None:
    """Let arguments and paths that are no valid text be printed, escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
