"""The files of scikit-learn models: skops' archives, and pickles where they are allowed."""

import io
import threading
import warnings
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from salver.backends.model_file import model_bytes
from salver.backends.prerequisites import imported, require_pickle_allowed
from salver.core.backend import BackendOptions
from salver.errors import InvalidArgument, NotFound, PermissionDenied

SKOPS_NAME = "model.skops"
PICKLE_NAMES = ("model.joblib", "model.pkl")
FILE_NAMES = (SKOPS_NAME, *PICKLE_NAMES)

HARMLESS = frozenset({
    "functools.partial",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
})  # fmt: skip
"""Parts of scikit-learn's own models that skops does not list: numbers that native code believes,
which `sklearn_check` looks at, and what does nothing beyond that which it is given."""

_ALWAYS_ALLOWED = 64 << 20
_MOST_TIMES = 50
"""An archive may unpack to so many bytes, or times its own size."""

_warnings_lock = threading.Lock()


def load_estimator(folder: Path, options: BackendOptions) -> tuple[Any, str]:
    """The object in the first of the files that is there, and the version that saved it.

    The version is empty if it is the installed one. From a load thread.

    Raises:
        NotFound: there is no file.
        PermissionDenied: it is a pickle, or holds types that the operator has not trusted.
        FailedPrecondition: scikit-learn or skops is not installed.
        InvalidArgument: it cannot be read.
    """
    path = next((folder / name for name in FILE_NAMES if (folder / name).exists()), None)
    if path is None:
        raise NotFound(f"{folder / SKOPS_NAME}; No such file or directory")
    imported("sklearn", options, "sklearn")
    # Filters of warnings are the whole process's: two loads must not put back each other's.
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = _loaded(path, options)
        except (InvalidArgument, NotFound, PermissionDenied):
            raise
        except Exception as error:
            raise InvalidArgument(
                f"Model {options.model_name}: {path.name} cannot be read: "
                f"{type(error).__name__}: {error}"
            ) from error
    versions = (getattr(each.message, "original_sklearn_version", "") for each in caught)
    return estimator, next((str(version) for version in versions if version), "")


def _loaded(path: Path, options: BackendOptions) -> Any:
    if path.name != SKOPS_NAME:
        require_pickle_allowed(path.name, options)
        joblib = imported("joblib", options, "sklearn")
        return joblib.load(io.BytesIO(model_bytes(path)))
    skops = imported("skops.io", options, "sklearn")
    data = model_bytes(path)
    where = f"Model {options.model_name}: {path.name}"
    try:
        check_archive(data)
    except (ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InvalidArgument(f"{where} is no archive of skops: {error}") from error
    trusted = HARMLESS | options.trusted_types
    _require_trusted(frozenset(skops.get_untrusted_types(data=data)) - trusted, where)
    return skops.loads(data, trusted=sorted(trusted))


def _require_trusted(unknown: Collection[str], where: str) -> None:
    if unknown:
        names = ",".join(sorted(unknown))
        raise PermissionDenied(
            f"{where} holds types that could run code when they are loaded or used: {names}; "
            f"--skops_trusted_types={names} allows them, if you know and trust them"
        )


def check_archive(data: bytes, depth: int = 0) -> None:
    """Check that an archive unpacks to what its size promises, and into itself alone.

    Raises:
        ValueError: it does not.
        BadZipFile: it is none.
        NotImplementedError: it is packed in a way that Python does not know.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        if total > max(_ALWAYS_ALLOWED, _MOST_TIMES * len(data)):
            raise ValueError(f"its {len(data)} bytes claim to unpack to {total}")
        for entry in archive.infolist():
            name = entry.filename
            if "/" in name or "\\" in name or name.startswith("."):
                raise ValueError(f"it has a file {name!r}")
            if name.endswith(".npy"):
                with archive.open(entry) as file:
                    _check_array(file, entry.file_size)
            elif name.endswith(".npz") and not depth:
                check_archive(archive.read(entry), depth + 1)


def _check_array(file: Any, size: int) -> None:
    """Check that the head of an array promises no more than there is."""
    version = np.lib.format.read_magic(file)
    read_head = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_head is None:
        raise ValueError(f"it has an array in version {version}")
    shape, _, numpy_type = read_head(file)
    count = 1
    for each in shape:
        count *= each
    if min(shape, default=0) < 0 or numpy_type.hasobject or count * numpy_type.itemsize > size:
        raise ValueError(f"it has an array of {numpy_type} {shape} in {size} bytes")
