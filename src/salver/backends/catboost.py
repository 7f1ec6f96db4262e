"""CatBoost models: `model.cbm`, as `save_model` writes it.

From the package `catboost`: Apache-2.0, 270 MB, and as much again with what it needs. Runs hold no
interpreter lock and go on side by side; only the making of its own table from a request does.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.boosted_functions import boosted_functions
from salver.backends.catboost_file import START, check_catboost
from salver.backends.columns import Column, Layout, Table
from salver.backends.functions import FunctionServable, byte_strings
from salver.backends.model_file import model_bytes, starts_of
from salver.backends.prerequisites import imported
from salver.backends.table_functions import Labels
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.errors import InvalidArgument, Unimplemented

FILE_NAME = "model.cbm"
_TIMES_FILE = 1
"""What a model takes in memory, as a multiple of its file; it was measured."""
_SEVERAL_LABELS = ("MultiLogloss", "MultiCrossEntropy")
"""Losses of models whose rows have any number of the labels, each with a probability."""
_VALUES_OF = {
    "Poisson": "Exponent",
    "Tweedie": "Exponent",
    "RMSEWithUncertainty": "RMSEWithUncertainty",
}
"""What CatBoostRegressor makes of the raw scores, by the loss; nothing for all others."""
_RAW = "RawFormulaVal"
_PROBABILITY = "Probability"


class CatBoostBackend:
    """See `salver.core.backend.Backend`."""

    name = "catboost"
    extra = "catboost"
    wraps = False
    rows_are_independent = True

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return starts_of(folder / FILE_NAME, len(START)) == START

    def loader(self, folder: str, options: BackendOptions) -> "CatBoostLoader":
        return CatBoostLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return _TIMES_FILE * (folder / FILE_NAME).stat().st_size


class CatBoostLoader:
    """Loads the `model.cbm` of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Read and check the file, and have CatBoost load it. From a load thread.

        Raises:
            ServingError: there is no file, it is no model, or CatBoost is not installed.
        """
        where = f"Model {self._options.model_name}: {FILE_NAME}"
        data = model_bytes(self._folder / FILE_NAME)
        catboost = imported("catboost", self._options, CatBoostBackend.extra)
        keep_freed_memory()
        try:
            check_catboost(data)
        except ValueError as error:
            raise InvalidArgument(f"{where} is no model of CatBoost: {error}") from error
        try:
            booster = catboost.CatBoost()
            booster.load_model(blob=data)
            model = CatBoostModel(booster, self._options.intra_op_threads or 1, where)
            self._servable = model.servable(self._options.model_name)
        except (catboost.CatBoostError, KeyError, TypeError, ValueError) as error:
            # CatBoost keeps JSON in its files, and reads it with Python.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InvalidArgument(f"{where}: CatBoost refuses it: {reason}") from error
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        trim_memory()


class CatBoostModel:
    """What a model computes from tables."""

    def __init__(self, booster: Any, threads: int, where: str) -> None:
        """Look at a model that CatBoost has loaded.

        Raises:
            Unimplemented: it takes embeddings.
        """
        self._booster = booster
        self._threads = threads
        self._where = where
        if booster.get_embedding_feature_indices():
            raise Unimplemented(f"{where} has features that are vectors; columns are served only")
        words = {*booster.get_cat_feature_indices(), *booster.get_text_feature_indices()}
        self._layout = Layout(
            tuple(
                Column(name, DataType.STRING if i in words else DataType.FLOAT)
                for i, name in enumerate(booster.feature_names_)
            ),
            None if words else DataType.FLOAT,
        )
        self._loss = _loss_of(booster)
        self._value_kind = _VALUES_OF.get(self._loss, _RAW)

    def servable(self, model_name: str) -> FunctionServable:
        """Run the model once and make the servable."""
        classes = np.asarray(self._booster.classes_)
        labels: Labels | None = None
        if len(classes):
            self._value_kind = _PROBABILITY
            if self._loss not in _SEVERAL_LABELS:
                labels = Labels(byte_strings(classes) if classes.dtype.kind in "UO" else classes)
        functions = boosted_functions(
            self._layout,
            labels,
            lambda table: self._run(table, self._value_kind),
            lambda table: self._run(table, _RAW),
            self._probe(),
            self._threshold(),
        )
        return FunctionServable(model_name, functions)

    def _probe(self) -> Table:
        if self._layout.matrix is not None:
            return self._layout.nothing_known()
        # CatBoost knows no missing words.
        empty = np.array([b""], object)
        missing = np.array([np.nan], np.float32)
        columns = self._layout.columns
        return [empty if each.data_type is DataType.STRING else missing for each in columns]

    def _threshold(self) -> float:
        try:
            return float(self._booster.get_metadata()["binclass_probability_threshold"])
        except KeyError:
            return 0.5

    def _run(self, table: Table, kind: str) -> np.ndarray:
        rows = _rows(table) if isinstance(table, list) else table
        found: np.ndarray = self._booster.predict(
            rows, prediction_type=kind, thread_count=self._threads
        )
        return found


def _rows(columns: Sequence[np.ndarray]) -> np.ndarray:
    """A matrix of objects, in which CatBoost takes words and numbers side by side."""
    rows = np.empty((len(columns[0]), len(columns)), object)
    for i, column in enumerate(columns):
        rows[:, i] = _texts(column) if column.dtype == object else column
    return rows


def _texts(column: np.ndarray) -> list[str]:
    texts = column.tolist()
    if any(not isinstance(text, bytes) for text in texts):
        raise ValueError("a category or text is missing, and CatBoost takes none that are")
    return [text.decode() for text in texts]


def _loss_of(booster: Any) -> str:
    try:
        return str(json.loads(booster.get_metadata()["params"])["loss_function"]["type"])
    except (KeyError, TypeError, ValueError):
        return ""


BACKEND = CatBoostBackend()
