"""TensorFlow in a child process, so that it never shares one with what is tested."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


class TensorFlowChild:
    """Asks `tensorflow_oracle.py`. Any thread but one at a time."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("tensorflow_oracle.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def parse(self, message: bytes, data_type: int) -> Any:
        """(shape, values) of a serialized TensorProto, None if TensorFlow refuses it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((message, int(data_type)), self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def stop(self) -> None:
        self._process.communicate()


def as_parsed(array: np.ndarray) -> tuple[tuple[int, ...], Any]:
    """An array in the form in which the child answers."""
    if array.dtype == object:
        return array.shape, array.ravel().tolist()
    return array.shape, array.tobytes()
