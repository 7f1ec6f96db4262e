"""LightGBM's prediction through its C interface.

`Booster.predict` spends more on finding out what it was given than a model of a hundred small trees
takes for a row. A call holds no interpreter lock.
Source: https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

import ctypes
import threading
from typing import Any

import numpy as np

from salver.errors import InvalidArgument

_NORMAL, _RAW_SCORE = 0, 1
"""C_API_PREDICT_NORMAL, C_API_PREDICT_RAW_SCORE."""
_FLOAT64, _ROW_MAJOR, _ALL = 1, 1, -1
"""C_API_DTYPE_FLOAT64, rows that lie one after the other, and iterations."""
_DOUBLE = np.dtype(np.float64)


class DirectBooster:
    """A booster, read from a file's content. From any thread, several calls at once."""

    def __init__(self, lightgbm: Any, text: str, columns: int, threads: int, where: str) -> None:
        """Read the model, which has been checked.

        Args:
            lightgbm: the module.
            text: of the file.
            columns: of the rows.
            threads: for each call.
            where: begins messages.

        Raises:
            InvalidArgument: LightGBM refuses it.
        """
        self._library = lightgbm.basic._LIB
        self._library.LGBM_GetLastError.restype = ctypes.c_char_p
        self._where = where
        self._columns = columns
        self._parameters = b"num_threads=%d" % threads
        self._handle = ctypes.c_void_p()
        self._of_thread = threading.local()
        self._row_configs: list[ctypes.c_void_p] = []
        iterations = ctypes.c_int()
        self._require(
            self._library.LGBM_BoosterLoadModelFromString(
                text.encode(), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        self._outputs = {kind: self._outputs_of(kind) for kind in (_NORMAL, _RAW_SCORE)}

    def __del__(self) -> None:
        for config in self._row_configs:
            self._library.LGBM_FastConfigFree(config)
        if self._handle:
            self._library.LGBM_BoosterFree(self._handle)

    def values(self, matrix: np.ndarray) -> np.ndarray:
        """What the objective makes of the scores: float64, shape [rows] or [rows, outputs].

        The matrix is of float64, aligned and contiguous.
        """
        return self._run(matrix, _NORMAL)

    def raw_scores(self, matrix: np.ndarray) -> np.ndarray:
        """The scores as the trees add up to them, in the same shape."""
        return self._run(matrix, _RAW_SCORE)

    def _run(self, matrix: np.ndarray, kind: int) -> np.ndarray:
        rows, outputs = len(matrix), self._outputs[kind]
        result = np.empty((rows, outputs) if outputs > 1 else rows, _DOUBLE)
        count = ctypes.c_int64()
        given = ctypes.c_void_p(matrix.__array_interface__["data"][0])
        taken = ctypes.c_void_p(result.__array_interface__["data"][0])
        if rows == 1:
            failed = self._library.LGBM_BoosterPredictForMatSingleRowFast(
                self._row_config(kind), given, ctypes.byref(count), taken
            )
        elif rows:
            failed = self._library.LGBM_BoosterPredictForMat(
                *(self._handle, given, _FLOAT64, rows, self._columns, _ROW_MAJOR),
                *(kind, 0, _ALL, self._parameters, ctypes.byref(count), taken),
            )
        else:
            return result
        self._require(failed)
        return result

    def _row_config(self, kind: int) -> ctypes.c_void_p:
        """What a row is predicted with: a buffer, so each thread has its own."""
        name = f"row_config_{kind}"
        config: ctypes.c_void_p | None = getattr(self._of_thread, name, None)
        if config is None:
            config = ctypes.c_void_p()
            self._require(
                self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                    *(self._handle, kind, 0, _ALL, _FLOAT64, self._columns, self._parameters),
                    ctypes.byref(config),
                )
            )
            self._row_configs.append(config)
            setattr(self._of_thread, name, config)
        return config

    def _outputs_of(self, kind: int) -> int:
        count = ctypes.c_int64()
        self._require(
            self._library.LGBM_BoosterCalcNumPredict(
                self._handle, 1, kind, 0, _ALL, ctypes.byref(count)
            )
        )
        return count.value

    def _require(self, failed: int) -> None:
        if failed:
            told = self._library.LGBM_GetLastError().decode("utf-8", "replace")
            raise InvalidArgument(f"{self._where}: LightGBM refuses it: {told}")
