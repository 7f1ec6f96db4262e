"""Changes that keep the outer form of an input, so that what lies deeper is reached.

Each takes an input apart (fields of protobuf, tokens of JSON, frames of HTTP/2, records), changes
the order or the content of the pieces, and writes lengths and checksums anew.
"""

import re
from collections.abc import Callable
from random import Random

import google_crc32c

_MASK = 0xA282EAD8
# A string without an end is one token too: else each quote in it would be tried to the end.
_JSON_TOKEN = re.compile(
    rb'"(?:\\.|[^"\\])*+"?|-?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|Infinity|NaN)|[a-zA-Z]+|\s+|.', re.S
)
_JSON_NUMBERS = [
    b"0", b"-0", b"-0.0", b"1", b"0.5", b"1.25", b"-7", b"255", b"256", b"65536", b"2147483647",
    b"2147483648", b"-2147483649", b"4294967296", b"9223372036854775807", b"9223372036854775808",
    b"18446744073709551615", b"18446744073709551616", b"1e308", b"1e309", b"1e-308", b"4.9e-324",
    b"1e400", b"3.4028236e38", b"1e-46", b"0.1234567", b"0.12345678", b"0.123456789012345678",
    b"123456789012345678901234567890", b"1" + b"0" * 330, b"0." + b"0" * 330 + b"1", b"NaN",
    b"Infinity", b"-Infinity", b"1.", b"1e", b"01", b"+1", b".5", b"1.5e+3", b"1E-2",
]  # fmt: skip


def on_pieces(
    random: Random, pieces: list[bytes], others: list[bytes], change: Callable[[bytes], bytes]
) -> list[bytes]:
    """One piece dropped, doubled, moved, taken from elsewhere, or changed."""
    if not pieces:
        return others[: random.randint(0, 3)]
    place = random.randrange(len(pieces))
    action = random.randrange(7)
    if action == 0:
        return pieces[:place] + pieces[place + 1 :]
    if action == 1:
        times = random.choice((1, 1, 2, 10, 1000)) if random.random() < 0.2 else 1
        return pieces[:place] + [pieces[place]] * times + pieces[place:]
    if action == 2:
        moved = pieces[:place] + pieces[place + 1 :]
        moved.insert(random.randrange(len(pieces)), pieces[place])
        return moved
    if action == 3 and others:
        return [*pieces[:place], random.choice(others), *pieces[place:]]
    return [*pieces[:place], change(pieces[place]), *pieces[place + 1 :]]


# --- protobuf ---------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def read_varint(data: bytes, start: int) -> tuple[int, int] | None:
    """The value and where it ends; None if there is none."""
    value = 0
    for place in range(start, min(start + 10, len(data))):
        value |= (data[place] & 0x7F) << 7 * (place - start)
        if data[place] < 0x80:
            return value, place + 1
    return None


def fields(data: bytes) -> list[bytes]:
    """The fields of a message, each with its tag; [] if it is none."""
    found = []
    start = 0
    while start < len(data):
        tag = read_varint(data, start)
        if tag is None or not tag[0] >> 3:
            return []
        end = _end_of_value(data, tag[0] & 7, tag[1])
        if end is None or end > len(data):
            return []
        found.append(data[start:end])
        start = end
    return found


def _end_of_value(data: bytes, wire_type: int, start: int) -> int | None:
    if wire_type == 0:
        value = read_varint(data, start)
        return None if value is None else value[1]
    if wire_type == 2:
        size = read_varint(data, start)
        return None if size is None else size[1] + size[0]
    return {1: start + 8, 5: start + 4}.get(wire_type)


