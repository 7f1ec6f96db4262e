"""The shared library of TensorFlow: opening it, its version, its errors, its plug-ins.

One library per process. All functions may be called from any thread.
"""

from os import PathLike

class TensorFlowError(Exception):
    """What TensorFlow answered instead of doing it: a canonical code and its own text."""

    code: int
    """As in `tensorflow.error.Code`; never 0."""
    message: str
    def __init__(self, code: int, message: str) -> None: ...

def open_library(path: str | PathLike[str]) -> None:
    """Open `libtensorflow_cc.so.2`, once for the process; again does no harm.

    Its symbols stay local to this binding. Blocks for some 0.2 s, without the
    interpreter lock.

    Raises:
        OSError: it is not there, does not fit this machine, or lacks a function.
    """

def version() -> str:
    """The version of the opened library: `2.21.0`."""

def load_op_library(path: str | PathLike[str]) -> None:
    """Load a library of operations and kernels, for the life of the process.

    Raises:
        TensorFlowError: NOT_FOUND with the file's name if it cannot be opened.
    """
