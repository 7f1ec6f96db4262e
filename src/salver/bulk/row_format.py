"""The formats of files with rows, and how a file's name tells its own."""

from enum import Enum

from salver.errors import InvalidArgument


class RowFormat(Enum):
    """How rows lie in a file."""

    JSONL = "jsonl"
    """A JSON object on each line."""
    CSV = "csv"
    """Cells with commas between them, the names of the columns on the first line; RFC 4180."""
    PARQUET = "parquet"
    TFRECORD = "tfrecord"
    """A serialized `tf.train.Example` in each record, not compressed."""


_BY_ENDING = {
    ".jsonl": RowFormat.JSONL,
    ".ndjson": RowFormat.JSONL,
    ".csv": RowFormat.CSV,
    ".parquet": RowFormat.PARQUET,
    ".tfrecord": RowFormat.TFRECORD,
    ".tfrecords": RowFormat.TFRECORD,
}


def format_of(path: str, named: str | None = None) -> RowFormat:
    """The format that was named, else the one that the name of the file tells.

    Raises:
        InvalidArgument: neither tells.
    """
    if named is not None:
        return RowFormat(named)
    for ending, found in _BY_ENDING.items():
        if path.lower().endswith(ending):
            return found
    endings = ", ".join(_BY_ENDING)
    raise InvalidArgument(
        f"{path}: its name does not tell its format; there are: {endings}; or say --input_format, "
        "--output_format"
    )
