"""Reading one serialized protocol buffer message without its descriptor.

A MetaGraphDef carries the whole graph, constants included; its signatures are
found here without parsing or copying the rest. What we do not know stays as it
is. Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

import numpy as np

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


class Message:
    """The fields of one message by number, in the order in which they came.

    Raises:
        ValueError: the bytes are no message.
    """

    def __init__(self, data: memoryview) -> None:
        self._integers: dict[int, list[int]] = {}
        self._contents: dict[int, list[memoryview]] = {}
        for number, value in _fields(data):
            if isinstance(value, int):
                self._integers.setdefault(number, []).append(value)
            else:
                self._contents.setdefault(number, []).append(value)

    def has(self, number: int) -> bool:
        """Whether the field is there at all."""
        return number in self._integers or number in self._contents

    def integer(self, number: int) -> int:
        """A singular integer, as signed 64 bits; 0 if absent."""
        value = self._integers.get(number, [0])[-1]
        return value - (1 << 64) if value >> 63 else value

    def text(self, number: int) -> str:
        """A singular string; empty if absent."""
        return bytes(self.content(number)).decode()

    def content(self, number: int) -> memoryview:
        """A singular bytes field, or the body of a singular message; empty if absent."""
        return self._contents.get(number, [memoryview(b"")])[-1]

    def message(self, number: int) -> "Message":
        """A singular message; an empty one if absent. If it comes twice, readers merge both.

        Raises:
            ValueError: the bytes are no message.
        """
        contents = self._contents.get(number, [])
        if len(contents) > 1:
            return Message(memoryview(b"".join(contents)))
        return Message(self.content(number))

    def contents(self, number: int) -> list[memoryview]:
        """Every value of a repeated field of strings, bytes or messages."""
        return self._contents.get(number, [])

    def fixed(self, number: int, element: np.dtype) -> np.ndarray:
        """A repeated field of fixed 32- or 64-bit numbers, packed or not."""
        return np.frombuffer(b"".join(self.contents(number)), element)

    def integers(self, number: int) -> np.ndarray:
        """A repeated field of integers, packed or not, as int64."""
        values = list(self._integers.get(number, []))
        for packed in self.contents(number):
            offset = 0
            while offset < len(packed):
                value, offset = read_varint(packed, offset)
                values.append(value)
        return np.array(values, np.uint64).view(np.int64)


def read_varint(data: memoryview, offset: int) -> tuple[int, int]:
    """The integer of 64 bits at `offset`, and the offset after it.

    Raises:
        ValueError: it has no end.
    """
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            break
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, offset
    raise ValueError("an integer without an end")


def encoded_varint(value: int) -> bytes:
    """The bytes of an integer that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encoded_integer(number: int, value: int) -> bytes:
    """A whole field with an integer that is not negative."""
    return encoded_varint(number << 3 | _VARINT) + encoded_varint(value)


def encoded_content(number: int, content: bytes | memoryview) -> bytes:
    """A whole field with a string, bytes or a message."""
    return encoded_varint(number << 3 | _LENGTH_DELIMITED) + encoded_varint(len(content)) + content


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    offset = 0
    while offset < len(data):
        tag, offset = read_varint(data, offset)
        wire_type = tag & 7
        if wire_type == _VARINT:
            value, offset = read_varint(data, offset)
            yield tag >> 3, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            size, offset = read_varint(data, offset)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"a field of wire type {wire_type}")
        if size > len(data) - offset:
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, data[offset : offset + size]
        offset += size
