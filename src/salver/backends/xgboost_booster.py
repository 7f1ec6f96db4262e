"""XGBoost's in-place prediction through its C interface, without a DMatrix for each request.

`Booster.inplace_predict` spends more time on finding out what it was given than a model of
hundreds of trees takes for a row. The functions used here are documented and stable, and those
that it calls itself. A call holds no interpreter lock.
"""

import ctypes
import json
from typing import Any

import numpy as np

from salver.errors import InvalidArgument

_VALUE, _MARGIN = 0, 1
_FLOAT = np.dtype(np.float32)


class InplaceBooster:
    """A booster that has been loaded. From any thread, several calls at once."""

    def __init__(self, xgboost: Any, booster: Any, end_iteration: int, where: str) -> None:
        """Take the booster of the module `xgboost`; `end_iteration` is 0 for all."""
        (path,) = xgboost.libpath.find_lib_path()[:1]
        library = ctypes.CDLL(path)
        self._predict = library.XGBoosterPredictFromDense
        self._last_error = library.XGBGetLastError
        self._last_error.restype = ctypes.c_char_p
        self._booster = booster
        self._where = where
        self._config = {kind: _config(kind, end_iteration) for kind in (_VALUE, _MARGIN)}

    def values(self, matrix: np.ndarray) -> np.ndarray:
        """What the objective makes of the scores: float32, shape [rows] or [rows, outputs].

        The matrix is of float32, aligned and contiguous.
        """
        return self._run(matrix, _VALUE)

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """The scores as the trees add up to them, in the same shape."""
        return self._run(matrix, _MARGIN)

    def _run(self, matrix: np.ndarray, kind: int) -> np.ndarray:
        rows, columns = matrix.shape
        shape = ctypes.POINTER(ctypes.c_uint64)()
        dimensions = ctypes.c_uint64()
        values = ctypes.POINTER(ctypes.c_float)()
        failed = self._predict(
            self._booster.handle,
            b'{"data":[%d,true],"shape":[%d,%d],"strides":null,"typestr":"<f4","version":3}'
            % (matrix.__array_interface__["data"][0], rows, columns),
            self._config[kind],
            None,
            ctypes.byref(shape),
            ctypes.byref(dimensions),
            ctypes.byref(values),
        )
        if failed:
            raise InvalidArgument(f"{self._where}: {first_line(self._last_error().decode())}")
        # XGBoost keeps the result for this thread until its next call.
        result = np.empty(shape[: dimensions.value], _FLOAT)
        ctypes.memmove(result.__array_interface__["data"][0], values, result.nbytes)
        return result


class LinearBooster:
    """A linear booster, which has no in-place prediction."""

    def __init__(self, xgboost: Any, booster: Any, threads: int) -> None:
        self._xgboost = xgboost
        self._booster = booster
        self._threads = threads

    def values(self, matrix: np.ndarray) -> np.ndarray:
        """See `InplaceBooster.values`."""
        return self._run(matrix, False)

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """See `InplaceBooster.margins`."""
        return self._run(matrix, True)

    def _run(self, matrix: np.ndarray, margins: bool) -> np.ndarray:
        data = self._xgboost.DMatrix(matrix, nthread=self._threads)
        found: np.ndarray = self._booster.predict(
            data, output_margin=margins, validate_features=False
        )
        return found


def loaded_booster(xgboost: Any, data: bytes, threads: int, where: str) -> Any:
    """A booster of a file's content, which has been checked.

    Raises:
        InvalidArgument: XGBoost refuses it.
    """
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(data))
        booster.set_param({"nthread": threads})
    except xgboost.core.XGBoostError as error:
        raise InvalidArgument(f"{where}: XGBoost refuses it: {first_line(str(error))}") from error
    return booster


def first_line(message: str) -> str:
    """An error of XGBoost without the place in its source and the stack."""
    line = message.strip().splitlines()[0] if message.strip() else "unknown error"
    return line.partition("hpp:")[2] or line.partition("cc:")[2] or line


def _config(kind: int, end_iteration: int) -> bytes:
    return json.dumps({
        "type": kind,
        "training": False,
        "iteration_begin": 0,
        "iteration_end": end_iteration,
        "missing": float("nan"),
        "strict_shape": False,
        "cache_id": 0,
    }).encode()  # fmt: skip
