import ml_dtypes
import numpy as np
import pytest

from salver.push.comparison import Tolerance, differences

TOLERANCE = Tolerance(relative=0.01, absolute=0.001)


def texts(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([1.0, 100.0], np.float32), np.array([1.005, 100.5], np.float32)),
        (np.array([0.0], np.float32), np.array([0.0009], np.float32)),
        (np.array([np.nan, np.inf], np.float32), np.array([np.nan, np.inf], np.float32)),
        (np.array([1.5], ml_dtypes.bfloat16), np.array([1.5], ml_dtypes.bfloat16)),
        (np.array([2.0], np.float32), np.array([2], np.int64)),
        (np.array([3, 4], np.int64), np.array([3, 4], np.int64)),
        (texts(b"a", b"b"), texts(b"a", b"b")),
        (np.array([1 + 1j], np.complex64), np.array([1 + 1.001j], np.complex64)),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)),
    ],
)
def test_within_the_tolerance_is_the_same(given: np.ndarray, expected: np.ndarray) -> None:
    assert list(differences({"y": given, "more": given}, {"y": expected}, TOLERANCE)) == []


@pytest.mark.parametrize(
    ("given", "expected", "text"),
    [
        (
            np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
            np.array([[1.1, 2.0], [3.0, 8.0]], np.float32),
            "2 of 4 elements of output 'y' differ: y[1, 1] is 4.0, and 8.0 is expected",
        ),
        (
            np.array([np.nan, 1], np.float32),
            np.array([2.0, 2.0], np.float32),
            "y[0] is nan, and 2.0 is expected",
        ),
        (np.array([10_000_001], np.int64), np.array([10_000_000], np.int64), "y[0] is 10000001"),
        (texts(b"a", b"b"), texts(b"a", b"c"), "y[1] is b'b', and b'c' is expected"),
        (
            np.array([1], np.float32),
            np.array([1, 1], np.float32),
            "has the shape [1], and [2] is expected",
        ),
        (np.float32(1), np.float32(2), "1 of 1 elements of output 'y' differ: y is 1.0"),
        (np.array([True]), np.array([False]), "y[0] is True"),
    ],
)
def test_the_worst_difference_is_told(given: np.ndarray, expected: np.ndarray, text: str) -> None:
    (found,) = differences({"y": given}, {"y": expected}, TOLERANCE)
    assert text in found


def test_an_output_that_is_missing_is_told() -> None:
    (found,) = differences({"scores": np.zeros(1)}, {"score": np.zeros(1)}, TOLERANCE)
    assert found == "output 'score' is not there; did you mean 'scores'?"
