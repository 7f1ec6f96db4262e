"""Reading a FlexBuffer that holds a map of strings, never beyond its bytes.

Source: https://flatbuffers.dev/internals/#flexbuffers
"""

_KEY, _STRING, _MAP, _BLOB = 4, 5, 9, 25
_INTEGERS = (1, 2)
"""Signed and unsigned, both written in place."""

Value = bytes | int


def map_of(data: bytes) -> dict[str, Value]:
    """The strings, as bytes, and integers of a map; empty where the data holds something else.

    Other kinds of values are left out: nothing that we read has them.

    Raises:
        ValueError: the bytes are no FlexBuffer.
    """
    if len(data) < 3:
        raise ValueError(f"a FlexBuffer of {len(data)} bytes")
    width, kind = data[-1], data[-2]
    if kind >> 2 != _MAP:
        return {}
    root = len(data) - 2 - width
    return _map_at(data, root - _unsigned(data, root, width), 1 << (kind & 3))


def _map_at(data: bytes, start: int, width: int) -> dict[str, Value]:
    count = _unsigned(data, start - width, width)
    if count * width > len(data) - start:
        raise ValueError(f"a map of {count} values that is longer than its buffer")
    keys = start - 3 * width
    keys -= _unsigned(data, keys, width)
    key_width = _unsigned(data, start - 2 * width, width)
    kinds = start + count * width
    values = {}
    for i in range(count):
        key_at = keys + i * key_width
        key = _key(data, key_at - _unsigned(data, key_at, key_width))
        value = _value(data, start + i * width, width, _unsigned(data, kinds + i, 1))
        if value is not None:
            values[key] = value
    return values


def _value(data: bytes, position: int, width: int, kind: int) -> Value | None:
    if kind >> 2 in _INTEGERS:
        return _unsigned(data, position, width)
    if kind >> 2 not in (_STRING, _BLOB):
        return None
    start = position - _unsigned(data, position, width)
    size_width = 1 << (kind & 3)
    size = _unsigned(data, start - size_width, size_width)
    if size > len(data) - start:
        raise ValueError(f"a string of {size} bytes that is longer than its buffer")
    return data[start : start + size]


def _key(data: bytes, start: int) -> str:
    end = data.find(b"\0", start) if 0 <= start < len(data) else -1
    if end < 0:
        raise ValueError(f"a key at byte {start} of {len(data)} without an end")
    return data[start:end].decode("utf-8", "replace")


def _unsigned(data: bytes, position: int, width: int) -> int:
    if width not in (1, 2, 4, 8) or not 0 <= position <= len(data) - width:
        raise ValueError(f"{width} bytes at byte {position} of {len(data)}")
    return int.from_bytes(data[position : position + width], "little")
