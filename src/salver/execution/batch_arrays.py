"""The arrays of a batch: which fit together, how they are joined, and parted again.

Source: TensorFlow Serving's batching_session.cc and batching_util.cc, for what is padded
with what, and for the texts.
"""

from collections.abc import Collection, Sequence
from itertools import accumulate

import numpy as np

from salver.errors import FailedPrecondition
from salver.execution.batch_options import BatchOptions

Inputs = Sequence[np.ndarray]

_MAX_PADDED_RANK = 6
_LARGE_BYTES = 1 << 20


def groups_of(
    requests: Sequence[Inputs], options: BatchOptions, pieces: Collection[int] = ()
) -> list[list[int]]:
    """Which requests can be run as one: their places, in order, each in one group.

    Those of another type or rank run apart; those of other dimensions, too, unless they
    may be padded. At the places `pieces` are pieces of larger requests, which are not: their
    outputs will have to fit to those of the other pieces.
    """
    groups: dict[object, list[int]] = {}
    for place, inputs in enumerate(requests):
        may_pad = options.pad_variable_length_inputs and place not in pieces
        groups.setdefault(kind_of(inputs, may_pad), []).append(place)
    return list(groups.values())


def kind_of(inputs: Inputs, may_pad: bool = False) -> object:
    """What requests have in common that can be run as one."""
    if not may_pad:
        return tuple([(array.dtype, array.shape[1:]) for array in inputs])
    return tuple(
        (array.dtype, array.ndim if _can_be_padded(array) else array.shape[1:]) for array in inputs
    )


def _can_be_padded(array: np.ndarray) -> bool:
    # It is filled with its own first element, so it must have one.
    return array.size > 0 and array.ndim <= _MAX_PADDED_RANK


def joined(requests: Sequence[Inputs], size: int) -> list[np.ndarray]:
    """The inputs of requests of one group as one, `size` rows in all.

    What is too short is filled with its own first element; rows that are missing are
    copies of the first row of the last request.
    """
    if len(requests) == 1 and requests[0][0].shape[0] == size:
        return list(requests[0])
    return [_joined_input(arrays, size) for arrays in zip(*requests, strict=True)]


def _joined_input(arrays: tuple[np.ndarray, ...], size: int) -> np.ndarray:
    shape = arrays[0].shape[1:]
    if any(array.shape[1:] != shape for array in arrays):
        shape = tuple(max(sizes) for sizes in zip(*(a.shape[1:] for a in arrays), strict=True))
        arrays = tuple(_padded(array, shape) for array in arrays)
    missing = size - sum(array.shape[0] for array in arrays)
    if missing:
        filler = np.broadcast_to(arrays[-1][:1], (missing, *shape))
        arrays = (*arrays, filler)
    return np.concatenate(arrays)


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] == shape:
        return array
    padded = np.empty((array.shape[0], *shape), array.dtype)
    padded[...] = array.flat[0]
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


def parted(outputs: Sequence[np.ndarray], sizes: Sequence[int], size: int) -> list[Inputs]:
    """The outputs of each of the requests, of `sizes` rows, of a batch that ran as `size` rows.

    Raises:
        FailedPrecondition: an output does not have a row for each row of the inputs.
    """
    check_outputs(outputs, size)
    if len(sizes) == 1 and sizes[0] == size:
        return [outputs]
    stops = list(accumulate(sizes))
    cut = [_cut(output, sizes, stops) for output in outputs]
    return list(zip(*cut, strict=True)) if cut else [()] * len(sizes)


def _cut(output: np.ndarray, sizes: Sequence[int], stops: Sequence[int]) -> list[np.ndarray]:
    parts = [output[stop - rows : stop] for rows, stop in zip(sizes, stops, strict=True)]
    if output.nbytes < _LARGE_BYTES:
        return parts
    # An answer may be sent from where it lies: one slow reader would keep all the others'.
    return [part.copy() if 2 * part.nbytes < output.nbytes else part for part in parts]


def rejoined(parts: Sequence[Inputs]) -> list[np.ndarray]:
    """The outputs of a request that ran in pieces, from those of the pieces.

    Raises:
        FailedPrecondition: they do not fit together.
    """
    try:
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    except ValueError as error:
        raise FailedPrecondition(
            "The outputs of a request that ran in pieces have different shapes: send fewer "
            "rows, or raise max_execution_batch_size"
        ) from error


def check_outputs(outputs: Sequence[np.ndarray], size: int) -> None:
    """Whether each output has `size` rows.

    Raises:
        FailedPrecondition: one has not.
    """
    for output in outputs:
        if not output.ndim:
            raise FailedPrecondition("Batched output tensor has 0 dimensions")
        if output.shape[0] != size:
            raise FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors"
            )


def has_rows(outputs: Sequence[np.ndarray], size: int) -> bool:
    """Whether each output has `size` rows."""
    return all(output.ndim and output.shape[0] == size for output in outputs)