def protobuf(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one field somewhere in a message; the lengths around it are right again."""
    return b"".join(
        on_pieces(random, fields(data), fields(other), lambda field: _field(random, field, other))
    )


def _field(random: Random, field: bytes, other: bytes) -> bytes:
    tag = read_varint(field, 0)
    assert tag is not None
    number, start = tag
    if random.random() < 0.1:
        number = random.choice((number ^ 1, number ^ 2, number + 8, number - 8, number | 7))
        return varint(max(number, 0)) + field[start:]
    if number & 7 == 0:
        return field[:start] + varint(random.choice(_VALUES))
    if number & 7 != 2:
        return field[:start] + random.randbytes(len(field) - start)
    size = read_varint(field, start)
    assert size is not None
    content = field[size[1] :]
    if random.random() < 0.8 and fields(content):
        content = protobuf(random, content, random.choice([content, *fields(other)]))
    else:
        content = _bytes(random, content)
    return field[:start] + varint(len(content)) + content


_VALUES = [0, 1, 2, 3, 7, 9, 10, 14, 19, 23, 24, 29, 31, 64, 255, 256, 1000, 65536, 2**31 - 1,
           2**31, 2**32, 2**33, 2**62, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip


def _bytes(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content) + 1)
    action = random.randrange(4)
    if action == 0:
        return content[:place]
    if action == 1:
        return content + content[:place]
    if action == 2:
        return content[:place] + random.randbytes(random.randint(1, 9)) + content[place + 1 :]
    return content[:place] + varint(random.choice(_VALUES)) + content[place:]


# --- JSON -------------------------------------------------------------------------------


def json(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one token, or wrap a piece in brackets: most of what comes out is JSON still."""
    tokens = _JSON_TOKEN.findall(data)
    if random.random() < 0.15 and tokens:
        start = random.randrange(len(tokens))
        end = random.randrange(start, len(tokens)) + 1
        depth = random.choice((1, 1, 2, 7, 9, 65)) if random.random() < 0.3 else 1
        return b"".join(
            [*tokens[:start], b"[" * depth, *tokens[start:end], b"]" * depth, *tokens[end:]]
        )
    return b"".join(
        on_pieces(random, tokens, _JSON_TOKEN.findall(other), lambda token: _token(random, token))
    )


def _token(random: Random, token: bytes) -> bytes:
    if token[:1] == b'"':
        return random.choice(_STRINGS)
    if token[:1].isdigit() or token[:1] == b"-":
        return random.choice([*_JSON_NUMBERS, _digits(random)])
    return random.choice([b"true", b"false", b"null", b"[", b"]", b"{", b"}", b",", b":", b"[]"])


def _digits(random: Random) -> bytes:
    """A number of any length in any of its forms."""
    whole = str(random.randrange(10 ** random.randint(0, 22)))
    fraction = f".{random.randrange(10**30):030d}"[: random.randint(2, 24)]
    exponent = f"e{random.randint(-330, 330)}"
    form = random.choice((whole, whole + fraction, whole + exponent, whole + fraction + exponent))
    return (random.choice(("", "-")) + form).encode()


_STRINGS = [
    b'""', b'"a"', b'"x"', b'"b64"', b'"instances"', b'"inputs"', b'"signature_name"',
    b'"examples"', b'"context"', b'"serving_default"', b'"\\u0000"', b'"\\ud800"',
    b'"\\ud83d\\ude00"', b'"\\uDC00"', b'"\xff\xfe"', b'"\xc3\xa4"', b'"AAECAw=="', b'"AAEC"',
    b'"A"', b'"!"', b'"' + b"a" * 300 + b'"', b'"a\\"b"', b'"\\n\\t\\\\"', b'"a\0b"',
]  # fmt: skip


# --- text format ------------------------------------------------------------------------

_TEXT_TOKEN = re.compile(
    rb"""\s+|\#[^\n]*|[A-Za-z_]\w*|[0-9][\w.+-]*|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|.""",
    re.S,
)


def text(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one token of a text-format file, or put what is in braces into more of them."""
    tokens = _TEXT_TOKEN.findall(data)
    openings = [place for place, token in enumerate(tokens) if token in (b"{", b"<")]
    if random.random() < 0.15 and openings:
        end = random.choice(openings)
        start = random.randrange(end + 1)
        depth = random.choice((1, 2, 10, 100, 1000))
        tail = (b"}" if tokens[end] == b"{" else b">") * depth
        cut = random.randrange(end, len(tokens)) + 1
        return b"".join(
            [*tokens[:start], b"".join(tokens[start : end + 1]) * depth, *tokens[start:cut], tail,
             *tokens[cut:]]
        )  # fmt: skip
    return b"".join(
        on_pieces(random, tokens, _TEXT_TOKEN.findall(other), lambda token: _word(random, token))
    )


def _word(random: Random, token: bytes) -> bytes:
    if token[:1] in (b'"', b"'"):
        return random.choice(
            [token * 2, b'"\\377"', b'"\\x"', b'"\\ud800"', b"'\xff'", b'"', b"'\n'"]
        )
    if token[:1].isdigit():
        return random.choice([*_JSON_NUMBERS, b"0x7F", b"017", b"1f", b"-1", b"true", b"inf"])
    return _bytes(random, token)


# --- HTTP/2 -----------------------------------------------------------------------------

_PREFACE_BYTES = 24
_FRAME_HEADER_BYTES = 9


def frames(data: bytes) -> list[bytes]:
    found = []
    start = 0
    while start + _FRAME_HEADER_BYTES <= len(data):
        end = start + _FRAME_HEADER_BYTES + int.from_bytes(data[start : start + 3], "big")
        found.append(data[start:end])
        start = end
    return found


def http2(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one frame of a conversation; the preface stays."""
    changed = on_pieces(
        random,
        frames(data[_PREFACE_BYTES:]),
        frames(other[_PREFACE_BYTES:]),
        lambda frame: _frame(random, frame),
    )
    return data[:_PREFACE_BYTES] + b"".join(changed)


def _frame(random: Random, frame: bytes) -> bytes:
    kind, flags = frame[3], frame[4]
    stream = int.from_bytes(frame[5:9], "big")
    payload = frame[_FRAME_HEADER_BYTES:]
    action = random.randrange(5)
    if action == 0:
        kind = random.randrange(12)
    elif action == 1:
        flags ^= random.choice((1, 4, 8, 0x20))
    elif action == 2:
        stream = random.choice((0, 1, 2, 3, 5, 7, stream + 2, 2**31 - 1))
    else:
        payload = _bytes(random, payload)
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + (stream & 0xFFFF_FFFF).to_bytes(4, "big") + payload


# --- TFRecord ---------------------------------------------------------------------------


def record(data: bytes, length: int | None = None) -> bytes:
    """One record with right checksums; `length` if it is to lie about its length."""
    head = (len(data) if length is None else length).to_bytes(8, "little")
    return head + _checksum(head) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    checksum: int = google_crc32c.value(data)
    return (((checksum >> 15 | checksum << 17) + _MASK) & 0xFFFFFFFF).to_bytes(4, "little")


def records(data: bytes) -> list[bytes]:
    found = []
    start = 0
    while start + 16 <= len(data):
        size = int.from_bytes(data[start : start + 8], "little")
        found.append(data[start + 12 : start + 12 + size])
        start += 16 + size
    return found


def tf_record(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one record; the checksums are right, the length now and then is not."""
    changed = on_pieces(
        random, records(data), records(other), lambda each: protobuf(random, each, other)
    )
    out = [record(each) for each in changed]
    if random.random() < 0.1:
        out.append(record(b"x", random.choice(_VALUES)))
    return b"".join(out)
