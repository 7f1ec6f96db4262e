"""What the C++ protobuf library would say of a mistake in a text-format file.

People, and scripts that grep logs, know the messages of the C++ text parser. The
Python parser finds the same mistakes but words and places them differently: one
table here turns one into the other. What the table does not know passes unchanged.
"""

import re
from dataclasses import dataclass
from enum import Enum

from google.protobuf.text_format import ParseError


class _Place(Enum):
    """Which token the C++ parser was looking at, seen from the one Python names."""

    SAME = 0
    NEXT = 1
    AFTER_FIELD_NAME = 2
    AFTER_TYPE_URL = 3
    LINE_END = 4


@dataclass(frozen=True, slots=True)
class _Rule:
    python: re.Pattern[str]
    cpp: str
    """May name the groups of `python`, `{found}` (the token there) and `{field}`."""
    place: _Place = _Place.SAME


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int


_RULES = [
    _Rule(
        re.compile(r'(?P<what>Message type ".*" has no field named ".*"\.)'),
        "{what}",
        _Place.NEXT,
    ),
    _Rule(
        re.compile(r'Message type ".*" should not have multiple "(?P<name>.*)" fields\.'),
        'Non-repeated field "{name}" is specified multiple times.',
        _Place.AFTER_FIELD_NAME,
    ),
    _Rule(
        re.compile(r"(?P<what>Field .* is specified along with .*) for message type .*\."),
        "{what}.",
        _Place.NEXT,
    ),
    _Rule(re.compile(r'Expected "[}>]"\.'), "Expected identifier, got: {found}", _Place.NEXT),
    _Rule(re.compile(r'Expected "(?P<what>.)"\.'), 'Expected "{what}", found "{found}".'),
    _Rule(re.compile(r"Expected identifier.*"), "Expected identifier, got: {found}"),
    _Rule(re.compile(r"Couldn't parse integer: .*"), "Expected integer, got: {found}"),
    _Rule(re.compile(r"Value out of range: (?P<what>.*)"), "Integer out of range ({what})"),
    _Rule(re.compile(r"Couldn't parse float: .*"), "Expected double, got: {found}"),
    _Rule(re.compile(r"Expected string but found: .*", re.DOTALL), "Expected string, got: {found}"),
    _Rule(
        re.compile(r"String missing ending quote: .*", re.DOTALL),
        'Multiline strings are not allowed. Did you miss a "?.',
        _Place.LINE_END,
    ),
    _Rule(
        re.compile(r'Expected "true" or "false"\.'),
        'Invalid value for boolean field "{field}". Value: "{value}".',
        _Place.NEXT,
    ),
    _Rule(
        re.compile(r'Enum type ".*" has no value named (?P<what>.*)\.'),
        'Unknown enumeration value of "{what}" for field "{field}".',
        _Place.NEXT,
    ),
    _Rule(
        re.compile(r"Type (?P<type>\S+) not found in descriptor pool"),
        'Could not find type "{url}" stored in google.protobuf.Any.',
        _Place.AFTER_TYPE_URL,
    ),
]
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      |[A-Za-z_]\w*|[0-9][\w.+-]*
      |"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?
      |.""",
    re.VERBOSE,
)
_TAB_WIDTH = 8
_NEWLINE = "\n"


def wording(error: ParseError, text: str) -> str:
    """`{line}:{column}: {what}`, both counted from 1, columns in bytes and tabs as 8."""
    line, column = error.GetLine(), error.GetColumn()
    what = re.sub(r"^\d+:\d+ : ", "", str(error))
    if line:
        # For the token it looks at, the Python parser also quotes the line.
        what = what.removeprefix(f"'{text.split(_NEWLINE)[line - 1]}': ")
    for rule in _RULES:
        match = rule.python.fullmatch(what)
        if match:
            return _apply(rule, match.groupdict(), text, line, column)
    return f"{line or 1}:{column or 1}: {what}"


def _apply(
    rule: _Rule, groups: dict[str, str], text: str, line: int | None, column: int | None
) -> str:
    tokens = [
        _Token(match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(text)
        if match["space"] is None
    ]
    tokens.append(_Token("", len(text), len(text)))
    groups["url"] = groups.get("type", "")
    if rule.place is _Place.AFTER_TYPE_URL:
        index = _after_type_url(tokens, groups)
    else:
        index = _index_at(tokens, _offset(text, line or 1, column or 1))
    groups["value"] = tokens[index].text
    groups["field"] = _field_before(tokens, index)
    if rule.place is _Place.NEXT:
        index = min(index + 1, len(tokens) - 1)
    elif rule.place is _Place.AFTER_FIELD_NAME and tokens[index - 1].text == ":":
        index -= 1
    groups["found"] = tokens[index].text
    offset = tokens[index].end if rule.place is _Place.LINE_END else tokens[index].start
    return f"{_position(text, offset)}: {rule.cpp.format(**groups)}"


def _offset(text: str, line: int, column: int) -> int:
    """Where Python's 1-based line and column lie in the text."""
    before = text.split(_NEWLINE)[: line - 1]
    return sum(len(each) + 1 for each in before) + column - 1


def _index_at(tokens: list[_Token], offset: int) -> int:
    """The first token that does not lie wholly before `offset`."""
    for index, token in enumerate(tokens):
        if token.end > offset:
            return index
    return len(tokens) - 1


def _field_before(tokens: list[_Token], index: int) -> str:
    """The name in `name: value`, or in `name: [value, value]`, for the value's index."""
    while index > 0 and tokens[index].text != ":":
        index -= 1
    return tokens[index - 1].text if index > 0 else ""


def _after_type_url(tokens: list[_Token], groups: dict[str, str]) -> int:
    """The value of the `Any` whose type was not found; `url` gets its prefix as well."""
    for opening, token in enumerate(tokens):
        if token.text != "[":
            continue
        closing = opening
        while tokens[closing].text not in ("]", ""):
            closing += 1
        url = "".join(each.text for each in tokens[opening + 1 : closing])
        if url.endswith("/" + groups["type"]):
            groups["url"] = url
            return closing + (2 if tokens[closing + 1].text == ":" else 1)
    return len(tokens) - 1


def _position(text: str, offset: int) -> str:
    """`line:column` as the C++ tokenizer counts."""
    line = text.count("\n", 0, offset)
    column = 0
    for character in text[text.rfind("\n", 0, offset) + 1 : offset]:
        if character == "\t":
            column += _TAB_WIDTH - column % _TAB_WIDTH
        else:
            column += len(character.encode("utf-8", "surrogatepass"))
    return f"{line + 1}:{column + 1}"
