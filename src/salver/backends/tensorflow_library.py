"""Where the installed TensorFlow keeps its library, and opening it.

The Python package `tensorflow` is looked up but never imported: that would take
seconds and hundreds of megabytes, and we call nothing of it.
"""

import importlib.util
import os
from pathlib import Path

from salver._tensorflow.library import TensorFlowError, load_op_library, open_library
from salver.errors import FailedPrecondition, error_of

_PATTERN = "libtensorflow_cc.so.*"
_OWN_THREADS = "TF_OVERRIDE_GLOBAL_THREADPOOL"


def open_tensorflow(op_libraries: tuple[str, ...] = ()) -> None:
    """Make TensorFlow ready in this process; again does no harm. From any thread.

    Raises:
        FailedPrecondition: TensorFlow is not installed, or not fit for this machine.
        ServingError: one of the `op_libraries` cannot be loaded.
    """
    path = find_library()
    # Five lines for every load say nothing that our own log does not; warnings stay.
    # TensorFlow has no other way to tell it, and reads it when its first line is due.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # With oneDNN, TensorFlow keeps a pool of its own that never shrinks: an unloaded model
    # would go on taking its memory. The system's allocator gives it back.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    try:
        open_library(path)
    except OSError as error:
        raise FailedPrecondition(f"TensorFlow cannot be opened: {error}") from error
    for library in op_libraries:
        try:
            load_op_library(library)
        except TensorFlowError as error:
            raise error_of(error.code, error.message) from error


def give_models_own_threads() -> None:
    """Have the number of threads in an operation be a matter of each model, not of the first.

    Takes effect only before the first model is loaded.
    """
    os.environ.setdefault(_OWN_THREADS, "1")


def models_have_own_threads() -> bool:
    """Whether each model brings threads for its operations: at least one."""
    return os.environ.get(_OWN_THREADS) == "1"


def find_library() -> Path:
    """The shared library in the installed package.

    Raises:
        FailedPrecondition: there is none.
    """
    package = importlib.util.find_spec("tensorflow")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for path in sorted(Path(folder).glob(_PATTERN)):
            return path
    raise FailedPrecondition(
        "TensorFlow is not installed: its models need `pip install 'salver[tensorflow]'`"
        if not folders
        else f"The installed TensorFlow has no {_PATTERN}: {', '.join(folders)}"
    )
