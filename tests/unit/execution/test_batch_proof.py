from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest

from salver.execution.batch_proof import BatchProof, Likeness, are_alike
from tests.saved_models import ECHO_TYPES

ONES = [1, 1, 1]
DIFFERENT = [np.array([1.0, 1.0, 2.0])]
SAME = [np.array([1.0, 1.0, 1.0]), np.array([b"a", b"a", b"a"], object)]


def test_three_batches_of_different_requests_are_enough() -> None:
    proof = BatchProof()
    for _ in range(3):
        assert proof.open_question(ONES, DIFFERENT) is Likeness.DIFFERENT
        proof.ran(Likeness.DIFFERENT)
    assert proof.open_question(ONES, DIFFERENT) is None
    assert proof.open_question(ONES, SAME) is None


def test_equal_requests_prove_nothing_for_different_ones() -> None:
    proof = BatchProof()
    for _ in range(3):
        assert proof.open_question(ONES, SAME) is Likeness.SAME
        proof.ran(Likeness.SAME)
    assert proof.open_question(ONES, SAME) is None
    assert proof.open_question(ONES, DIFFERENT) is Likeness.DIFFERENT


def test_where_requests_may_be_filled_up_that_is_a_question_of_its_own() -> None:
    proof = BatchProof(pads=True)
    for _ in range(3):
        proof.ran(Likeness.DIFFERENT)
    assert proof.is_open
    assert proof.open_question([1, 1], DIFFERENT) is None
    for _ in range(3):
        assert proof.open_question([1, 1], DIFFERENT, is_padded=True) is Likeness.PADDED
        proof.ran(Likeness.PADDED)
    assert proof.open_question([1, 1], DIFFERENT, is_padded=True) is None
    assert not proof.is_open


def test_a_batch_is_checked_again_after_many() -> None:
    proof = BatchProof()
    for _ in range(3):
        proof.ran(Likeness.DIFFERENT)
    checked = 0
    for _ in range(10_000):
        question = proof.open_question(ONES, DIFFERENT)
        checked += question is not None
        proof.ran(question)
    assert 5 <= checked <= 20


@pytest.mark.parametrize("name", ECHO_TYPES)
def test_requests_of_every_type_are_compared(name: str) -> None:
    values = ECHO_TYPES[name].reshape(-1)
    one, two = values[:1], values[1:2]

    def likeness(*arrays: np.ndarray, sizes: Sequence[int] = ONES) -> Likeness | None:
        return BatchProof().open_question(sizes, [np.concatenate(arrays)])

    assert likeness(one, one, one) is Likeness.SAME
    assert likeness(one, one, two) is Likeness.DIFFERENT
    assert likeness(one, two, one) is Likeness.DIFFERENT
    assert likeness(one, one, one, sizes=[1, 2]) is Likeness.DIFFERENT
    assert likeness(one, two, one, two, sizes=[2, 2]) is Likeness.SAME


def test_numbers_that_are_none_are_the_same() -> None:
    nan = np.array([[np.nan, 1], [np.nan, 1]], np.float32)
    assert BatchProof().open_question([1, 1], [nan]) is Likeness.SAME


@pytest.mark.parametrize("name", ECHO_TYPES)
def test_equal_values_of_every_type_are_alike(name: str) -> None:
    values = ECHO_TYPES[name]
    assert are_alike([values], [values.copy()])
    other = values.copy()
    other.flat[1] = values.flat[0]
    assert not are_alike([values], [other])


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (floats(1, 1000), floats(1.0001, 1000.1), True),
        (floats(1, 1000), floats(1, 1002), False),
        (floats(np.nan, np.inf, 1), floats(np.nan, np.inf, 1), True),
        (floats(np.nan, 1), floats(1, np.nan), False),
        (floats(np.inf), floats(-np.inf), False),
        (floats(1, np.inf), floats(1, 5), False),
        (floats(), floats(), True),
        (floats(0, 0), floats(0, 0), True),
        (floats(0, 0), floats(0, 1e-9), False),
        (floats(1, 2), floats(1, 2, 3), False),
        (floats(1), np.array([1.0]), False),
        (floats(1, 2).astype(np.float16), floats(1.01, 2).astype(np.float16), True),
        (
            floats(1, 2).astype(ml_dtypes.bfloat16),
            floats(1.3, 2).astype(ml_dtypes.bfloat16),
            False,
        ),
        (np.array([1 + 1j]), np.array([1 + 1.00001j]), True),
        (np.array([1 + 1j]), np.array([1 - 1j]), False),
        (np.array([3, 4]), np.array([3, 5]), False),
    ],
)
def test_answers_are_alike_but_for_what_rounding_does(
    one: np.ndarray, other: np.ndarray, alike: bool
) -> None:
    assert are_alike([one], [other]) is alike


def test_another_number_of_outputs_is_another_answer() -> None:
    assert not are_alike([floats(1)], [floats(1), floats(1)])
