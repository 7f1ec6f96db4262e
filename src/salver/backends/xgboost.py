"""XGBoost models: `model.json` or `model.ubj`, as `save_model` writes them.

From the package `xgboost-cpu`: Apache-2.0, the same library without that of GPUs, a twentieth of
the size; `xgboost` does as well. Runs hold no interpreter lock and go on side by side.
"""

import logging
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.boosted_functions import boosted_functions
from salver.backends.category_codes import CategoryCodes
from salver.backends.class_labels import numbered_labels
from salver.backends.columns import Layout, Table
from salver.backends.functions import FunctionServable
from salver.backends.model_file import model_bytes, starts_of
from salver.backends.prerequisites import imported, require_not_newer
from salver.backends.table_functions import Labels
from salver.backends.xgboost_booster import (
    InplaceBooster,
    LinearBooster,
    first_line,
    loaded_booster,
)
from salver.backends.xgboost_file import XGBoostFile, read_xgboost
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.errors import InvalidArgument

logger = logging.getLogger(__name__)

FILE_NAMES = ("model.ubj", "model.json")
_STARTS = re.compile(rb'\s*\{\s*"(learner|version)"\s*:|\{L\0\0\0\0\0\0\0\x07(learner|version)')
_LEARNER = re.compile(rb'"learner"\s*:|\x07learner')
_FLOAT = np.dtype(np.float32)
_MULTICLASS = ("multi:softprob", "multi:softmax")
_BINARY = "binary:logistic"
_TIMES_FILE = {".ubj": 5, ".json": 13}
"""What a model takes in memory, as a multiple of its file; it was measured. Text is read by Python,
and what that took stays with the process."""


class XGBoostBackend:
    """See `salver.core.backend.Backend`."""

    name = "xgboost"
    extra = "xgboost"
    wraps = False
    rows_are_independent = True

    def lacking(self, names: Collection[str]) -> str | None:
        return None if any(name in names for name in FILE_NAMES) else FILE_NAMES[0]

    def detects(self, folder: Path) -> bool:
        # Many frameworks have a `model.json`.
        starts = (starts_of(folder / name, 4096) for name in FILE_NAMES)
        return any(_STARTS.match(each) and _LEARNER.search(each) for each in starts)

    def loader(self, folder: str, options: BackendOptions) -> "XGBoostLoader":
        return XGBoostLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        path = _path(folder)
        return _TIMES_FILE[path.suffix] * path.stat().st_size


class XGBoostLoader:
    """Loads the model file of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Read and check the file, and have XGBoost load it. From a load thread.

        Raises:
            ServingError: there is no file, it is no model, or XGBoost is not installed.
        """
        path = _path(self._folder)
        where = f"Model {self._options.model_name}: {path.name}"
        data = model_bytes(path)
        xgboost = imported("xgboost", self._options, XGBoostBackend.extra)
        keep_freed_memory()
        try:
            file = read_xgboost(data)
        except ValueError as error:
            raise InvalidArgument(f"{where} is no model of XGBoost: {error}") from error
        require_not_newer(file.written_by, xgboost, where)
        if file.unreadable_categories:
            logger.warning(
                "%s: XGBoost keeps no names of categories that are not ASCII: send their codes",
                where,
            )
        threads = self._options.intra_op_threads or 1
        booster = loaded_booster(xgboost, data, threads, where)
        if file.objective in _MULTICLASS:
            # The same trees, but it tells the probabilities of all classes, not only the best.
            booster.set_param({"objective": _MULTICLASS[0]})
        runs: InplaceBooster | LinearBooster
        if file.booster == "gblinear":
            runs = LinearBooster(xgboost, booster, threads)
        else:
            end = 0 if file.best_iteration is None else file.best_iteration + 1
            runs = InplaceBooster(xgboost, booster, end, where)
        try:
            model = XGBoostModel(file, runs)
            self._servable = model.servable(self._folder, self._options.model_name)
        except xgboost.core.XGBoostError as error:
            message = f"{where} cannot be run: {first_line(str(error))}"
            raise InvalidArgument(message) from error
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        trim_memory()


class XGBoostModel:
    """What a booster computes from tables."""

    def __init__(self, file: XGBoostFile, booster: InplaceBooster | LinearBooster) -> None:
        self._booster = booster
        names = file.feature_names or [f"f{i}" for i in range(file.feature_count)]
        self._codes = CategoryCodes(names, file.categories, DataType.FLOAT, False)
        self._has_categories = any(file.categories)
        self._file = file
        self._layout = Layout(
            self._codes.columns,
            None if self._has_categories else DataType.FLOAT,
            bool(file.feature_names),
        )

    def servable(self, folder: Path, model_name: str) -> FunctionServable:
        """Run the booster once, which sets it up, and make the servable.

        Raises:
            ServingError: it cannot be run, or the labels in the folder do not fit.
        """
        probe = self._layout.nothing_known()
        labels: Labels | None = None
        if self._file.objective == _BINARY or self._file.objective in _MULTICLASS:
            values = self._values(probe)
            count = 2 if values.ndim == 1 else values.shape[1]
            labels = numbered_labels(folder, count, f"Model {model_name}")
        functions = boosted_functions(self._layout, labels, self._values, self._raw_scores, probe)
        return FunctionServable(model_name, functions)

    def _values(self, table: Table) -> np.ndarray:
        return self._booster.values(self._matrix(table))

    def _raw_scores(self, table: Table) -> np.ndarray:
        return self._booster.margins(self._matrix(table))

    def _matrix(self, table: Table) -> np.ndarray:
        return self._codes.matrix(table, _FLOAT) if isinstance(table, list) else table


def _path(folder: Path) -> Path:
    """The first of the files that is there, else the first."""
    return next(
        (folder / name for name in FILE_NAMES if (folder / name).exists()), folder / FILE_NAMES[0]
    )


BACKEND = XGBoostBackend()
