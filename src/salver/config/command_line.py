"""Reads a command line by the rules of TensorFlow Serving's flags, and prints the usage.

* Only `--name=value`; a bool may also stand alone. The last of several wins.
* What is no flag is set aside, as is everything from `--` on.
* A value that does not fit its flag is an error, and reading goes on to find more.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from salver.config.declaration import Declaration, Effect, Kind, Origin, Value
from salver.config.flags import DECLARATIONS, Flags

_BY_NAME = {declaration.name: declaration for declaration in DECLARATIONS}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+")
_DECIMAL = re.compile(
    r"[ \t\n\v\f\r]*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)",
    re.IGNORECASE,
)
_HEXADECIMAL = re.compile(
    r"[ \t\n\v\f\r]*[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What the arguments say."""

    flags: Flags
    unknown_arguments: tuple[str, ...]
    """In order, `--` and all after it included."""
    given: tuple[str, ...]
    """The names of the flags that were given, each once, in order."""
    errors: tuple[str, ...]
    """One line for each value that could not be read; with any, `flags` is not to be used."""

    @property
    def without_effect(self) -> tuple[str, ...]:
        """The given flags that change nothing, to be named when the server starts."""
        return tuple(name for name in self.given if _BY_NAME[name].effect is not Effect.IMPLEMENTED)


def parse(arguments: Sequence[str]) -> CommandLine:
    """Read the arguments after the program's (and command's) name."""
    values: dict[str, Any] = {}
    unknown: list[str] = []
    errors: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            unknown.extend(arguments[position:])
            break
        name, equals, text = argument.removeprefix("--").partition("=")
        declaration = _BY_NAME.get(name) if argument.startswith("--") else None
        if declaration is None or not (equals or declaration.kind is Kind.BOOL):
            unknown.append(argument)
            continue
        try:
            values[name] = _READERS[declaration.kind](text) if equals else True
        except ValueError:
            errors.append(f"Couldn't interpret value {text} for flag {name}.")
    return CommandLine(Flags(**values), tuple(unknown), tuple(values), tuple(errors))


def usage(program: str) -> str:
    """The text of `--help`: every flag with its default, its type and its meaning."""
    lines = [f"usage: {program}"]
    for origin, heading in ((Origin.TENSORFLOW_SERVING, "Flags:"), (Origin.SALVER, "")):
        lines.append(heading or f"{origin.value}:")
        lines += [_usage_line(entry) for entry in DECLARATIONS if entry.origin is origin]
    return "\n".join(lines) + "\n"


def format_value(declaration: Declaration) -> str:
    """The default of a flag as it would be written on the command line."""
    value = declaration.default_value
    if declaration.kind is Kind.BOOL:
        return "true" if value else "false"
    if declaration.kind is Kind.STRING:
        return f'"{value}"'
    return f"{value:f}" if declaration.kind is Kind.FLOAT else str(value)


def _usage_line(declaration: Declaration) -> str:
    with_default = f"--{declaration.name}={format_value(declaration)}"
    meaning = declaration.description
    if declaration.effect is not Effect.IMPLEMENTED:
        meaning += f" ({effect_in_words(declaration)})"
    return f"\t{with_default:<33}\t{declaration.kind.value}\t{meaning}"


def effect_in_words(declaration: Declaration) -> str:
    """`implemented`, or what stands in the way."""
    words = declaration.effect.value
    return f"{words}: {declaration.reason}" if declaration.reason else words


def _read_bool(text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _read_integer(text: str, bits: int) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(text)
    value = int(text)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(text)
    return value


def _read_float(text: str) -> float:
    if _HEXADECIMAL.fullmatch(text):
        return float.fromhex(text)
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError(text)
    return float(text)


_READERS: dict[Kind, Callable[[str], Value]] = {
    Kind.BOOL: _read_bool,
    Kind.INT32: lambda text: _read_integer(text, 32),
    Kind.INT64: lambda text: _read_integer(text, 64),
    Kind.FLOAT: _read_float,
    Kind.STRING: str,
}
