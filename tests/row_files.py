"""Files of rows for `salver predict`, in every format, and a model in Python that answers them."""

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from salver.codecs.messages import message_class
from salver.codecs.tf_record import read_records, record

Row = Mapping[str, Any]
ENDINGS = ("jsonl", "csv", "parquet", "tfrecord")

MODEL = """\
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Answer(NamedTuple):
    total: Annotated[NDArray[np.float32], (None,)]
    shouted: Annotated[NDArray[np.str_], (None,)]
    doubled: Annotated[NDArray[np.int64], (None, 2)]


class Model:
    def predict(
        self,
        x: Annotated[NDArray[np.float32], (None, 3)],
        word: Annotated[NDArray[np.str_], (None,)],
        pair: Annotated[NDArray[np.int64], (None, 2)],
    ) -> Answer:
        if (x < 0).any():
            raise ValueError("x must not be below zero")
        shouted = np.array([each.upper() for each in word], object)
        return Answer(x.sum(axis=1), shouted, 2 * pair)
"""


def make_model(base_path: Path) -> Path:
    """Version 1 of the model, under a base path."""
    (base_path / "1").mkdir(parents=True)
    (base_path / "1" / "model.py").write_text(MODEL)
    return base_path


def made_rows(count: int) -> list[dict[str, Any]]:
    words = ("one", "zwölf", 'a "b", c', "")
    return [
        {
            "id": number,
            "x": [number + 0.5, 0.1, 2.0],
            "word": words[number % 4],
            "pair": [number, 2**40],
        }
        for number in range(count)
    ]


def expected_answer(row: Row) -> dict[str, Any]:
    """To three digits, what the model says."""
    return {
        "id": row["id"],
        "total": round(sum(row["x"]), 3),
        "shouted": row["word"].upper(),
        "doubled": [2 * each for each in row["pair"]],
    }


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """In the format that the name tells; in CSV, lists are JSON."""
    if path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0])
            writer.writerows([_cell(value) for value in row.values()] for row in rows)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_bytes(b"".join(record(example_of(row)) for row in rows))


def example_of(row: Row) -> bytes:
    example = message_class("tensorflow.Example")()
    for name, value in row.items():
        feature = example.features.feature[name]
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(each.encode() for each in values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    content: bytes = example.SerializeToString()
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The answers in a file, told by its name, as `expected_answer` has them."""
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    elif path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(path).to_pylist()
    else:
        with path.open("rb") as file:
            rows = [_row_of(each) for each in read_records(file)]
    return [_answer(row) for row in rows]


def _row_of(content: bytes) -> dict[str, Any]:
    example = message_class("tensorflow.Example")()
    example.ParseFromString(content)
    row: dict[str, Any] = {}
    for name, feature in example.features.feature.items():
        values = list(getattr(feature, feature.WhichOneof("kind")).value)
        row[name] = values if name == "doubled" else values[0]
    return row


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    doubled = row["doubled"]
    word = row["shouted"]
    return {
        "id": int(row["id"]),
        "total": round(float(row["total"]), 3),
        "shouted": word.decode() if isinstance(word, bytes) else word,
        "doubled": json.loads(doubled) if isinstance(doubled, str) else doubled,
    }


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def content_of(bad_row: Mapping[str, Any]) -> bytes:
    """What was set apart of a TFRecord file."""
    return base64.b64decode(bad_row["row"]["b64"])
