from contextlib import suppress

import pytest
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st

from salver.backends.flexbuffer_wire import map_of

KEYS = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(st.binary(max_size=300), st.integers(0, 2**63 - 1))


def encoded(values: dict[str, bytes | int]) -> bytes:
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in values.items():
            builder.Key(key.encode())
            builder.Blob(value) if isinstance(value, bytes) else builder.UInt(value)
    return bytes(builder.Finish())


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_maps_come_back_as_they_were_written(values: dict[str, bytes | int]) -> None:
    assert map_of(encoded(values)) == values


def test_large_strings_and_texts_are_read_too() -> None:
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Key("text")
        builder.String("ä" * 40_000)
        builder.Key("part")
        builder.VectorFromElements([1, 2])

    assert map_of(bytes(builder.Finish())) == {"text": ("ä" * 40_000).encode()}


@pytest.mark.parametrize("write", [lambda b: b.Int(7), lambda b: b.String("x")])
def test_what_is_no_map_is_empty(write: object) -> None:
    builder = flexbuffers.Builder()
    assert callable(write)
    write(builder)

    assert map_of(bytes(builder.Finish())) == {}


@given(st.binary(max_size=60))
def test_any_bytes_are_a_map_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        map_of(data)


@given(st.data())
def test_a_damaged_map_is_a_map_or_a_value_error(data: st.DataObject) -> None:
    whole = bytearray(encoded({"one": b"abc" * 100, "two": 7}))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        map_of(bytes(whole))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_less_than_three_bytes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes"):
        map_of(bytes(size))
