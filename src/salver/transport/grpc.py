"""gRPC over HTTP/2: framing, deadlines, compression and status, without sockets.

Source: the gRPC protocol over HTTP/2 (doc/PROTOCOL-HTTP2.md). Everything here is a
function of its arguments; `http2.py` moves the bytes.
"""

import re
from functools import lru_cache
from struct import Struct

from salver.errors import (
    Code,
    DeadlineExceeded,
    InternalError,
    ServingError,
    Unavailable,
    Unimplemented,
)
from salver.transport.compression import DEFLATE_WINDOW_BITS, GZIP_WINDOW_BITS

Headers = tuple[tuple[bytes, bytes], ...]

PREFIX_BYTES = 5
"""Before each message: one byte that says whether it is compressed, four bytes of length."""
_PREFIX = Struct(">BI")

RESPONSE_HEADERS: Headers = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b"identity, deflate, gzip"),
)
OK_TRAILERS: Headers = ((b"grpc-status", b"0"),)

_TURNS = 3.0
"""What was read late leaves late, too: all that has come by now is handled before its answer is
sent, which takes as long, or longer where ever more comes."""
_MAX_MESSAGE_CHARACTERS = 1024
_TRUNCATED = b"...TRUNCATED"
_SHORT_CHARACTERS = 256
_NANOSECONDS = {
    b"n": 1,
    b"u": 10**3,
    b"m": 10**6,
    b"S": 10**9,
    b"M": 60 * 10**9,
    b"H": 3600 * 10**9,
}
_TO_ENCODE = re.compile(rb"[^ -$&-~]")
_WINDOW_BITS = {b"gzip": GZIP_WINDOW_BITS, b"deflate": DEFLATE_WINDOW_BITS}


def is_grpc(content_type: bytes) -> bool:
    """Whether a request's content type is gRPC's, in any of its forms."""
    return content_type.startswith(b"application/grpc") and (
        len(content_type) == 16 or content_type[16:17] in b"+;"
    )


@lru_cache(maxsize=4096)
def timeout_s(header: bytes) -> float | None:
    """The value of `grpc-timeout` in seconds; None where it is absent.

    Raises:
        InternalError: it is not one to eight digits and a unit.
    """
    if not header:
        return None
    digits, unit = header[:-1], header[-1:]
    if not digits.isdigit() or len(digits) > 8 or unit not in _NANOSECONDS:
        raise InternalError(f"Bad grpc-timeout: {header.decode('latin-1')}")
    return int(digits) * _NANOSECONDS[unit] / 1e9


def known_timeout_s(header: bytes) -> float | None:
    """As `timeout_s`; None, too, where it is none."""
    try:
        return timeout_s(header)
    except InternalError:
        return None


def refusal(limit_s: float, unread_s: float) -> Headers | None:
    """The answer to a call that has waited so long to be read that it would be answered too late.

    `limit_s`: its client waits so long. None: there is time yet.
    """
    if unread_s * _TURNS < limit_s:
        return None
    return _TOO_LATE if unread_s >= limit_s else _OVERLOADED


def error_headers(error: ServingError) -> Headers:
    """A whole answer that only says what went wrong (trailers only)."""
    return (RESPONSE_HEADERS[0], RESPONSE_HEADERS[1], *error_trailers(error))


def error_trailers(error: ServingError) -> Headers:
    """What went wrong, after messages that were answers.

    Messages are cut as TensorFlow Serving cuts them (grpc_status_util.cc), and
    percent-encoded as gRPC wants them.
    """
    if len(error.message) <= _SHORT_CHARACTERS:
        return _short_trailers(error.code, error.message)
    return _trailers(error.code, error.message)


def _trailers(code: Code, text: str) -> Headers:
    message = _encoded(text)
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = message[:_MAX_MESSAGE_CHARACTERS] + _TRUNCATED
    trailers = ((b"grpc-status", b"%d" % code),)
    return (*trailers, (b"grpc-message", percent_encoded(message))) if message else trailers


# Where a server is overloaded, a crowd of requests hears the same.
_short_trailers = lru_cache(maxsize=1024)(_trailers)


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Half a character, out of an error of somebody else's code.
        return text.encode("utf-8", "replace")


def percent_encoded(message: bytes) -> bytes:
    """Bytes outside of printable ASCII, and the percent sign, as `%XX`."""
    return _TO_ENCODE.sub(lambda found: b"%%%02X" % found[0][0], message)


def single_message(body: bytes | memoryview) -> tuple[memoryview, bool]:
    """The one message of a unary request, and whether it is compressed.

    Raises:
        InternalError: the body is not one whole message.
    """
    if len(body) < PREFIX_BYTES:
        raise InternalError("The request ended before its message was complete")
    flags, size = _PREFIX.unpack_from(body)
    if size != len(body) - PREFIX_BYTES:
        raise InternalError("A unary request must hold exactly one message")
    if flags > 1:
        raise InternalError(f"Invalid gRPC message flags: {flags}")
    return memoryview(body)[PREFIX_BYTES:], flags == 1


def window_bits_of(encoding: bytes) -> int:
    """The kind of compression that `grpc-encoding` names, as zlib has it.

    Raises:
        Unimplemented: it is none that was offered.
    """
    window_bits = _WINDOW_BITS.get(encoding)
    if window_bits is None:
        name = encoding.decode("latin-1") or "identity"
        raise Unimplemented(f"Compressed message with grpc-encoding {name}; try gzip or deflate")
    return window_bits


_TOO_LATE = error_headers(DeadlineExceeded("Deadline Exceeded"))
_OVERLOADED = error_headers(
    Unavailable("The server is overloaded: the deadline comes before the answer would")
)
