"""Arrays made to fit what a signature declares: cast where nothing is lost, else refused."""

import numpy as np

from salver.core.data_type import DataType, data_type_of, numpy_type_of
from salver.core.signature import TensorSpec
from salver.errors import InvalidArgument

_FLOATS = frozenset((
    DataType.HALF, DataType.BFLOAT16, DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT8_E5M2,
    DataType.FLOAT8_E4M3FN, DataType.FLOAT8_E4M3FNUZ, DataType.FLOAT8_E4M3B11FNUZ,
    DataType.FLOAT8_E5M2FNUZ,
))  # fmt: skip
_COMPLEX = frozenset((DataType.COMPLEX64, DataType.COMPLEX128))


def fitted(name: str, array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """An array of the declared type and shape, in the machine's byte order.

    Numbers become numbers of another type if none changes but by rounding to a float: 2.0 may be
    an int32, 2.5 may not, and 1e300 is no float. Text becomes strings in UTF-8.

    Raises:
        InvalidArgument: the type or the shape does not fit; the message names both.
    """
    wanted = numpy_type_of(spec.data_type)
    if wanted is None:
        raise InvalidArgument(
            f"input {name!r} is of type {spec.data_type.short_name}, which cannot be given"
        )
    fits = _cast(name, array, spec, wanted)
    if not _has_shape(fits.shape, spec.shape):
        raise InvalidArgument(
            f"input {name!r} has shape {shown(spec.shape)}, but {shown(fits.shape)} is given"
        )
    return np.ascontiguousarray(fits).reshape(fits.shape)


def shown(shape: tuple[int, ...] | None) -> str:
    """A shape as TensorFlow's errors have it: `[?,4]`."""
    if shape is None:
        return "of any rank"
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"


def _has_shape(shape: tuple[int, ...], declared: tuple[int, ...] | None) -> bool:
    return declared is None or (
        len(shape) == len(declared)
        and all(want in (-1, size) for size, want in zip(shape, declared, strict=True))
    )


def _cast(name: str, array: np.ndarray, spec: TensorSpec, wanted: np.dtype) -> np.ndarray:
    if array.dtype == wanted and spec.data_type is not DataType.STRING:
        return array.astype(wanted, copy=False)
    if spec.data_type is DataType.STRING:
        return _strings(name, array)
    # NumPy's files know the types of ml_dtypes as bytes without a meaning.
    if array.dtype.kind == "V" and array.dtype.names is None:
        if array.dtype.itemsize == wanted.itemsize:
            return array.view(wanted)
        raise _refused(name, array, spec)
    found = data_type_of(array.dtype)
    if found in (DataType.INVALID, DataType.STRING) or wanted.names:
        raise _refused(name, array, spec)
    if found in _COMPLEX and spec.data_type not in _COMPLEX:
        raise _refused(name, array, spec)
    with np.errstate(all="ignore"):
        cast = array.astype(wanted)
    changed = _changed(array, cast, found, spec.data_type)
    if changed.any():
        value = array[changed].flat[0]
        raise InvalidArgument(
            f"input {name!r} is {spec.data_type.short_name}, but {found.short_name} is given "
            f"and {value} does not fit"
        )
    return cast


def _changed(array: np.ndarray, cast: np.ndarray, found: DataType, wanted: DataType) -> np.ndarray:
    """Which elements are another number now, rounding apart."""
    if wanted in _FLOATS or wanted in _COMPLEX:
        # `isfinite` of some small types is not there, of float64 it is.
        wide = np.complex128 if wanted in _COMPLEX else np.float64
        before = array.astype(np.complex128 if found in _COMPLEX else np.float64)
        return np.isfinite(before) & ~np.isfinite(cast.astype(wide))
    with np.errstate(all="ignore"):
        back = cast.astype(array.dtype)
    # From 2**63 on, a float is changed to an integer of any value, and perhaps back by chance.
    changed: np.ndarray = (back != array) | ((cast.astype(np.float64) < 0) != (array < 0))
    return changed


def _strings(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "SUOT":
        raise InvalidArgument(
            f"input {name!r} is string, but {data_type_of(array.dtype).short_name} is given"
        )
    values = []
    for value in array.flat:
        if not isinstance(value, str | bytes):
            raise InvalidArgument(f"input {name!r} is string, but {value!r:.80} is given")
        # NumPy has a subclass of bytes, which the bindings do not take for them.
        values.append(value.encode() if isinstance(value, str) else bytes(value))
    strings = np.empty(len(values), object)
    strings[:] = values
    return strings.reshape(array.shape)


def _refused(name: str, array: np.ndarray, spec: TensorSpec) -> InvalidArgument:
    found = data_type_of(array.dtype)
    given = array.dtype if found is DataType.INVALID else found.short_name
    return InvalidArgument(f"input {name!r} is {spec.data_type.short_name}, but {given} is given")
