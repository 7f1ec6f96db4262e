"""How commands read their arguments and how they end: one line for what is wrong, an exit code."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from salver.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServingError,
    Unimplemented,
)

DONE, FAILED, WRONG_USE = 0, 1, 2
SIGNAL = 128
"""An interrupted program ends with this and the number of the signal."""
INTERRUPTED = SIGNAL + 2
_OF_THE_USER = (
    InvalidArgument,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    FailedPrecondition,
    Unimplemented,
    DataLoss,
)
_PATHS = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
)


class ArgumentParser(argparse.ArgumentParser):
    """Says in one line what is wrong, with the flag that was meant."""

    def __init__(self, program: str, description: str | None, epilog: str | None = None) -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Print the line and leave."""
        unknown, colon, words = message.partition("unrecognized arguments: ")
        if colon and not unknown:
            first = words.split()[0].partition("=")[0]
            message = f"there is no flag {first}{self._meant(first)}"
            if not first.startswith("-"):
                message = f"one argument too many: {words}"
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(WRONG_USE)

    def _meant(self, flag: str) -> str:
        known = [each for each in self._option_string_actions if each.startswith("--")]
        close = difflib.get_close_matches(flag, known, n=1)
        return f"; did you mean {close[0]}?" if close else ""


def ended(program: str, run: Callable[[], int]) -> int:
    """Run a command; the exit code, whatever it ends with.

    0: done. 1: something was found, or failed. 2: wrong use or bad input. 130: interrupted.
    """
    try:
        return run()
    except SystemExit as end:
        return WRONG_USE if end.code else DONE
    except ServingError as error:
        return failed(program, error)
    except BrokenPipeError:
        # Who reads has seen enough, as `head` does. What is left must not be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return failed(program, error)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED


def failed(program: str, error: ServingError | OSError, advice: str = "") -> int:
    """Print the one line of an error; the exit code."""
    print(f"{program}: {line_of(error)}{advice}", file=sys.stderr)
    return exit_code_of(error)


def line_of(error: ServingError | OSError) -> str:
    """What is wrong, in one line."""
    if isinstance(error, ServingError):
        return " ".join(error.message.split())
    text = error.strerror or str(error)
    return text if error.filename is None else f"{os.fsdecode(error.filename)}: {text}"


def exit_code_of(error: ServingError | OSError) -> int:
    """Two for what the user gave, one for what failed."""
    return WRONG_USE if isinstance(error, (*_OF_THE_USER, *_PATHS)) else FAILED


def positive(text: str) -> int:
    """The type of a flag: a whole number above zero."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def not_negative(text: str) -> float:
    """The type of a flag: a number from zero on."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return number


def names(text: str) -> tuple[str, ...]:
    """The value of a flag that takes several, separated by commas."""
    return tuple(filter(None, map(str.strip, text.split(","))))
