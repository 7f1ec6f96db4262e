"""A model written in Python that does what a request says, also what models should not do.

Its loader is one for `salver.isolation`: it is made in a worker process. The first input,
`action`, is a list of strings: what to do and what with.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from salver.core.data_type import DataType
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, NotFound

KEPT: list[Any] = []
"""What requests leave behind in the process."""


def _signature(name: str) -> Signature:
    return Signature(
        name,
        {
            "action": TensorSpec("action", DataType.STRING, (-1,)),
            "x": TensorSpec("x", DataType.FLOAT, None),
        },
        {"y": TensorSpec("y", DataType.FLOAT, None)},
        "tensorflow/serving/predict",
        {"x": np.array([1, 2, 3], np.float32)},
    )


class ActingServable:
    signatures: Mapping[str, Signature] = {"serving_default": _signature("serving_default")}
    signature_def_map = b"definitions"

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        if not set(feeds) <= {"action", "x"} or set(fetches) != {"y"}:
            raise InvalidArgument(f"No tensors {feeds} and {fetches}")
        return _ActingProgram(feeds, fetches)


class _ActingProgram:
    def __init__(self, feeds: Sequence[str], fetches: Sequence[str]) -> None:
        self._feeds = feeds
        self._fetches = fetches

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        fed = dict(zip(self._feeds, inputs, strict=True))
        words = [word.decode() for word in fed["action"]] or ["echo"]
        y = ACTIONS[words[0]](fed["x"], *words[1:])
        return [y for _ in self._fetches]


def _double_in_place(x: np.ndarray) -> np.ndarray:
    x *= 2
    return x


def _keep(x: np.ndarray) -> np.ndarray:
    KEPT.append(x)
    return np.array([len(KEPT)], np.float32)


def _kept_sums(x: np.ndarray) -> np.ndarray:
    return np.array([float(kept.sum()) for kept in KEPT], np.float32)


def _forget(x: np.ndarray) -> np.ndarray:
    KEPT.clear()
    return x


def _leak(x: np.ndarray, megabytes: str) -> np.ndarray:
    KEPT.append(bytearray(os.urandom(1024) * 1024 * int(megabytes)))
    return x


def _crash(x: np.ndarray) -> np.ndarray:
    ctypes.string_at(0)
    return x


def _exit(x: np.ndarray, code: str) -> np.ndarray:
    os._exit(int(code))


def _leave(x: np.ndarray) -> np.ndarray:
    sys.exit("a model should not do this")


def _fail(x: np.ndarray) -> np.ndarray:
    raise TimeoutError("no answer from elsewhere")


def _refuse(x: np.ndarray) -> np.ndarray:
    raise InvalidArgument("x is not to my taste")


def _hold(x: np.ndarray, seconds: str) -> np.ndarray:
    """Holds the interpreter lock: a loop in Python with nothing that lets it go of itself."""
    until = time.perf_counter() + float(seconds)
    while time.perf_counter() < until:
        pass
    return x


def _wait_for(x: np.ndarray, begun: str, go: str) -> np.ndarray:
    """Tells by a named pipe that it runs, and runs until another is written to."""
    Path(begun).write_text("begun")
    Path(go).read_text()
    return x


def _fork(x: np.ndarray, pid_file: str) -> np.ndarray:
    """Leaves a child behind that holds everything open that the worker has."""
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    Path(pid_file).write_text(str(child))
    os._exit(7)


def _objects(x: np.ndarray) -> np.ndarray:
    return np.array([None, 1], object)


def _no_array(x: np.ndarray) -> Any:
    return "text"


ACTIONS: dict[str, Any] = {
    "echo": lambda x: x,
    "copy": lambda x: x.copy(),
    "pid": lambda x: np.array([os.getpid()], np.float64),
    "writeable": lambda x: np.array([x.flags.writeable]),
    "double": _double_in_place,
    "keep": _keep,
    "kept_sums": _kept_sums,
    "forget": _forget,
    "leak": _leak,
    "crash": _crash,
    "exit": _exit,
    "leave": _leave,
    "fail": _fail,
    "refuse": _refuse,
    "hold": _hold,
    "wait_for": _wait_for,
    "fork": _fork,
    "objects": _objects,
    "no_array": _no_array,
}


class ActingLoader:
    """Loads nothing. `path` may say how to fail: a folder that is not there, or `crash`.

    With `fickle`, each process has another signature.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path

    def load(self) -> ActingServable:
        if self._path == "crash":
            ctypes.string_at(0)
        if self._path == "fickle":
            servable = ActingServable()
            name = f"of {os.getpid()}"
            servable.signatures = {name: _signature(name)}
            return servable
        if self._path and not Path(self._path).exists():
            raise NotFound(f"{self._path} is not there")
        return ActingServable()

    def unload(self) -> None:
        """Nothing to give back."""
