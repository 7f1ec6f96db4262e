"""Damages a model file of a framework for tables in many places, one at a time.

Run as a program with a backend, a version folder, the name of the file and a number of trials;
prints how many files were refused and how many were loaded and run. An error that is none of
ours ends it, and so does a crash.
"""

import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from salver.backends.registry import Backends
from salver.core.backend import BackendOptions
from salver.core.data_type import numpy_type_of
from salver.core.servable import Loader, Servable
from salver.errors import ServingError


def main(platform: str, folder: str, name: str, trials: str) -> None:
    whole = (Path(folder) / name).read_bytes()
    rng = random.Random(3)
    refused = loaded = 0
    backend = Backends().named(platform)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "1"
        shutil.copytree(folder, copy)
        for _ in range(int(trials)):
            (copy / name).write_bytes(damaged(whole, rng))
            loader = backend.loader(str(copy), BackendOptions(model_name="m"))
            try:
                load_and_run(loader)
                loaded += 1
            except ServingError:
                refused += 1
            finally:
                loader.unload()
    print(refused, loaded)


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """One number of a text changed, or one byte, or a few; or a piece is gone."""
    data = bytearray(whole)
    position = rng.randrange(len(data))
    kind = rng.random()
    digits = [i for i in range(position, min(position + 400, len(data))) if chr(data[i]).isdigit()]
    if kind < 0.5 and digits:
        data[digits[0]] = ord(str(rng.randrange(10)))
        if rng.random() < 0.3:
            data[digits[0] : digits[0]] = b"99"
    elif kind < 0.9:
        for _ in range(rng.choice([1, 1, 4])):
            data[min(position + rng.randrange(8), len(data) - 1)] = rng.choice([0, 1, 127, 255])
    else:
        del data[position : position + rng.randrange(1, 64)]
    return bytes(data)


def load_and_run(loader: Loader) -> None:
    servable = loader.load()
    for name in servable.signatures:
        if name not in ("classify", "regress"):
            run(servable, name)


def run(servable: Servable, name: str) -> None:
    signature = servable.signatures[name]
    feeds = tuple(spec.name for spec in signature.inputs.values())
    fetches = tuple(spec.name for spec in signature.outputs.values())
    arrays = []
    for spec in signature.inputs.values():
        shape = [3 if size < 0 else size for size in spec.shape or (3,)]
        array = np.zeros(shape, numpy_type_of(spec.data_type))
        if array.dtype == object:
            array.fill(b"")
        arrays.append(array)
    servable.program(feeds, fetches).run(arrays)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(*sys.argv[1:])
