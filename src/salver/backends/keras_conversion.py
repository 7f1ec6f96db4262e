"""The process that turns Keras files into SavedModels: started when needed, ended soon after.

It imports TensorFlow, which takes seconds and hundreds of megabytes: so one process serves all
conversions that follow each other, and none stays for long.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from salver.errors import Code

_IDLE_S = 30.0
_LIMIT_S = 900.0
"""Longest conversion: a file that keeps Keras busy for ever must not keep a load thread."""

_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # The model is only moved, not run: the GPU's memory belongs to those that are.
    "CUDA_VISIBLE_DEVICES": "-1",
}


@dataclass(frozen=True)
class Failure:
    """Why a conversion failed."""

    code: int
    message: str


class Converter:
    """Converts files one after the other. From any thread."""

    def __init__(self, idle_s: float = _IDLE_S) -> None:
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._timer: threading.Timer | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        process = self._process
        return None if process is None else process.pid

    def convert(self, file: str, folder: str, unsafe: bool) -> Failure | None:
        """Export the model in `file` as a SavedModel into `folder`; None if that is done.

        `unsafe`: Python code in the file may be run.
        """
        with self._lock:
            self._stop_timer()
            process = self._running()
            watch = threading.Timer(_LIMIT_S, process.kill)
            watch.daemon = True
            watch.start()
            answer = _ask(process, {"file": file, "folder": folder, "unsafe": unsafe})
            watch.cancel()
            if answer is None:
                return self._ended(process)
            self._timer = threading.Timer(self._idle_s, self.close)
            self._timer.daemon = True
            self._timer.start()
        if not answer:
            return None
        return Failure(int(answer["code"]), answer["message"])

    def close(self) -> None:
        """End the process, once it has nothing to do. Again does no harm."""
        with self._lock:
            self._stop_timer()
            process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._process = subprocess.Popen(
            # -P: nothing is imported from where the server happens to be started.
            [sys.executable, "-P", "-m", "salver.backends.keras_export"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Signals from the terminal are the server's business.
        )
        return self._process

    def _ended(self, process: subprocess.Popen[str]) -> Failure:
        self._process = None
        _end(process)
        code = process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Failure(Code.INTERNAL, f"the process that converts it ended with {how}")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


CONVERTER = Converter()
"""That of this process."""
atexit.register(CONVERTER.close)


def _ask(process: subprocess.Popen[str], question: object) -> dict[str, Any] | None:
    """One question and its answer; None if the process has ended over it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()
    # It has nothing to save, and TensorFlow takes its time to end.
    process.kill()
    process.wait()
