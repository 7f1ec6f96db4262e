"""The protocols, in the process: bytes of a whole connection, down to a model and back."""

import zlib
from collections.abc import Iterator, Sequence
from random import Random

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from tests.fuzz import seeds, structure
from tests.fuzz.border import Broken, Plan, require
from tests.fuzz.codec_borders import is_large
from tests.fuzz.site import Site

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _CONTINUATION = 0, 1, 4, 6, 9
_END_STREAM, _END_HEADERS = 1, 4
_INTERNAL = b"13"
_GOOD_EVERY = 50
# What gRPC itself answers so, before a handler sees the request.
_FAULTS_OF_FRAMING = (
    b"Bad grpc-timeout", b"The request ended before", b"A unary request must hold",
    b"Invalid gRPC message flags", b"Cannot decompress the request message",
)  # fmt: skip


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


def call_headers(path: bytes, *others: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *others,
    ]


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def conversations(calls: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Some clients: calls one after the other, in pieces, padded, cancelled; plain HTTP/2."""
    opening = PREFACE + frame(_SETTINGS, 0, 0, bytes((0, 4, 0, 0, 255, 255)))
    found = []
    for start in range(0, min(len(calls), 60), 3):
        encoder = Encoder()
        data = opening + frame(_SETTINGS, 1, 0)
        for place, (path, message) in enumerate(calls[start : start + 3]):
            stream = 2 * place + 1
            headers = call_headers(path, (b"grpc-timeout", b"5S"), (b"x-user", b"me"))
            data += frame(_HEADERS, _END_HEADERS, stream, encoder.encode(headers))
            body = framed(message)
            data += frame(_DATA, 0, stream, body[:7]) + frame(_DATA, _END_STREAM, stream, body[7:])
        found.append(data + frame(_PING, 0, 0, bytes(8)))
    encoder = Encoder()
    rest = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/v1/models/m:predict")]
    block = encoder.encode([*rest, (b":authority", b"a"), (b"content-length", b"18")])
    split = frame(_HEADERS, 0, 1, block[:5]) + frame(_CONTINUATION, _END_HEADERS, 1, block[5:])
    found.append(opening + split + frame(_DATA, _END_STREAM, 1, b'{"instances": [1]}'))
    get = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/v1/models/m")]
    get.append((b":authority", b"a"))
    padded = bytes((3,)) + encoder.encode(get) + bytes(3)
    cancelled = frame(3, 0, 1, bytes((0, 0, 0, 8))) + frame(8, 0, 0, bytes((0, 0, 1, 0)))
    found.append(
        opening
        + frame(_HEADERS, _END_STREAM | _END_HEADERS | 8, 1, padded)
        + cancelled
        + frame(7, 0, 0, bytes(8))
    )
    return found


class _Wire:
    """A border in front of two sites: one runs models on the loop, the other on threads."""

    def __init__(self) -> None:
        self._sites = [Site(inline=True), Site(inline=False)]
        self._checked = 0

    def converse(self, data: bytes) -> bytes:
        """Send it in a manner that only the bytes decide, so that a finding can be repeated."""
        choice = zlib.crc32(data)
        site = self._sites[choice % 4 == 0]
        self._checked += 1
        if self._checked % _GOOD_EVERY == 0:
            site.require_good_answer()
        piece = (1 << 20, 1 << 20, 1000, 17)[choice >> 8 & 3]
        if piece < len(data) // 200:
            piece = len(data) // 200
        return site.converse(data, piece, slow=choice >> 16 & 7 == 0)

    def close(self) -> None:
        for site in self._sites:
            site.close()


class Http1Border(_Wire):
    """Bytes of HTTP/1 clients."""

    plan = Plan(
        [*seeds.HTTP1, *(b"".join(seeds.HTTP1[i : i + 3]) for i in range(4))], seeds.HTTP1_TOKENS
    )

    def check(self, data: bytes) -> str:
        answer = self.converse(data)
        require(answer[:9] in (b"", b"HTTP/1.1 ") or data.startswith(PREFACE[:14]), repr(answer))
        require(b"HTTP/1.1 500 " not in answer, repr(answer))
        statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
        return b" ".join(statuses[:6]).decode("latin-1") + " " + _error_in(answer)


def _error_in(answer: bytes) -> str:
    start = answer.find(b'"error": "')
    return answer[start + 10 : start + 50].decode("latin-1") if start >= 0 else ""


class Http2Border(_Wire):
    """Bytes of HTTP/2 clients."""

    plan = Plan(
        conversations(seeds.calls()),
        (b"\x82\x86\x84", b"\x3f\xe1\x1f", b"\x40\x01a\x01b", PREFACE),
        structure.http2,
    )

    def check(self, data: bytes) -> str:
        outcome = []
        for headers in answered(self.converse(data)):
            if headers.get(b"grpc-status") == _INTERNAL:
                _require_fault_of_framing(headers)
            require(headers.get(b":status") != b"500", str(headers))
            outcome.append(headers.get(b":status", b"") + headers.get(b"grpc-status", b""))
            outcome.append(headers.get(b"grpc-message", b"")[:20])
        return b" ".join(outcome[:8]).decode("latin-1")


def _require_fault_of_framing(headers: dict[bytes, bytes]) -> None:
    message = headers.get(b"grpc-message", b"")
    require(not message or message.startswith(_FAULTS_OF_FRAMING), f"INTERNAL: {message!r}")


def answered(data: bytes) -> Iterator[dict[bytes, bytes]]:
    """The header blocks in what a server sent.

    Raises:
        Broken: it is no HTTP/2.
    """
    if data.startswith(b"HTTP/1.1 "):
        return
    decoder = Decoder()
    start = 0
    block = b""
    while start + 9 <= len(data):
        size, kind, flags = (
            int.from_bytes(data[start : start + 3], "big"),
            *data[start + 3 : start + 5],
        )
        payload = data[start + 9 : start + 9 + size]
        start += 9 + size
        require(kind <= _CONTINUATION, f"a frame of kind {kind}")
        if kind in (_HEADERS, _CONTINUATION):
            block += payload
            if flags & _END_HEADERS:
                try:
                    pairs = decoder.decode(block, raw=True)
                except HPACKError as error:
                    raise Broken(f"{block!r}: {error}") from error
                yield {bytes(name): bytes(value) for name, value in pairs}
                block = b""
    require(start == len(data), "half a frame")


def _changed_message(random: Random, data: bytes, other: bytes) -> bytes:
    head, _, message = data.partition(b"\n\n")
    message = structure.protobuf(random, message, other.partition(b"\n\n")[2])
    return head + b"\n\n" + message


class GrpcBorder(_Wire):
    """Calls in good frames: `path`, then lines of `name: value`, an empty one, and the message.

    Lines that begin with `!` say how the message is framed: `!flag 1`, `!raw`.
    """

    plan = Plan(
        [path + b"\n\n" + message for path, message in seeds.calls()]
        + [path + b"\ngrpc-timeout: 1S\nx: y\n\n" + message for path, message in seeds.calls()[:5]],
        (b"grpc-timeout: 0n\n", b"grpc-timeout: 99999999H\n", b"grpc-timeout: 1\n", b"!flag 1\n",
         b"grpc-encoding: gzip\n!flag 1\n", b"grpc-encoding: x\n!flag 1\n", b"!raw\n",
         b"content-type: application/grpc+proto\n", b"content-type: text/plain\n"),
        _changed_message,
    )  # fmt: skip

    def check(self, data: bytes) -> str:
        head, _, message = data.partition(b"\n\n")
        path, *lines = head.split(b"\n")
        if self.is_large(data):
            return "large"
        outcome = ""
        for headers in answered(self.converse(one_call(path, lines, message))):
            status = headers.get(b"grpc-status", b"")
            if status == _INTERNAL:
                _require_fault_of_framing(headers)
            outcome += f"{status!r} {headers.get(b'grpc-message', b'')[:40]!r}"
        return outcome

    @staticmethod
    def is_large(data: bytes) -> bool:
        """See the function of this name."""
        path, _, message = data.partition(b"\n\n")
        return b"/Predict" in path and is_large(message)


def one_call(path: bytes, lines: Sequence[bytes], message: bytes) -> bytes:
    headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path or b"/")]
    headers.append((b":authority", b"a"))
    others = [line.partition(b": ")[::2] for line in lines if not line.startswith(b"!")]
    names = [name for name, _ in others]
    if b"content-type" not in names:
        headers.append((b"content-type", b"application/grpc"))
    headers += [(name.lower(), value) for name, value in others if name]
    body = message if b"!raw" in lines else framed(message, b"!flag 1" in lines)
    block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in headers)
    return b"".join(
        [
            PREFACE,
            frame(_SETTINGS, 0, 0),
            frame(_HEADERS, 0, 1, block[:16_000]),
            *_pieces(_CONTINUATION, block[16_000:]),
            frame(_CONTINUATION, _END_HEADERS, 1),
            *_pieces(_DATA, body),
            frame(_DATA, _END_STREAM, 1),
        ]
    )


def _pieces(kind: int, payload: bytes) -> list[bytes]:
    return [
        frame(kind, 0, 1, payload[start : start + 16_000])
        for start in range(0, len(payload), 16_000)
    ]


def _literal(text: bytes) -> bytes:
    """A string as HPACK has it, not compressed."""
    if len(text) < 0x7F:
        return bytes((len(text),)) + text
    return b"\x7f" + structure.varint(len(text) - 0x7F) + text
