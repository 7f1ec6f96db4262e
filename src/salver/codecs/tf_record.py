"""TFRecord files, uncompressed: a length and some bytes, each with its checksum.

Source: tensorflow/core/lib/io/record_reader.cc, whose words the errors have.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from salver.errors import DataLoss

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_FOOTER = struct.Struct("<I")
_MASK = 0xA282EAD8
_PIECE_BYTES = 1 << 20
_TOO_LARGE = 2**64 - 1 - _FOOTER.size


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """The records of a file, one by one.

    Raises:
        DataLoss: the file is cut off or damaged, or no TFRecord file at all.
    """
    offset = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise DataLoss(f"truncated record at {offset}")
        length, checksum = _HEADER.unpack(header)
        if _masked_checksum(header[:8]) != checksum:
            doubt = "" if offset else " (Is this even a TFRecord file?)"
            raise DataLoss(f"corrupted record at {offset}{doubt}")
        if length >= _TOO_LARGE:
            raise DataLoss("record size too large")
        data, footer = _read(file, length), file.read(_FOOTER.size)
        if len(data) < length or len(footer) < _FOOTER.size:
            raise DataLoss(
                f"truncated record at {offset}' failed with Read less bytes than requested"
            )
        if _masked_checksum(data) != _FOOTER.unpack(footer)[0]:
            raise DataLoss(f"corrupted record at {offset + _HEADER.size}")
        yield data
        offset += _HEADER.size + length + _FOOTER.size


def record(data: bytes) -> bytes:
    """The bytes of one record of a file."""
    length = _LENGTH.pack(len(data))
    header, footer = _masked_checksum(length), _masked_checksum(data)
    return b"".join((length, _FOOTER.pack(header), data, _FOOTER.pack(footer)))


def _read(file: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer at the end of the file; what a length promises takes no memory."""
    pieces = []
    while size and (piece := file.read(min(size, _PIECE_BYTES))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _masked_checksum(data: bytes) -> int:
    # Masked, because a checksum of data that hold their own checksum says little.
    checksum: int = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + _MASK) & 0xFFFFFFFF
