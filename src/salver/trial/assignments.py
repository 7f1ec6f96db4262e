"""`name=value;name=value`: how the flags of `saved_model_cli run` give inputs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from salver.errors import InvalidArgument

_FILE = re.compile(r"(.+)\[([^\[\]]+)\]", re.DOTALL)
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class GivenFile:
    """`file.npz[key]`."""

    path: str
    key: str | None


def file_assignments(flag: str, text: str) -> dict[str, GivenFile]:
    """Input names to files, as `--inputs` has them.

    Raises:
        InvalidArgument: a part is not of the form.
    """
    given = {}
    for name, value in _assignments(flag, text, "NAME=FILE or NAME=FILE[KEY]"):
        match = _FILE.fullmatch(value)
        given[name] = GivenFile(match[1], match[2]) if match else GivenFile(value, None)
    return given


def text_assignments(flag: str, text: str, form: str) -> dict[str, str]:
    """Input names to what stands behind the `=`. A `;` within quotes or brackets parts nothing.

    Raises:
        InvalidArgument: a part is not of the form, which the message quotes.
    """
    return dict(_assignments(flag, text, form))


def _assignments(flag: str, text: str, form: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for part in _parts(text):
        if not part.strip():
            continue
        name, sign, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if not sign or not name or not value:
            raise InvalidArgument(f"{flag}: {part.strip()!r:.200} is not of the form {form}")
        if name in seen:
            raise InvalidArgument(f"{flag}: the input {name!r} is given twice")
        seen.add(name)
        yield name, value


def _parts(text: str) -> Iterator[str]:
    quote, depth, start = "", 0, 0
    skip = False
    for place, character in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\"
            quote = "" if character == quote else quote
        elif character in "\"'" and depth >= 0:
            quote = character
        elif character in _PAIRS:
            depth += 1
        elif character in _PAIRS.values():
            depth -= 1
        elif character == ";" and depth <= 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]
