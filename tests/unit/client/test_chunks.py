import numpy as np
import pytest

from salver.client.chunks import chunks_of, joined, rows_of_chunks
from salver.client.results import Prediction
from salver.client.typed_inputs import Inputs
from salver.errors import InvalidArgument


def prediction(version: int, **outputs: np.ndarray) -> Prediction:
    return Prediction(outputs, "m", version, "serving_default")


def test_a_batch_is_cut_along_its_first_dimension() -> None:
    inputs: Inputs = {
        "x": np.arange(10).reshape(5, 2),
        "y": list("abcde"),
        "rate": 0.5,
        "n": np.array(3),
    }
    parts = list(chunks_of(inputs, 2))
    assert [part["x"].tolist() for part in parts] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9]]]  # type: ignore[union-attr]
    assert [part["y"] for part in parts] == [["a", "b"], ["c", "d"], ["e"]]
    assert all(part["rate"] == 0.5 for part in parts)
    assert rows_of_chunks(inputs, 2) == [2, 2, 1]


def test_no_rows_are_one_part() -> None:
    assert [len(part["x"]) for part in chunks_of({"x": np.ones((0, 2))}, 5)] == [0]  # type: ignore[arg-type]
    assert rows_of_chunks({"x": []}, 5) == [0]


@pytest.mark.parametrize(
    ("inputs", "rows", "reason"),
    [
        ({"x": [1], "y": [1, 2]}, 1, "different numbers of rows: 'x' 1, 'y' 2"),
        ({"x": 1.0, "t": "text"}, 1, "no input has rows"),
        ({"x": [1]}, 0, "has 0 rows, and needs 1"),
    ],
)
def test_what_cannot_be_cut_is_refused(inputs: dict[str, object], rows: int, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        list(chunks_of(inputs, rows))  # type: ignore[arg-type]


def test_parts_are_joined_and_tell_their_version_if_it_is_one() -> None:
    one = prediction(1, y=np.array([1, 2]), t=np.array([b"a", b"b"], object))
    two = prediction(2, y=np.array([3]), t=np.array([b"c"], object))
    whole = joined([2, 1], [one, two])
    assert whole["y"].tolist() == [1, 2, 3]
    assert whole["t"].tolist() == [b"a", b"b", b"c"]
    assert whole.version is None
    assert joined([2], [one]).version == 1
    with pytest.raises(InvalidArgument, match=r"output 'y' has the shape \(2,\) for 3 rows"):
        joined([3], [one])
