"""Loads a model once for each of its bytes, with that byte turned round.

Run as a program with a version folder, and how many bytes at most, spread over the file;
prints how many files were refused and how many were loaded. Those are run, too. An error that
is none of ours ends it, and so does a crash.
"""

import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

from salver.backends.registry import Backends
from salver.core.backend import BackendOptions
from salver.core.data_type import numpy_type_of
from salver.core.signature import TensorSpec
from salver.errors import ServingError


def main(folder: str, most: int = sys.maxsize) -> None:
    (file,) = Path(folder).iterdir()
    whole = file.read_bytes()
    refused = loaded = 0
    with tempfile.TemporaryDirectory() as copy:
        for position in range(0, len(whole), max(len(whole) // most, 1)):
            data = bytearray(whole)
            data[position] ^= 0xFF
            (Path(copy) / file.name).write_bytes(data)
            try:
                _load_and_run(copy)
                loaded += 1
            except ServingError:
                refused += 1
    print(refused, loaded)


def _load_and_run(folder: str) -> None:
    backend = Backends().of_folder(Path(folder))
    assert backend is not None
    loader = backend.loader(folder, BackendOptions(model_name="damaged"))
    try:
        servable = loader.load()
        for signature in servable.signatures.values():
            feeds = tuple(spec.name for spec in signature.inputs.values())
            fetches = tuple(spec.name for spec in signature.outputs.values())
            arrays = [_ones(spec) for spec in signature.inputs.values()]
            servable.program(feeds, fetches).run(arrays)
    finally:
        loader.unload()


def _ones(spec: TensorSpec) -> np.ndarray:
    shape = (2,) if spec.shape is None else [min(abs(size), 9) for size in spec.shape]
    return np.ones(shape, numpy_type_of(spec.data_type))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(sys.argv[1], *map(int, sys.argv[2:]))
