"""Where rows go: files that grow by whole batches, and forget what came after the last record."""

import glob
import os
import shutil
from collections.abc import Sequence
from typing import IO, Any, Protocol

from salver.bulk.batch_answers import GoodRow
from salver.bulk.row_encoding import Encoder, OutputValues, plain
from salver.bulk.row_source import parquet_library
from salver.core.data_type import DataType, numpy_type_of
from salver.core.signature import Signature
from salver.errors import DataLoss, InvalidArgument

_PART_ROWS = 8192
_PART_BYTES = 64 << 20


class RowSink(Protocol):
    """An output that is being written. On one thread."""

    def encode(self, rows: Sequence[GoodRow]) -> Any:
        """Rows in the form that `add` takes. From any thread.

        Raises:
            InvalidArgument: a value has no place in this format.
        """

    def add(self, encoded: Any) -> None:
        """Take the next batch."""

    def size(self) -> int | None:
        """What `resume` takes to come back to here; None: only after some more batches."""

    def sync(self) -> None:
        """Bring all that came so far to the disk."""

    def resume(self, size: int) -> None:
        """Go on from what `size` told, and forget what came later; 0: begin."""

    def finish(self) -> None:
        """Put the output in its place."""

    def close(self) -> None:
        """Let go of the file, finished or not."""


class GrowingFile:
    """Bytes appended to a file, which has its own name once it is whole."""

    def __init__(self, path: str, encoder: Encoder | None = None, beginning: bytes = b"") -> None:
        self._path = path
        self._encoder = encoder
        self._beginning = beginning
        self._file: IO[bytes] | None = None

    @property
    def unfinished_path(self) -> str:
        return f"{self._path}.unfinished"

    def encode(self, rows: Sequence[GoodRow]) -> bytes:
        assert self._encoder is not None
        try:
            return self._encoder(rows)
        except (ValueError, TypeError) as error:
            # Text that no bytes stand for, a number beyond what an Example holds.
            text = " ".join(str(error).split())
            raise InvalidArgument(f"a value has no place in the output: {text}") from error

    def add(self, encoded: bytes) -> None:
        assert self._file is not None
        self._file.write(encoded)

    def size(self) -> int:
        assert self._file is not None
        return self._file.tell()

    def sync(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())

    def resume(self, size: int) -> None:
        if size and os.path.exists(self._path) and not os.path.exists(self.unfinished_path):
            os.replace(self._path, self.unfinished_path)  # It ended while it finished.
        self._require_all(size)
        mode = "r+b" if size else "wb"
        self._file = open(self.unfinished_path, mode)  # noqa: SIM115 - closed by `finish` or `close`
        self._file.truncate(size)
        self._file.seek(size)
        if not size:
            self._file.write(self._beginning)

    def _require_all(self, size: int) -> None:
        path = self.unfinished_path
        there = os.path.getsize(path) if os.path.exists(path) else 0
        if there < size:
            raise DataLoss(
                f"{path} has {there} bytes, of {size} that were written; --overwrite begins anew"
            )

    def finish(self) -> None:
        self.sync()
        self.close()
        os.replace(self.unfinished_path, self._path)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class ParquetParts:
    """A Parquet file in parts, each a file of whole batches, which become its row groups.

    A Parquet file cannot grow once it is closed, nor be read before.
    """

    def __init__(self, path: str, columns: "ParquetColumns") -> None:
        self._path = path
        self._columns = columns
        self._library = parquet_library()
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._parts = 0

    @property
    def folder(self) -> str:
        return f"{self._path}.unfinished"

    def encode(self, rows: Sequence[GoodRow]) -> Any:
        return self._columns.batch(rows)

    def add(self, encoded: Any) -> None:
        if encoded.num_rows:
            self._waiting.append(encoded)
            self._waiting_rows += encoded.num_rows
            self._waiting_bytes += encoded.nbytes
        # Where a part ends is told by its rows alone, so that it is the same in every run.
        if self._waiting_rows >= _PART_ROWS or self._waiting_bytes >= _PART_BYTES:
            self._write_part()

    def _write_part(self) -> None:
        import pyarrow

        table = pyarrow.Table.from_batches(self._waiting, self._columns.schema)
        with open(self._part(self._parts), "wb") as file:
            self._library.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        self._parts += 1
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def size(self) -> int | None:
        return None if self._waiting else self._parts

    def sync(self) -> None:
        """Parts are on the disk as soon as they are written."""

    def close(self) -> None:
        self._waiting = []

    def resume(self, size: int) -> None:
        if not size:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)
        self._parts = size
        for path in glob.glob(os.path.join(glob.escape(self.folder), "*.parquet")):
            if int(os.path.basename(path).partition(".")[0]) >= size:
                os.remove(path)

    def finish(self) -> None:
        if self._waiting:
            self._write_part()
        whole = os.path.join(self.folder, "whole")
        with self._library.ParquetWriter(whole, self._columns.schema) as writer:
            for number in range(self._parts):
                table = self._library.read_table(self._part(number))
                writer.write_table(table, row_group_size=max(1, table.num_rows))
        os.replace(whole, self._path)
        shutil.rmtree(self.folder)

    def _part(self, number: int) -> str:
        return os.path.join(self.folder, f"{number:08}.parquet")


class ParquetColumns:
    """The types of the columns, and rows as Arrow's batches."""

    def __init__(self, signature: Signature, kept: Sequence[Any], *, batched: bool) -> None:
        """`kept` are Arrow's fields of the columns that are taken over from the input."""
        import pyarrow

        self._kept = [field.name for field in kept]
        self._outputs = list(signature.outputs)
        fields = list(kept)
        for name, spec in signature.outputs.items():
            depth = None if spec.shape is None else len(spec.shape) - batched
            fields.append(pyarrow.field(name, _arrow_type(name, spec.data_type, depth)))
        self.schema = pyarrow.schema(fields)

    def batch(self, rows: Sequence[GoodRow]) -> Any:
        import pyarrow

        columns: dict[str, list[Any]] = {
            name: [row.values.get(name) for row in rows] for name in self._kept
        }
        value = OutputValues(_exact)
        for name in self._outputs:
            columns[name] = [value(row, name) for row in rows]
        try:
            arrays = [pyarrow.array(columns[field.name], field.type) for field in self.schema]
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
            text = " ".join(str(error).split())
            raise InvalidArgument(f"a value has no place in the Parquet file: {text}") from error
        return pyarrow.RecordBatch.from_arrays(arrays, schema=self.schema)


def _exact(array: Any) -> Any:
    """Python's values of the same precision; text for bytes, as the column has it."""
    return plain(array) if array.dtype == object else array.tolist()


def _arrow_type(name: str, data_type: DataType, depth: int | None) -> Any:
    import pyarrow

    if depth is None:
        raise InvalidArgument(
            f"output {name!r} may have any shape, which a Parquet file cannot: write JSONL"
        )
    numpy_type = numpy_type_of(data_type)
    if data_type is DataType.STRING:
        found = pyarrow.string()
    elif numpy_type is not None and numpy_type.kind in "biuf":
        found = pyarrow.from_numpy_dtype(numpy_type)
    elif numpy_type is not None and data_type.short_name.startswith(("bfloat", "float8")):
        found = pyarrow.float32()
    else:
        raise InvalidArgument(
            f"output {name!r} is {data_type.short_name}, which a Parquet file cannot hold"
        )
    for _ in range(depth):
        found = pyarrow.list_(found)
    return found
