"""gzip over HTTP: bodies of requests, and of answers where the operator wants it."""

import zlib

_GZIP_WINDOW_BITS = 31
_MAX_INFLATED_BYTES = 100 * 1024 * 1024
# The quickest level: on a loopback or in a cluster the processor is the scarce thing.
_LEVEL = 1


def inflated(body: bytes, content_encoding: bytes) -> bytes:
    """The body as it was before compression.

    As in TensorFlow Serving, a body that is damaged, or larger than 100 MiB unpacked,
    counts as empty, and encodings other than gzip as none.
    """
    if b"gzip" not in content_encoding:
        return body
    inflater = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        plain = inflater.decompress(body, _MAX_INFLATED_BYTES)
    except zlib.error:
        return b""
    is_whole = inflater.eof and not inflater.unused_data and not inflater.unconsumed_tail
    return plain if is_whole else b""


def gzipped(body: bytes) -> bytes:
    """The body as one gzip member."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return deflater.compress(body) + deflater.flush()
