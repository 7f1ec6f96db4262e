"""LightGBM models: `model.txt`, as `save_model` writes it.

From the package `lightgbm`: MIT, 10 MB beside SciPy. Runs hold no interpreter lock and go on side
by side.
"""

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.boosted_functions import boosted_functions
from salver.backends.category_codes import CategoryCodes
from salver.backends.class_labels import numbered_labels
from salver.backends.columns import Layout, Table
from salver.backends.functions import FunctionServable
from salver.backends.lightgbm_booster import DirectBooster
from salver.backends.lightgbm_file import START, LightGBMFile, read_lightgbm
from salver.backends.model_file import model_bytes, starts_of
from salver.backends.prerequisites import imported, require_not_newer
from salver.backends.table_functions import Labels
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.errors import InvalidArgument

logger = logging.getLogger(__name__)
_its_own_logger = logger.getChild("library")
_its_own_logger.setLevel(logging.WARNING)

FILE_NAME = "model.txt"
_DOUBLE = np.dtype(np.float64)
_BINARY = "binary"
_MULTICLASS = ("multiclass", "multiclassova")
_TIMES_FILE = 5
"""What a model takes in memory, as a multiple of its file; it was measured."""


class LightGBMBackend:
    """See `salver.core.backend.Backend`."""

    name = "lightgbm"
    extra = "lightgbm"
    wraps = False
    rows_are_independent = True

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return starts_of(folder / FILE_NAME, 64).replace(b"\r", b"").startswith(START)

    def loader(self, folder: str, options: BackendOptions) -> "LightGBMLoader":
        return LightGBMLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return _TIMES_FILE * (folder / FILE_NAME).stat().st_size


class LightGBMLoader:
    """Loads the `model.txt` of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Read and check the file, and have LightGBM load it. From a load thread.

        Raises:
            ServingError: there is no file, it is no model, or LightGBM is not installed.
        """
        where = f"Model {self._options.model_name}: {FILE_NAME}"
        data = model_bytes(self._folder / FILE_NAME)
        lightgbm = imported("lightgbm", self._options, LightGBMBackend.extra)
        # Else it writes to the standard output.
        lightgbm.register_logger(_its_own_logger)
        keep_freed_memory()
        try:
            file = read_lightgbm(data)
        except ValueError as error:
            raise InvalidArgument(f"{where} is no model of LightGBM: {error}") from error
        require_not_newer(file.written_by, lightgbm, where)
        if file.unmatched_categories:
            logger.warning(
                "%s: which columns its %d lists of categories belong to cannot be told: "
                "send the codes of categories, not their names",
                where, file.unmatched_categories,
            )  # fmt: skip
        threads = self._options.intra_op_threads or 1
        booster = DirectBooster(lightgbm, file.text, len(file.feature_names), threads, where)
        model = LightGBMModel(file, booster)
        self._servable = model.servable(self._folder, self._options.model_name)
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        trim_memory()


class LightGBMModel:
    """What a booster computes from tables."""

    def __init__(self, file: LightGBMFile, booster: DirectBooster) -> None:
        self._file = file
        self._booster = booster
        self._codes = CategoryCodes(file.feature_names, file.categories, DataType.DOUBLE, True)
        matrix = None if any(file.categories) else DataType.DOUBLE
        self._layout = Layout(self._codes.columns, matrix)

    def servable(self, folder: Path, model_name: str) -> FunctionServable:
        """Run the booster once and make the servable.

        Raises:
            ServingError: the labels in the folder do not fit.
        """
        labels: Labels | None = None
        if self._file.objective == _BINARY or self._file.objective in _MULTICLASS:
            count = max(self._file.classes, 2)
            labels = numbered_labels(folder, count, f"Model {model_name}")
        probe = self._layout.nothing_known()
        functions = boosted_functions(self._layout, labels, self._values, self._raw_scores, probe)
        return FunctionServable(model_name, functions)

    def _values(self, table: Table) -> np.ndarray:
        return self._booster.values(self._matrix(table))

    def _raw_scores(self, table: Table) -> np.ndarray:
        return self._booster.raw_scores(self._matrix(table))

    def _matrix(self, table: Table) -> np.ndarray:
        return self._codes.matrix(table, _DOUBLE) if isinstance(table, list) else table


BACKEND = LightGBMBackend()
