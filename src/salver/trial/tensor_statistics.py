"""What is to be known of one tensor at a glance: shape, dtype, range, NaN and Inf."""

from dataclasses import dataclass

import numpy as np

from salver.core.data_type import DataType, data_type_of


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Of one array. Minimum, mean and maximum are those of the finite values."""

    data_type: DataType
    shape: tuple[int, ...]
    minimum: float | None
    """None, as mean and maximum, for strings and where no value is finite."""
    mean: float | None
    maximum: float | None
    nan_count: int
    inf_count: int


def statistics_of(array: np.ndarray) -> TensorStatistics:
    """Look at every value once."""
    data_type = data_type_of(array.dtype)
    if array.dtype.kind in "OSU":
        return TensorStatistics(data_type, array.shape, None, None, None, 0, 0)
    if array.dtype.names:
        array = array[array.dtype.names[0]]
    if array.dtype.kind == "c":
        values = array.astype(np.complex128)
        nan_count, inf_count = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        return TensorStatistics(data_type, array.shape, None, None, None, nan_count, inf_count)
    values = array.astype(np.float64)
    nans, infs = np.isnan(values), np.isinf(values)
    finite = values[~(nans | infs)]
    if not finite.size:
        ends: tuple[float | None, float | None, float | None] = (None, None, None)
    else:
        ends = (float(finite.min()), float(finite.mean()), float(finite.max()))
    return TensorStatistics(data_type, array.shape, *ends, int(nans.sum()), int(infs.sum()))
