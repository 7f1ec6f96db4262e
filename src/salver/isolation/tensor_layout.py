"""How an array lies in a message or in shared memory: a few bytes that describe it, and its own.

Numbers lie as NumPy has them, in C order. Strings lie behind their lengths. Nothing of
it is a pickle: what a broken worker sends is garbage at worst, never code.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from struct import Struct

import numpy as np

from salver.core.data_type import DataType, data_type_of, numpy_type_of
from salver.errors import InternalError

ALIGNMENT = 64
"""Arrays begin at multiples of it: what vector instructions like."""

_SPEC = Struct("<BBIQ")
"""Form, dimensions, bytes of an element (of fixed-width strings), bytes in all."""
_BYTES, _TEXT, _MIXED, _FIXED_BYTES, _FIXED_TEXT = 200, 201, 202, 203, 204
"""Forms that strings have; those of numbers are the numbers of `DataType`."""
_FIXED_KINDS = {"S": _FIXED_BYTES, "U": _FIXED_TEXT}
_MOST_EMPTY_STRINGS = 2**31
_NUMBERS = {
    int(data_type): numpy_type
    for data_type in DataType
    if (numpy_type := numpy_type_of(data_type)) is not None and not numpy_type.hasobject
}


@dataclass(frozen=True, slots=True)
class Part:
    """One array, ready to be written."""

    spec: bytes
    content: np.ndarray
    """Its elements; of strings the bytes that stand for them. Any strides."""
    size: int
    """Bytes of the content."""


def part_of(array: np.ndarray) -> Part:
    """Describe an array.

    Raises:
        InternalError: it holds neither numbers nor strings.
    """
    kind = array.dtype.kind
    if kind == "O":
        form, content = _encoded_strings(array)
        width = 0
    elif kind in _FIXED_KINDS:
        form, content, width = _FIXED_KINDS[kind], array, array.dtype.itemsize
    else:
        form, content, width = int(data_type_of(array.dtype)), array, 0
        if form == DataType.INVALID:
            raise InternalError(f"An array of {array.dtype} cannot go to or from another process")
    if not content.dtype.isnative:
        content = content.astype(content.dtype.newbyteorder("="))
    size = content.nbytes
    return Part(_spec(form, width, size, array.shape), content, size)


def _spec(form: int, width: int, size: int, shape: tuple[int, ...]) -> bytes:
    head = _SPEC.pack(form, len(shape), width, size)
    return head + np.array(shape, "<i8").tobytes() if shape else head


def _encoded_strings(array: np.ndarray) -> tuple[int, np.ndarray]:
    elements = array.ravel().tolist()
    kinds = set(map(type, elements))
    if kinds <= {bytes}:
        form, encoded, flags = _BYTES, elements, b""
    elif kinds == {str}:
        form, encoded, flags = _TEXT, [_encoded(element) for element in elements], b""
    elif kinds == {bytes, str}:
        form = _MIXED
        encoded = [e if isinstance(e, bytes) else _encoded(e) for e in elements]
        flags = bytes(isinstance(element, str) for element in elements)
    else:
        (other, *_) = sorted(kind.__name__ for kind in kinds - {bytes, str})
        raise InternalError(
            f"An array of Python objects of type {other} cannot go to or from another process: "
            "only bytes and str can"
        )
    lengths = np.fromiter(map(len, encoded), "<i8", len(encoded)).tobytes()
    return form, np.frombuffer(b"".join((lengths, flags, *encoded)), np.uint8)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def aligned(size: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def room_for(parts: Sequence[Part]) -> int:
    """Bytes that the contents take, each from an aligned place on."""
    return sum(aligned(part.size) for part in parts)


def write(parts: Sequence[Part], memory: np.ndarray) -> None:
    """Copy the contents into bytes that have room for them."""
    start = 0
    for part in parts:
        if part.size:
            place = memory[start : start + part.size]
            # Whatever the strides are, and for any element type, it is one copy.
            place.view(part.content.dtype).reshape(part.content.shape)[...] = part.content
        start += aligned(part.size)


def read(specs: memoryview, count: int, memory: np.ndarray) -> list[np.ndarray]:
    """So many arrays; numbers are views of the memory, strings are objects of their own.

    Raises:
        ValueError: this is no such description, or the memory does not hold what it describes.
    """
    arrays, offset, start = [], 0, 0
    for _ in range(count):
        try:
            form, dimensions, width, size = _SPEC.unpack_from(specs, offset)
        except struct.error as error:
            raise ValueError("a description of an array is cut short") from error
        offset += _SPEC.size
        dims = specs[offset : offset + 8 * dimensions]
        offset += 8 * dimensions
        content = memory[start : start + size]
        _require(len(dims) == 8 * dimensions and len(content) == size, "an array is cut short")
        arrays.append(_array(form, width, tuple(np.frombuffer(dims, "<i8").tolist()), content))
        start += aligned(size)
    return arrays


def _array(form: int, width: int, shape: tuple[int, ...], content: np.ndarray) -> np.ndarray:
    if form in (_BYTES, _TEXT, _MIXED):
        return _decoded_strings(form, shape, content.tobytes())
    if form in (_FIXED_BYTES, _FIXED_TEXT):
        _require(width < 2**31, "a string is too wide")
        characters = width if form == _FIXED_BYTES else width // 4
        dtype = np.dtype(f"{'S' if form == _FIXED_BYTES else 'U'}{characters}")
        if not characters:
            # Empty strings have no bytes to look at.
            _require(prod(shape) <= _MOST_EMPTY_STRINGS, "an array has too many empty strings")
            return np.zeros(shape, dtype)
    elif form in _NUMBERS:
        dtype = _NUMBERS[form]
    else:
        raise ValueError(f"an array has the unknown form {form}")
    return content.view(dtype).reshape(shape)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _decoded_strings(form: int, shape: tuple[int, ...], content: bytes) -> np.ndarray:
    _require(min(shape, default=0) >= 0, "an array has a negative size")
    count = prod(shape)
    # Before there is memory for as many.
    _require(8 * count <= len(content), "lengths of strings are cut short")
    array = np.empty(shape, object)
    lengths = np.frombuffer(content, "<i8", count).tolist()
    start = 8 * count
    flags = content[start : start + count] if form == _MIXED else bytes([form == _TEXT]) * count
    start += count if form == _MIXED else 0
    elements: list[bytes | str] = []
    for length, is_text in zip(lengths, flags, strict=True):
        element = content[start : start + length]
        _require(length >= 0 and len(element) == length, "a string is cut short")
        elements.append(element.decode("utf-8", "surrogatepass") if is_text else element)
        start += length
    # Element by element, lest NumPy look into them.
    flat = array.reshape(-1)
    flat[:] = elements
    return array
