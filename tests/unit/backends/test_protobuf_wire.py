import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.backends.protobuf_wire import (
    Message,
    encoded_content,
    encoded_integer,
    encoded_varint,
    read_varint,
)


@given(st.integers(0, 2**64 - 1), st.binary())
def test_an_integer_is_read_as_it_was_written(value: int, rest: bytes) -> None:
    encoded = encoded_varint(value)

    assert read_varint(memoryview(encoded + rest), 0) == (value, len(encoded))


@given(st.lists(st.tuples(st.integers(1, 100), st.binary())))
def test_contents_keep_their_order(fields: list[tuple[int, bytes]]) -> None:
    data = b"".join(encoded_content(number, content) for number, content in fields)

    message = Message(memoryview(data))

    for number in range(1, 101):
        assert message.contents(number) == [content for n, content in fields if n == number]


def test_the_last_of_several_values_counts() -> None:
    data = encoded_integer(1, 5) + encoded_content(2, b"old") + encoded_integer(1, 7)

    message = Message(memoryview(data + encoded_content(2, b"new")))

    assert message.integer(1) == 7
    assert message.text(2) == "new"


def test_negative_integers_are_signed() -> None:
    assert Message(memoryview(b"\x08" + b"\xff" * 9 + b"\x01")).integer(1) == -1


def test_absent_fields_have_the_zero_of_their_kind() -> None:
    message = Message(memoryview(b""))

    assert not message.has(1)
    assert message.integer(1) == 0
    assert message.text(1) == ""
    assert message.contents(1) == []
    assert message.integers(1).tolist() == []
    assert message.fixed(1, np.dtype("<f4")).tolist() == []


def test_packed_and_single_numbers_are_read_together() -> None:
    data = (
        encoded_content(1, b"\x01\xac\x02")
        + encoded_integer(2, 300)
        + b"\x19"
        + np.float64(0.5).tobytes()
    )

    message = Message(memoryview(data))

    assert message.integers(1).tolist() == [1, 300]
    assert message.integers(2).tolist() == [300]
    assert message.fixed(3, np.dtype("<f8")).tolist() == [0.5]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08", id="no value"),
        pytest.param(b"\x08" + b"\x80" * 11, id="endless integer"),
        pytest.param(b"\x0a\x05abc", id="short content"),
        pytest.param(b"\x0d\x00\x00", id="short fixed number"),
        pytest.param(b"\x0b\x0c", id="group"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Message(memoryview(data))


@given(st.binary())
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        Message(memoryview(data))
