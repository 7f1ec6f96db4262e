"""scikit-learn models: `model.skops`; `model.joblib` and `model.pkl` where pickles are allowed.

From the packages `scikit-learn` (BSD), `skops` (MIT) and `pandas` (BSD), which tables of words and
numbers need. Requests of a row or a few are mostly Python code, which holds the interpreter lock.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.functions import FunctionServable
from salver.backends.sklearn_check import check_estimator
from salver.backends.sklearn_file import FILE_NAMES, load_estimator
from salver.backends.sklearn_model import SklearnModel
from salver.core.backend import BackendOptions
from salver.errors import InvalidArgument

logger = logging.getLogger(__name__)

_MLFLOW = "MLmodel"
_TIMES_FILE = {".skops": 3, ".joblib": 2, ".pkl": 2}
"""What a forest takes in memory, as a multiple of its file; it was measured. One that is mostly
arrays takes a third to half of that."""


class SklearnBackend:
    """See `salver.core.backend.Backend` and `LockHolder`."""

    name = "sklearn"
    extra = "sklearn"
    wraps = False
    rows_are_independent = True
    holds_interpreter_lock = True

    def lacking(self, names: Collection[str]) -> str | None:
        found = _MLFLOW not in names and any(name in names for name in FILE_NAMES)
        return None if found else FILE_NAMES[0]

    def detects(self, folder: Path) -> bool:
        # MLflow keeps models of many frameworks under these names.
        return self.lacking([path.name for path in folder.iterdir() if path.is_file()]) is None

    def loader(self, folder: str, options: BackendOptions) -> "SklearnLoader":
        return SklearnLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        paths = (folder / name for name in FILE_NAMES)
        sizes = [_TIMES_FILE[path.suffix] * path.stat().st_size for path in paths if path.exists()]
        return max(sizes, default=0)


class SklearnLoader:
    """Loads the model file of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Load the estimator, check it and try it. From a load thread.

        Raises:
            ServingError: see `load_estimator`; or it is damaged, or cannot be served.
        """
        keep_freed_memory()
        where = f"Model {self._options.model_name}"
        estimator, saved_by = load_estimator(self._folder, self._options)
        if saved_by:
            logger.warning(
                "%s was saved with scikit-learn %s; the installed version may answer differently",
                where, saved_by,
            )  # fmt: skip
        try:
            check_estimator(estimator)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"{where} is damaged: {error}") from error
        self._servable = SklearnModel(estimator, self._options).servable()
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        trim_memory()


BACKEND = SklearnBackend()
