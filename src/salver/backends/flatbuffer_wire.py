"""Reading tables of a FlatBuffer without its schema, never beyond its bytes.

A TFLite file carries the whole model, weights included; its inputs, outputs and
signatures are found here without copying the rest. Nothing that a file says is
trusted. Source: https://flatbuffers.dev/internals/
"""

import struct

import numpy as np

_INTEGER_FORMATS = {"int8": "<b", "uint8": "<B", "int32": "<i", "uint32": "<I"}


class Table:
    """One table: fields by their number in the schema, which the writer may have left out.

    Raises:
        ValueError: from every method, for bytes that are no such table.
    """

    __slots__ = ("_data", "_position", "_vtable", "_vtable_size")

    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - _read(data, "<i", position)
        self._vtable_size = _read(data, "<H", self._vtable)

    def integer(self, number: int, kind: str, default: int = 0) -> int:
        """A number; `kind` is its type in the schema."""
        position = self.position(number)
        return _read(self._data, _INTEGER_FORMATS[kind], position) if position else default

    def table(self, number: int, index: int) -> "Table":
        """One element of a vector of tables."""
        start, count = self.vector(number, 4)
        if not 0 <= index < count:
            raise ValueError(f"element {index} of {count}")
        return Table(self._data, _target(self._data, start + 4 * index))

    def field_table(self, number: int) -> "Table":
        """A table that is no element of a vector; the field must be there."""
        return Table(self._data, _target(self._data, self.position(number)))

    def count(self, number: int) -> int:
        """How many elements a vector of tables has; none if it is not there."""
        return self.vector(number, 4)[1]

    def integers(self, number: int) -> tuple[int, ...]:
        """A vector of int32; empty if it is not there."""
        return tuple(self.array(number, np.dtype("<i4")).tolist())

    def array(self, number: int, element: np.dtype) -> np.ndarray:
        """A vector of numbers; empty if it is not there."""
        start, count = self.vector(number, element.itemsize)
        return np.frombuffer(self._data, element, count, start)

    def content(self, number: int) -> memoryview:
        """A vector of bytes, or a string; empty if it is not there."""
        start, count = self.vector(number, 1)
        return self._data[start : start + count]

    def text(self, number: int) -> str:
        """A string, whatever its bytes; empty if it is not there."""
        return bytes(self.content(number)).decode("utf-8", "replace")

    def vector(self, number: int, size: int) -> tuple[int, int]:
        """Where the elements of `size` bytes begin, and how many there are."""
        position = self.position(number)
        if not position:
            return 0, 0
        start = _target(self._data, position)
        count = _read(self._data, "<I", start)
        if count * size > len(self._data) - start - 4:
            raise ValueError(f"a vector of {count} elements that is longer than the file")
        return start + 4, count

    def position(self, number: int) -> int:
        """Where the field itself lies in the data; 0 if it was left out."""
        place = 4 + 2 * number
        if place + 2 > self._vtable_size:
            return 0
        offset = _read(self._data, "<H", self._vtable + place)
        return self._position + offset if offset else 0


def root_table(data: memoryview, identifier: bytes) -> Table:
    """The table that a whole FlatBuffer holds.

    Raises:
        ValueError: it is none, or not of the kind that `identifier`, four bytes, stands for.
    """
    if data[4:8] != identifier:
        raise ValueError(f"the bytes 4 to 8 are not {identifier.decode()}")
    return Table(data, _target(data, 0))


def _target(data: memoryview, position: int) -> int:
    return position + _read(data, "<I", position)


def _read(data: memoryview, layout: str, position: int) -> int:
    if not 0 <= position <= len(data) - struct.calcsize(layout):
        raise ValueError(f"an offset to byte {position} of {len(data)}")
    value: int = struct.unpack_from(layout, data, position)[0]
    return value
