"""Universal Binary JSON, as XGBoost writes it: https://ubjson.org, draft 12.

Arrays of numbers with one type stay NumPy arrays, and cost no copy.
"""

import struct
from typing import Any

import numpy as np

_NUMBERS: dict[bytes, np.dtype] = {
    b"i": np.dtype(">i1"),
    b"U": np.dtype(">u1"),
    b"I": np.dtype(">i2"),
    b"l": np.dtype(">i4"),
    b"L": np.dtype(">i8"),
    b"d": np.dtype(">f4"),
    b"D": np.dtype(">f8"),
}
_WORDS = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 64


def parse_ubjson(data: bytes) -> Any:
    """The document as Python has it, typed arrays as NumPy arrays in the order of the file.

    Raises:
        ValueError: it is none, or an object has a key twice.
    """
    return _Reader(data).document()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def document(self) -> Any:
        value = self._value(self._take(1), 0)
        if self._position != len(self._data):
            raise ValueError(f"it ends before byte {self._position}, and goes on")
        return value

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if size < 0 or end > len(self._data):
            raise ValueError("it is cut short")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _peek(self) -> bytes:
        return self._data[self._position : self._position + 1]

    def _value(self, marker: bytes, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        if marker in _NUMBERS:
            return self._number(marker)
        if marker == b"S":
            return self._text()
        if marker == b"[":
            return self._array(depth)
        if marker == b"{":
            return self._object(depth)
        if marker in _WORDS:
            return _WORDS[marker]
        raise ValueError(f"byte {self._position - 1} is no mark of a value")

    def _number(self, marker: bytes) -> Any:
        numpy_type = _NUMBERS[marker]
        code = {"i": "bhiq", "u": "B", "f": "fd"}[numpy_type.kind]
        size = numpy_type.itemsize
        letter = next(each for each in code if struct.calcsize(f">{each}") == size)
        return struct.unpack(f">{letter}", self._take(size))[0]

    def _length(self) -> int:
        marker = self._take(1)
        if marker not in _NUMBERS or marker in b"dD":
            raise ValueError(f"byte {self._position - 1} is no mark of a length")
        length: int = self._number(marker)
        if length < 0 or length > len(self._data):
            raise ValueError(f"{length} things do not fit into it")
        return length

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _array(self, depth: int) -> Any:
        if self._peek() == b"$":
            self._take(1)
            marker = self._take(1)
            if self._take(1) != b"#" or marker not in _NUMBERS:
                raise ValueError("an array has no type of numbers")
            count = self._length()
            return np.frombuffer(self._take(count * _NUMBERS[marker].itemsize), _NUMBERS[marker])
        if self._peek() == b"#":
            self._take(1)
            return [self._value(self._take(1), depth + 1) for _ in range(self._length())]
        values = []
        while (marker := self._take(1)) != b"]":
            values.append(self._value(marker, depth + 1))
        return values

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._peek() != b"}":
            key = self._text()
            if key in found:
                raise ValueError(f"it has {key!r} twice")
            found[key] = self._value(self._take(1), depth + 1)
        self._take(1)
        return found
