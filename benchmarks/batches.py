"""The requests of a model as arrays, and batches that are made of them."""

from collections.abc import Mapping, Sequence

import numpy as np

MOST_BATCHES = 32


def requests_of(arrays: Mapping[str, np.ndarray], round_lengths_to: int = 0) -> list[np.ndarray]:
    """The inputs that lie beside a model: one request, or one for each row of another length.

    Rows of other lengths are cut to their own, or to the next multiple of `round_lengths_to`.
    """
    inputs = arrays["input"]
    if "lengths" not in arrays:
        return [inputs]
    step = max(1, round_lengths_to)
    longest = inputs.shape[1]
    ends = [min(-(-int(length) // step) * step, longest) for length in arrays["lengths"]]
    return [inputs[row : row + 1, :end] for row, end in enumerate(ends)]


def answers_of(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The right answers to `requests_of`, in the same order."""
    expected = arrays["expected"]
    if "lengths" not in arrays:
        return [expected]
    return [expected[row : row + 1] for row in range(len(expected))]


def together(requests: Sequence[np.ndarray]) -> np.ndarray:
    """Requests as one; those that are shorter than others are filled with zeros at their end."""
    shape = np.max([request.shape[1:] for request in requests], axis=0).astype(int)
    rows = []
    for request in requests:
        sizes = zip(shape, request.shape[1:], strict=True)
        missing = [(0, int(most - size)) for most, size in sizes]
        rows.append(np.pad(request, [(0, 0), *missing]))
    return np.concatenate(rows)


def batches_of(requests: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Batches of `size` requests each, in order and round again: all there are, or enough."""
    count = min(MOST_BATCHES, -(-len(requests) // size))
    return [
        together([requests[(start * size + i) % len(requests)] for i in range(size)])
        for start in range(count)
    ]
