"""Loads a TFLite model once for each of its bytes, with that byte turned round.

Run as a program with a version folder; prints how many files were refused and how
many were loaded and run. An error that is none of ours ends it, and so does a crash.
"""

import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

from salver.backends.tflite import TfLiteLoader
from salver.core.data_type import numpy_type_of
from salver.errors import ServingError


def main(folder: str) -> None:
    whole = (Path(folder) / "model.tflite").read_bytes()
    refused = loaded = 0
    with tempfile.TemporaryDirectory() as copy:
        for position in range(len(whole)):
            data = bytearray(whole)
            data[position] ^= 0xFF
            (Path(copy) / "model.tflite").write_bytes(data)
            try:
                _load_and_run(copy)
                loaded += 1
            except ServingError:
                refused += 1
    print(refused, loaded)


def _load_and_run(folder: str) -> None:
    loader = TfLiteLoader(folder)
    servable = loader.load()
    try:
        for signature in servable.signatures.values():
            feeds = tuple(spec.name for spec in signature.inputs.values())
            fetches = tuple(spec.name for spec in signature.outputs.values())
            types = [numpy_type_of(spec.data_type) for spec in signature.inputs.values()]
            servable.program(feeds, fetches).run([np.ones(2, kind) for kind in types])
    finally:
        loader.unload()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(sys.argv[1])
