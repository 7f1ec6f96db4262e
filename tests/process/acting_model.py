"""A version's `model.py` that does what a request says, also what models should not do."""

import ctypes
import os
import threading
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

FACTOR = 2.0
KEPT: list[bytearray] = []


class Model:
    """Doubles `x`; before that, the words of `action` tell what to do."""

    def predict(
        self,
        x: Annotated[NDArray[np.float32], (None,)],
        action: Annotated[NDArray[np.str_], (None,)],
    ) -> Annotated[NDArray[np.float32], (None,)]:
        if "crash" in action:
            ctypes.string_at(0)
        if "hang" in action:
            threading.Event().wait()
        for word in action:
            verb, _, value = str(word).partition("=")
            if verb == "leak":
                KEPT.append(bytearray(os.urandom(1024) * 1024 * int(value)))
            elif verb == "hold":
                # Python code that lets the interpreter lock go only when it is made to.
                until = time.perf_counter() + float(value)
                while time.perf_counter() < until:
                    pass
            elif verb == "freeze":
                # Native code that keeps the interpreter lock, and needs no processor meanwhile.
                ctypes.PyDLL(None).usleep(int(float(value) * 1e6))
            elif verb == "gate":
                Path(f"{value}.begun").write_text("begun")
                Path(f"{value}.go").write_text("held")
        return x * np.float32(FACTOR)
