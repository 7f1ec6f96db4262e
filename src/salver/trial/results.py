"""Outputs of a trial: printed as `saved_model_cli run` prints them, and saved as `.npy` files."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np

from salver.errors import AlreadyExists, FailedPrecondition, InvalidArgument


def require_free(outdir: str, names: Iterable[str], *, overwrite: bool) -> None:
    """See, before the model runs, that every output can be written and none is overwritten.

    Raises:
        AlreadyExists: a file is there, and `overwrite` is not said.
        InvalidArgument: an output has a name that leads out of the folder, or no folder is there.
    """
    if os.path.exists(outdir) and not os.path.isdir(outdir):
        raise InvalidArgument(f"--outdir: {outdir} is a file, not a folder")
    for name in names:
        path = _path(outdir, name)
        if not overwrite and path.exists():
            raise AlreadyExists(
                f"Output file {path} already exists. Add --overwrite to overwrite the existing "
                "output files"
            )


def show(outputs: Mapping[str, np.ndarray], stream: TextIO) -> None:
    """Print every output, in order of name."""
    for name in sorted(outputs):
        # One number as a number: of an array of no dimensions, NumPy prints digits it has not.
        stream.write(f"Result for output key {name}:\n{outputs[name][()]!s}\n")


def show_and_save(outputs: Mapping[str, np.ndarray], outdir: str, stream: TextIO) -> None:
    """Print every output in order of name, and write it to `outdir`, which is made if need be.

    Strings are written with a fixed width, so that `np.load` needs no consent to pickles; where
    that would lose a zero byte at the end of one, as objects.

    Raises:
        FailedPrecondition: a file cannot be written.
    """
    try:
        os.makedirs(outdir, exist_ok=True)
        for name in sorted(outputs):
            show({name: outputs[name]}, stream)
            path = _path(outdir, name)
            # Beside, then in its place: who is interrupted keeps the file that was there.
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                with open(beside, "wb") as file:
                    np.save(file, _storable(outputs[name]))
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
            stream.write(f"Output {name} is saved to {path}\n")
    except OSError as error:
        raise FailedPrecondition(f"--outdir: {error.filename}: {error.strerror}") from error


def _path(outdir: str, name: str) -> Path:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidArgument(f"--outdir: the output {name!r} has no name for a file")
    return Path(outdir, f"{name}.npy")


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "O" and array.size:
        fixed = array.astype(np.bytes_)
        if fixed.tolist() == array.tolist():
            return fixed
    return array
