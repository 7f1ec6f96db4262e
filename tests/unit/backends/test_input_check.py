import numpy as np
import pytest

from salver.backends.functions import tensor
from salver.backends.input_check import InputCheck
from salver.core.signature import Signature
from salver.errors import InvalidArgument

CHECK = InputCheck(
    "m",
    Signature(
        "s",
        {
            "x": tensor(np.float32, (-1, 2)),
            "word": tensor(np.object_, (-1,)),
            "any": tensor(np.int64, None),
        },
        {},
    ),
)
X = np.zeros((3, 2), np.float32)
WORD = np.array([b"a", b"b"], object)
ANY = np.int64(3) * np.ones((), np.int64)


def test_what_fits_is_returned_as_it_is() -> None:
    checked = CHECK([X, WORD, ANY])

    assert all(one is other for one, other in zip(checked, [X, WORD, ANY], strict=True))


def test_shapes_are_looked_at_however_many_came_before() -> None:
    longer = np.zeros((5, 2), np.float32)
    for _ in range(2):
        for x in (X, X, longer):
            assert CHECK([x, WORD, ANY])[0] is x
        with pytest.raises(InvalidArgument, match=r"to have shape \[\?,2\] but \[3,3\]"):
            CHECK([np.zeros((3, 3), np.float32), WORD, ANY])


def test_strings_become_bytes_and_numbers_are_in_the_machine_s_order() -> None:
    x, word, _ = CHECK([X.astype(">f4"), np.array(["\u00e4", "b"]), ANY])

    assert x.dtype == np.float32
    assert x.dtype.isnative
    assert word.tolist() == ["\u00e4".encode(), b"b"]
    assert word.dtype == object


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            [X.astype(np.float64), WORD, ANY],
            'Model m, signature "s": expects input "x" to be float but double is provided',
        ),
        (
            [X, np.zeros(2, np.int32), ANY],
            'Model m, signature "s": expects input "word" to be string but int32 is provided',
        ),
        (
            [X[0], WORD, ANY],
            'Model m, signature "s": expects input "x" to have shape [?,2] but [2] is provided',
        ),
        (
            [X[:, :1], WORD, ANY],
            'Model m, signature "s": expects input "x" to have shape [?,2] but [3,1] is provided',
        ),
    ],
)
def test_what_does_not_fit_is_named(arrays: list[np.ndarray], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        CHECK(arrays)

    assert raised.value.message == message
