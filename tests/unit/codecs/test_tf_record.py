"""TFRecord files: what is read, and what is said of files that are damaged."""

from io import BufferedReader, BytesIO

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.codecs.tf_record import read_records
from salver.errors import DataLoss


def checksum(data: bytes) -> bytes:
    value = int(google_crc32c.value(data))
    return (((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def record(data: bytes, length: int | None = None) -> bytes:
    """One record; with `length`, it lies about its own."""
    head = (len(data) if length is None else length).to_bytes(8, "little")
    return head + checksum(head) + data + checksum(data)


def read(data: bytes) -> list[bytes]:
    return list(read_records(BufferedReader(BytesIO(data))))


@given(st.lists(st.binary(max_size=100)))
def test_records_come_back_as_they_were_written(records: list[bytes]) -> None:
    assert read(b"".join(map(record, records))) == records


def test_a_record_of_several_pieces_comes_back_whole() -> None:
    data = bytes(range(256)) * 10_000
    assert read(record(data) * 2) == [data, data]


@pytest.mark.parametrize("length", [4, 2**31, 2**40, 2**62, 2**63, 2**64 - 6])
def test_a_length_that_lies_takes_no_memory(length: int) -> None:
    with pytest.raises(DataLoss, match="truncated record at 0' failed with Read less bytes"):
        read(record(b"abc", length)[:-4])


def test_a_length_beyond_all_bounds_is_called_so() -> None:
    with pytest.raises(DataLoss, match="record size too large"):
        read(record(b"abc", 2**64 - 1))


@given(st.binary(min_size=1, max_size=60))
def test_whatever_is_no_record_is_data_loss(data: bytes) -> None:
    records = read_records(BytesIO(record(b"good") + data))
    assert next(records) == b"good"
    with pytest.raises(DataLoss, match="record at"):
        next(records)
