from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import FailedPrecondition
from salver.execution.batch_arrays import groups_of, joined, parted
from salver.execution.batch_options import BatchOptions
from tests.saved_models import ECHO_TYPES

PLAIN = BatchOptions()
PADDED = BatchOptions(pad_variable_length_inputs=True)


def rows(*shape: int, start: float = 0, dtype: type = np.float32) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype=np.float64) + start).astype(dtype).reshape(shape)


def test_requests_of_other_types_ranks_or_sizes_run_apart() -> None:
    requests = [
        [rows(1, 2)], [rows(3, 2)], [rows(1, 3)], [rows(2, 2, dtype=np.int32)], [rows(2)],
        [rows(1, 2)],
    ]  # fmt: skip
    assert groups_of(requests, PLAIN) == [[0, 1, 5], [2], [3], [4]]


def test_with_padding_only_type_and_rank_keep_requests_apart() -> None:
    requests = [[rows(1, 2)], [rows(3, 5)], [rows(2)], [rows(1, 1, dtype=np.int32)]]
    assert groups_of(requests, PADDED) == [[0, 1], [2], [3]]


def test_what_has_no_first_element_or_too_many_dimensions_is_not_padded() -> None:
    deep = rows(1, 1, 1, 1, 1, 1, 2)
    requests = [[rows(1, 2)], [rows(1, 0)], [deep], [rows(1, 1, 1, 1, 1, 1, 3)], [deep]]
    assert groups_of(requests, PADDED) == [[0], [1], [2, 4], [3]]


def test_every_input_has_to_fit() -> None:
    requests = [[rows(1, 2), rows(1)], [rows(1, 2), rows(1, 1)], [rows(2, 2), rows(2)]]
    assert groups_of(requests, PLAIN) == [[0, 2], [1]]


def test_missing_rows_are_copies_of_the_first_row_of_the_last_request() -> None:
    [array] = joined([[rows(1, 2)], [rows(2, 2, start=10)]], 5)
    assert array.tolist() == [[0, 1], [10, 11], [12, 13], [10, 11], [10, 11]]


def test_short_rows_are_filled_with_their_own_first_element() -> None:
    [array] = joined([[rows(2, 3, start=1)], [rows(2, 1, start=7)]], 4)
    assert array.tolist() == [[1, 2, 3], [4, 5, 6], [7, 7, 7], [8, 7, 7]]


def test_strings_are_joined_and_filled_too() -> None:
    words = np.array([[b"a", b"b"]], object)
    [array] = joined([[words], [np.array([[b"x"]], object)]], 2)
    assert array.tolist() == [[b"a", b"b"], [b"x", b"x"]]


@pytest.mark.parametrize("name", ECHO_TYPES)
def test_every_type_of_values_is_joined_padded_and_parted(name: str) -> None:
    values = ECHO_TYPES[name].reshape(-1)[:3]
    first, second = values.reshape(1, 3), values[1:].reshape(2, 1)
    for array in (first, second):
        array.flags.writeable = False
    [group] = groups_of([[first], [second]], PADDED)
    [merged] = joined([[[first], [second]][place] for place in group], 4)
    assert merged.dtype == first.dtype
    assert merged.shape == (4, 3)
    [[mine], [other]] = parted([merged], [1, 2], 4)
    assert mine.tolist() == first.tolist()
    (top,), (bottom,) = second.tolist()
    assert other.tolist() == [[top, top, top], [bottom, top, top]]
    assert merged[3].tolist() == [top, top, top]
    assert mine.flags.c_contiguous
    assert other.flags.c_contiguous


def test_a_request_alone_is_not_copied() -> None:
    array = rows(2, 2)
    [same] = joined([[array]], 2)
    assert same is array


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([np.float32(1)], "Batched output tensor has 0 dimensions"),
        (
            [rows(3)],
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors",
        ),
    ],
)
def test_outputs_need_a_row_for_each_row(outputs: Sequence[np.ndarray], error: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        parted([np.asarray(output) for output in outputs], [1, 1], 2)
    assert refused.value.message == error


def test_a_part_of_a_large_output_does_not_keep_all_of_it_in_memory() -> None:
    large = np.zeros((100, 5000), np.float32)
    small = np.zeros((100, 5), np.float32)
    first, rest = parted([large, small], [10, 80], 100)
    for part, whole in ((first[0], False), (rest[0], True), (first[1], True), (rest[1], True)):
        assert np.shares_memory(part, large if part.shape[1] == 5000 else small) is whole
        assert part.flags.c_contiguous
    [[only]] = parted([large], [100], 100)
    assert only is large
    [[most]] = parted([large], [90], 100)
    assert np.shares_memory(most, large)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=8))
def test_each_request_gets_back_its_own_rows(shapes: list[tuple[int, int]]) -> None:
    requests = [[rows(*shape, start=100 * place)] for place, shape in enumerate(shapes)]
    seen = []
    for group in groups_of(requests, PADDED):
        sizes = [requests[place][0].shape[0] for place in group]
        size = sum(sizes) + 3
        merged = joined([requests[place] for place in group], size)
        assert merged[0].shape[0] == size
        for place, [part] in zip(group, parted(merged, sizes, size), strict=True):
            seen.append(place)
            own = requests[place][0]
            assert part[:, : own.shape[1]].tolist() == own.tolist()
    assert sorted(seen) == list(range(len(shapes)))
