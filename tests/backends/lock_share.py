"""How much of its pace other Python code keeps while a model runs: who holds the interpreter lock.

    python -m tests.backends.lock_share

asks each backend of the contract, with few and with many rows. 1.0: the model runs beside
Python code as beside anything else. 0.5: the two take turns, as two threads of Python do. Less: it
holds the lock for longer than the interpreter asks for it. The pace is compared with that
beside a thread which computes without the lock, so that a busy machine does not count.
"""

import hashlib
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from salver.core.servable import Servable
from tests.backends.cases import CASES
from tests.backends.contract import is_there, loader_of
from tests.backends.made import make

_WINDOW_S = 0.3
_ROUNDS = 5
_FEW, _MANY = 1, 20_000


def share_of(run: Callable[[], object]) -> float:
    """The pace of a thread of Python beside `run`, again and again, as a share of its own."""
    data = bytes(2**20)

    def compute_without_lock() -> object:
        return hashlib.sha256(data).digest()

    run()
    rounds = [(_pace_beside(run), _pace_beside(compute_without_lock)) for _ in range(_ROUNDS)]
    return median(beside / alone for beside, alone in rounds)


def _pace_beside(run: Callable[[], object]) -> float:
    ended = threading.Event()
    begun = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            run()
            begun.set()

    thread = threading.Thread(target=repeat)
    thread.start()
    begun.wait()
    turns = 0
    started = perf_counter()
    while perf_counter() - started < _WINDOW_S:
        turns += 1
    elapsed_s = perf_counter() - started
    ended.set()
    thread.join()
    return turns / elapsed_s


def _run_of(
    servable: Servable, inputs: Mapping[str, np.ndarray], rows: int
) -> Callable[[], object]:
    signature = servable.signatures["serving_default"]
    program = servable.program(
        tuple(spec.name for spec in signature.inputs.values()),
        tuple(spec.name for spec in signature.outputs.values()),
    )
    arrays = [np.resize(inputs[alias], (rows, *inputs[alias].shape[1:])) for alias in inputs]
    in_order = dict(zip(inputs, arrays, strict=True))
    return lambda: program.run([in_order[alias] for alias in signature.inputs])


def main() -> int:
    print(f"{'backend':16} {_FEW:>8} row {_MANY:>8} rows")
    with TemporaryDirectory() as folder:
        for name, case in CASES.items():
            if not is_there(case):
                print(f"{name:16} not installed")
                continue
            made = make(name, Path(folder, name))
            loader = loader_of(case.platform, str(made.version(1)))
            servable = loader.load()
            shares = [share_of(_run_of(servable, case.inputs, rows)) for rows in (_FEW, _MANY)]
            loader.unload()
            print(f"{name:16} {shares[0]:12.2f} {shares[1]:13.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
