"""Frames of HTTP/2, and gRPC's headers in them, as far as a load generator needs them."""

import struct
from typing import cast

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0x0, 0x1, 0x3, 0x4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x6, 0x7, 0x8, 0x9
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED_OR_PRIORITY = 0x28
FRAME_HEAD = struct.Struct(">BHBBI")
"""Length in two parts, type, flags, stream."""
HEAD_BYTES = FRAME_HEAD.size
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 0x3, 0x4, 0x5
HEADER_TABLE_SIZE, ENABLE_PUSH = 0x1, 0x2
LARGEST_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 2**16 - 1

UNKNOWN = 2
"""gRPC's status of an answer that is none."""


class ProtocolProblem(Exception):
    """The server did what this client does not understand, or gave up the connection."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_head(kind, flags, len(payload)) + stream.to_bytes(4) + payload


def frame_head(kind: int, flags: int, size: int) -> bytes:
    """A frame as far as its stream, which is the same for all streams."""
    return FRAME_HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, 0)[:5]


def settings(values: dict[int, int]) -> bytes:
    return b"".join(struct.pack(">HI", *item) for item in values.items())


def read_settings(payload: bytes) -> dict[int, int]:
    return dict(struct.iter_unpack(">HI", payload))


def request_headers(path: str, port: int, timeout_ms: int | None) -> list[tuple[str, str]]:
    """Those of a call; with `timeout_ms` the server knows how long the client waits."""
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", f"127.0.0.1:{port}"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    if timeout_ms is not None:
        headers.append(("grpc-timeout", f"{timeout_ms}m"))
    return headers


class HeaderBlocks:
    """The same headers for every request of a connection: the first in full, then by reference."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        encoder = Encoder()
        self._first: bytes | None = encoder.encode(headers)
        self._later = encoder.encode(headers)

    def next(self) -> bytes:
        first, self._first = self._first, None
        return first or self._later


class StatusReader:
    """Reads header blocks in the order in which they come, and remembers what repeats.

    A block that consists of references only means the same until another block changes the
    table. So nearly all blocks of a steady load are looked up, not decoded.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, int | None] = {}

    def status(self, block: bytes) -> int | None:
        """gRPC's status, None if the block has none: then an answer will follow."""
        try:
            return self._known[block]
        except KeyError:
            pass
        # Strings, though hpack declares bytes.
        headers = cast("dict[str, str]", dict(self._decoder.decode(block)))
        if min(block, default=0) < 0x80:
            self._known.clear()
            return _status_of(headers)
        return self._known.setdefault(block, _status_of(headers))


def _status_of(headers: dict[str, str]) -> int | None:
    if headers.get(":status", "200") != "200":
        return UNKNOWN
    status = headers.get("grpc-status")
    return None if status is None else int(status)
