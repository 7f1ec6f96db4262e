"""gzip and deflate: bodies of requests, and of answers where the operator wants it.

A small body may unpack to a large one. What takes long is therefore done on a thread,
and nothing is unpacked beyond a limit.
"""

import zlib
from collections.abc import Callable
from functools import partial

from salver.transport.exchange import Cancel
from salver.transport.off_loop import off_loop

GZIP_WINDOW_BITS = 31
DEFLATE_WINDOW_BITS = 15
MAX_INFLATED_BYTES = 100 * 1024 * 1024
"""The limit of TensorFlow Serving for REST; ours for gRPC, too."""

# Up to these sizes unpacking takes a millisecond or two, which the loop can bear.
_INLINE_BYTES = 256 * 1024
_INLINE_INFLATED_BYTES = 1024 * 1024
# The quickest level: on a loopback or in a cluster the processor is the scarce thing.
_LEVEL = 1


class Damaged(Exception):
    """The data cannot be unpacked; the text says why."""


class TooLarge(Exception):
    """The data are larger than the limit once they are unpacked."""


Inflated = Callable[[bytes | Damaged | TooLarge], None]


def inflate(
    data: bytes | bytearray | memoryview, window_bits: int, max_bytes: int, on_inflated: Inflated
) -> Cancel | None:
    """Unpack `data`, now or on a thread, and call `on_inflated` once with the outcome.

    Returns what to call if the result is no longer wanted; None if it is there already.
    """
    limit = min(max_bytes, _INLINE_INFLATED_BYTES)
    if len(data) <= _INLINE_BYTES:
        outcome = _inflated(data, window_bits, limit)
        if limit == max_bytes or not isinstance(outcome, TooLarge):
            on_inflated(outcome)
            return None
    work = partial(_inflated, data, window_bits, max_bytes)
    # It raises nothing; what it meets with is its result.
    return off_loop(work, on_inflated, lambda error: on_inflated(Damaged(str(error))))


def _inflated(
    data: bytes | bytearray | memoryview, window_bits: int, max_bytes: int
) -> bytes | Damaged | TooLarge:
    inflater = zlib.decompressobj(window_bits)
    try:
        plain = inflater.decompress(data, max_bytes)
    except zlib.error as error:
        return Damaged(str(error))
    if inflater.unconsumed_tail:
        return TooLarge()
    if not inflater.eof:
        return Damaged("it is cut off")
    return Damaged("something follows it") if inflater.unused_data else plain


def gzipped(body: bytes) -> bytes:
    """The body as one gzip member."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
    return deflater.compress(body) + deflater.flush()


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether a client that sent this `Accept-Encoding` wants gzip."""
    for choice in accept_encoding.lower().split(b","):
        coding, _, quality = choice.partition(b";")
        if coding.strip() in (b"gzip", b"x-gzip"):
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False
