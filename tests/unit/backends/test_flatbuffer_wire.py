from collections.abc import Callable
from contextlib import suppress

import flatbuffers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.backends.flatbuffer_wire import Table, root_table

IDENTIFIER = b"TEST"


def written(write: Callable[[flatbuffers.Builder], int]) -> memoryview:
    builder = flatbuffers.Builder(0)
    builder.Finish(write(builder), IDENTIFIER)
    return memoryview(bytes(builder.Output()))


def sample(builder: flatbuffers.Builder) -> int:
    """A table with: 0 a string, 1 an int8, 2 a vector of int32, 3 a vector of tables, 5 bytes."""
    children = []
    for number in (7, 8):
        builder.StartObject(1)
        builder.PrependInt32Slot(0, number, 0)
        children.append(builder.EndObject())
    text = builder.CreateString("ten äpfel")
    content = builder.CreateByteVector(b"\0\1\2")
    builder.StartVector(4, 3, 4)
    for value in (3, -2, 1):
        builder.PrependInt32(value)
    integers = builder.EndVector()
    builder.StartVector(4, 2, 4)
    for child in reversed(children):
        builder.PrependUOffsetTRelative(child)
    tables = builder.EndVector()
    builder.StartObject(6)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependInt8Slot(1, -5, 0)
    builder.PrependUOffsetTRelativeSlot(2, integers, 0)
    builder.PrependUOffsetTRelativeSlot(3, tables, 0)
    builder.PrependUOffsetTRelativeSlot(5, content, 0)
    table: int = builder.EndObject()
    return table


def everything(table: Table) -> list[object]:
    return [
        table.text(0),
        table.integer(1, "int8"),
        table.integers(2),
        [table.table(3, i).integer(0, "int32") for i in range(min(table.count(3), 100))],
        bytes(table.content(5)),
    ]


def test_fields_come_back_as_they_were_written() -> None:
    table = root_table(written(sample), IDENTIFIER)

    assert everything(table) == ["ten äpfel", -5, (1, -2, 3), [7, 8], b"\0\1\2"]
    assert table.count(3) == 2


def test_fields_that_were_left_out_have_their_default() -> None:
    table = root_table(written(sample), IDENTIFIER)

    for missing in (4, 6, 1000):  # between others, and beyond the last one
        assert table.position(missing) == 0
        assert table.integer(missing, "int32") == 0
        assert table.integer(missing, "int32", default=9) == 9
        assert table.integers(missing) == ()
        assert table.text(missing) == ""
        assert table.count(missing) == 0


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ValueError, match="TFL3"):
        root_table(written(sample), b"TFL3")


def test_an_element_that_is_not_there_is_refused() -> None:
    table = root_table(written(sample), IDENTIFIER)

    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"element {index} of 2"):
            table.table(3, index)


def test_text_of_any_bytes_is_text() -> None:
    data = bytes(written(sample)).replace("ä".encode(), b"\xff\xfe")

    assert root_table(memoryview(data), IDENTIFIER).text(0) == "ten \ufffd\ufffdpfel"


@given(st.integers(0, 1000))
def test_a_file_that_is_cut_short_is_a_value_error_or_reads_the_same(size: int) -> None:
    whole = written(sample)
    data = whole[: size % len(whole)]
    with suppress(ValueError):
        assert everything(root_table(data, IDENTIFIER)) == everything(root_table(whole, IDENTIFIER))


@given(st.integers(0, 1000), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_a_value_error_or_something_else(place: int, damage: bytes) -> None:
    data = bytearray(written(sample))
    place %= len(data) - 4
    data[place : place + len(damage)] = damage
    with suppress(ValueError):
        everything(root_table(memoryview(bytes(data)), IDENTIFIER))
