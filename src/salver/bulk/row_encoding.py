"""Rows as the bytes of a file: those with answers, and those that were set apart."""

import base64
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

import numpy as np

from salver.bulk.batch_answers import BadRow, GoodRow
from salver.bulk.row_format import RowFormat
from salver.bulk.row_source import RowSource
from salver.codecs.messages import message_class
from salver.codecs.tf_record import record

Encoder = Callable[[Sequence[GoodRow]], bytes]
_PRECISE_BYTES = 8


class OutputValues:
    """The outputs of rows as values of Python, made for all rows of a run at once."""

    def __init__(self, convert: Callable[[np.ndarray], Any]) -> None:
        """`convert` makes a list of an array, with one item for each row."""
        self._convert = convert
        self._converted: dict[tuple[int, str], Any] = {}

    def __call__(self, row: GoodRow, name: str) -> Any:
        key = id(row.outputs), name
        if key not in self._converted:
            self._converted[key] = self._convert(row.outputs[name])
        return self._converted[key][row.index]


def encoder_of(row_format: RowFormat, kept: Sequence[str], outputs: Sequence[str]) -> Encoder:
    """What makes bytes of rows: the columns that are kept, then the outputs."""

    def plain_rows(rows: Sequence[GoodRow]) -> Iterator[dict[str, Any]]:
        value = OutputValues(plain)
        for row in rows:
            kept_values = {name: _text(row.values.get(name)) for name in kept}
            yield kept_values | {name: value(row, name) for name in outputs}

    def json_lines(rows: Sequence[GoodRow]) -> bytes:
        return b"".join(map(_json_line, plain_rows(rows)))

    def csv_lines(rows: Sequence[GoodRow]) -> bytes:
        return _csv([[_cell(value) for value in row.values()] for row in plain_rows(rows)])

    def records(rows: Sequence[GoodRow]) -> bytes:
        value = OutputValues(lambda array: array.reshape(len(array), -1).tolist())
        return b"".join(_example(row, kept, outputs, value) for row in rows)

    if row_format is RowFormat.CSV:
        return csv_lines
    return records if row_format is RowFormat.TFRECORD else json_lines


def beginning_of(row_format: RowFormat, kept: Sequence[str], outputs: Sequence[str]) -> bytes:
    """What stands before the first row."""
    return _csv([[*kept, *outputs]]) if row_format is RowFormat.CSV else b""


def bad_row_line(bad: BadRow, source: RowSource) -> bytes:
    """A line of the file of rows that were set apart."""
    shown = source.shown(bad.row.content)
    return _json_line({"line": bad.row.number, "error": bad.error, "row": shown})


def plain(array: np.ndarray) -> Any:
    """Numbers and text of Python, in lists as deep as the shape.

    A number of less than 64 bits becomes the shortest that reads back as the same.
    """
    if array.dtype == object:
        return _text(array.tolist())
    if array.dtype.kind == "f" and array.dtype.itemsize < _PRECISE_BYTES:
        return array.astype("U").astype(np.float64).tolist()
    return array.tolist()


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value


def _json_line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False, default=str)
    return text.encode("utf-8", "surrogateescape") + b"\n"


def _cell(value: Any) -> str:
    """Text as it is; lists as JSON, which is how they are read, too."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _example(
    row: GoodRow, kept: Sequence[str], outputs: Sequence[str], value: OutputValues
) -> bytes:
    example = message_class("tensorflow.Example")()
    features = example.features.feature
    for name in kept:
        _add(features[name], row.values.get(name))
    for name in outputs:
        _add(features[name], value(row, name))
    return record(example.SerializeToString(deterministic=True))


def _add(feature: Any, value: Any) -> None:
    """Values as a list of their kind; what is neither number nor text, as JSON."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    if all(isinstance(each, int) for each in values):
        feature.int64_list.value.extend(map(int, values))
    elif all(isinstance(each, int | float) for each in values):
        feature.float_list.value.extend(values)
    else:
        feature.bytes_list.value.extend(map(_feature_bytes, values))


def _feature_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "surrogateescape")
