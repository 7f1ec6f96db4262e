"""JSON values as the error messages quote them, and strings as all of our JSON escapes them.

A quoted value is cut: nothing that would start at byte 256 or later is written, but what
has started is written whole. So it need not be valid JSON. A NaN or an infinity cannot be
written at all and ends the text.
"""

import math
import re
from collections.abc import Iterator
from typing import TypeAlias

from salver.codecs.json_shortest import shortest

Node: TypeAlias = "bool | int | float | bytes | list[Node] | tuple[Node, ...] | None"
"""A parsed value: arrays are lists, objects are tuples of names and values in turn."""

MAX_QUOTED_BYTES = 256

_SPECIAL = re.compile(rb'["\\\x00-\x1f]')
_ESCAPES = {byte: b"\\u%04X" % byte for byte in range(0x20)} | {
    0x08: b"\\b",
    0x09: b"\\t",
    0x0A: b"\\n",
    0x0C: b"\\f",
    0x0D: b"\\r",
    0x22: b'\\"',
    0x5C: b"\\\\",
}


def escaped(text: bytes) -> bytes:
    r"""A string with its quotation marks; only control characters, `"` and `\` are escaped."""
    return b'"%b"' % _SPECIAL.sub(lambda found: _ESCAPES[found[0][0]], text)


def text_of(data: bytes) -> str:
    """UTF-8 for a message; bytes that are none survive the way there and back."""
    return data.decode("utf-8", "surrogateescape")


def quoted(value: Node) -> str:
    """A value for a message, objects over several lines, arrays on one."""
    out = bytearray()
    for piece in _pieces(value):
        if len(out) >= MAX_QUOTED_BYTES:
            break
        out += piece
    return text_of(bytes(out))


def _pieces(value: Node) -> Iterator[bytes]:
    """The text in the steps at which it may be cut, each with the blanks before it."""
    pending: list[tuple[Iterator[Node], bool, int]] = []
    prefix = b""
    while True:
        if isinstance(value, float) and not math.isfinite(value):
            yield prefix
            return
        yield prefix + _opening(value)
        if isinstance(value, list | tuple):
            pending.append((iter(value), isinstance(value, tuple), 0))
        while True:
            if not pending:
                return
            rest, is_object, count = pending.pop()
            following = next(rest, pending)
            if following is not pending:
                break
            indent = b"\n" + b"    " * len(pending) if is_object and count else b""
            yield indent + (b"}" if is_object else b"]")
        value = following  # type: ignore[assignment]
        pending.append((rest, is_object, count + 1))
        prefix = _separator(is_object, count, len(pending))


def _opening(value: Node) -> bytes:
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, bytes):
        return escaped(value)
    if isinstance(value, list):
        return b"["
    if isinstance(value, tuple):
        return b"{"
    return str(value).encode() if isinstance(value, int) else shortest(value).encode()


def _separator(is_object: bool, count: int, depth: int) -> bytes:
    if not is_object:
        return b", " if count else b""
    if count % 2:
        return b": "
    return (b",\n" if count else b"\n") + b"    " * depth
