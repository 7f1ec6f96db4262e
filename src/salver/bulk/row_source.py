"""Rows from files, one after the other, never the whole file.

A source gives rows as they lie there; `decode` makes named values of one, later and on another
thread, so that a bad row is an error of its own.
"""

import base64
import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, BinaryIO, Protocol

from google.protobuf.message import DecodeError

from salver.bulk.row_format import RowFormat
from salver.codecs.messages import message_class
from salver.codecs.tf_record import read_records
from salver.errors import DataLoss, FailedPrecondition, InvalidArgument

_LONGEST_LINE = 256 << 20
_PARQUET_ROWS = 1024


class Values(Enum):
    """What the values of a row are like."""

    PLAIN = auto()
    """Numbers, text, and lists of them as deep as the shape."""
    TEXT = auto()
    """Cells: the type of the input says what to make of one."""
    FLAT = auto()
    """One list for each, whatever the shape; of a single value, the value."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it lies in the file."""

    number: int
    """Its line for text, else its place; counted from 1."""
    content: Any


class RowSource(Protocol):
    """An open file. Rows are read on one thread, decoded on any."""

    values: Values
    columns: tuple[str, ...] | None
    """None: each row has its own."""

    def rows(self) -> Iterator[Row]:
        """All rows, from the first.

        Raises:
            DataLoss: the file is damaged from here on.
            FailedPrecondition: it cannot be read.
        """

    def decode(self, content: Any) -> Mapping[str, Any]:
        """The named values of a row.

        Raises:
            ValueError: it is none.
        """

    def shown(self, content: Any) -> Any:
        """The row in the file of those that were set apart: what JSON can hold."""

    def part_read(self) -> float:
        """How much of the file has been read, from 0 to 1."""

    def close(self) -> None:
        """Close the file."""


def open_source(path: str, row_format: RowFormat) -> RowSource:
    """Open a file of rows.

    Raises:
        FailedPrecondition: it cannot be opened, or what reads it is not installed.
        InvalidArgument: it is not of this format.
    """
    kinds: dict[RowFormat, Callable[[str], RowSource]] = {
        RowFormat.JSONL: JsonLines,
        RowFormat.CSV: CommaSeparated,
        RowFormat.PARQUET: Parquet,
        RowFormat.TFRECORD: ExampleRecords,
    }
    try:
        return kinds[row_format](path)
    except OSError as error:
        raise FailedPrecondition(f"{path}: {error.strerror or error}") from error


class _BinaryFile:
    """What all but Parquet share: a file that is read from its beginning to its end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by `close`
        self._size = os.fstat(self._file.fileno()).st_size

    def part_read(self) -> float:
        return self._file.tell() / self._size if self._size else 1.0

    def close(self) -> None:
        self._file.close()


class JsonLines(_BinaryFile):
    """JSONL; empty lines are no rows."""

    values = Values.PLAIN
    columns: tuple[str, ...] | None = None

    def rows(self) -> Iterator[Row]:
        for number, line in enumerate(_lines(self._file, self._path), 1):
            if not line.isspace():
                yield Row(number, line.rstrip(b"\r\n"))

    def decode(self, content: Any) -> Mapping[str, Any]:
        try:
            row = json.loads(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"it is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"it is no JSON object, but {_kind(row)}")
        return row

    def shown(self, content: Any) -> Any:
        return content.decode("utf-8", "replace")


class CommaSeparated(_BinaryFile):
    """CSV with a line of names."""

    values = Values.TEXT

    def __init__(self, path: str) -> None:
        super().__init__(path)
        csv.field_size_limit(_LONGEST_LINE)
        lines = (line.decode("utf-8", "surrogateescape") for line in _lines(self._file, path))
        self._reader = csv.reader(lines)
        _, names = next(self._cells(), (0, [""]))
        if not any(names):
            raise InvalidArgument(f"{path}: its first line must name the columns")
        names[0] = names[0].removeprefix("\ufeff")
        self._names = tuple(names)
        self.columns: tuple[str, ...] | None = self._names
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InvalidArgument(f"{path} has two columns {sorted(twice)[0]!r}")

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        while True:
            start = self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataLoss(f"{self._path}, line {start}: {error}") from error
            if cells:
                yield start, cells

    def rows(self) -> Iterator[Row]:
        for number, cells in self._cells():
            yield Row(number, cells)

    def decode(self, content: Any) -> Mapping[str, Any]:
        if len(content) != len(self._names):
            raise ValueError(f"it has {len(content)} cells for {len(self._names)} columns")
        return dict(zip(self._names, content, strict=True))

    def shown(self, content: Any) -> Any:
        return content


class ExampleRecords(_BinaryFile):
    """TFRecord files of `tf.train.Example`."""

    values = Values.FLAT
    columns: tuple[str, ...] | None = None

    def rows(self) -> Iterator[Row]:
        try:
            for number, record in enumerate(read_records(self._file), 1):
                yield Row(number, record)
        except DataLoss as error:
            raise DataLoss(f"{self._path}: {error.message}") from error

    def decode(self, content: Any) -> Mapping[str, Any]:
        example = message_class("tensorflow.Example")()
        try:
            example.ParseFromString(content)
        except DecodeError as error:
            raise ValueError(f"it is no tf.train.Example: {error}") from None
        row: dict[str, Any] = {}
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            values = list(getattr(feature, kind).value) if kind else []
            row[name] = values[0] if len(values) == 1 else values
        return row

    def shown(self, content: Any) -> Any:
        return {"b64": base64.b64encode(content).decode()}


class Parquet:
    """Parquet files, some rows of a row group at a time."""

    values = Values.PLAIN

    def __init__(self, path: str) -> None:
        arrow = parquet_library()
        self._path = path
        try:
            self._file = arrow.ParquetFile(path)
        except OSError:
            raise
        except Exception as error:
            raise InvalidArgument(f"{path} is no Parquet file: {_line(error)}") from error
        self.schema = self._file.schema_arrow
        self.columns: tuple[str, ...] | None = tuple(self.schema.names)
        self._count = self._file.metadata.num_rows
        self._read = 0

    def rows(self) -> Iterator[Row]:
        try:
            for batch in self._file.iter_batches(_PARQUET_ROWS):
                for row in batch.to_pylist():
                    self._read += 1
                    yield Row(self._read, row)
        except (OSError, ValueError) as error:
            raise DataLoss(f"{self._path}, after row {self._read}: {_line(error)}") from error

    def decode(self, content: Any) -> Mapping[str, Any]:
        row: Mapping[str, Any] = content
        return row

    def shown(self, content: Any) -> Any:
        return json.loads(json.dumps(content, default=_json_value))

    def part_read(self) -> float:
        return self._read / self._count if self._count else 1.0

    def close(self) -> None:
        self._file.close()


def parquet_library() -> Any:
    """The module that reads and writes Parquet.

    Raises:
        FailedPrecondition: it is not installed.
    """
    try:
        import pyarrow.parquet as library
    except ImportError as error:
        raise FailedPrecondition(
            "Parquet files need pyarrow: pip install 'salver[parquet]'"
        ) from error
    return library


def _lines(file: BinaryIO, path: str) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataLoss(f"{path} has a line of more than {_LONGEST_LINE >> 20} MB")
        yield line


def _json_value(value: object) -> object:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return str(value)


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
