"""Starts the real server as a process of its own, waits until it serves, and ends it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pytest

from benchmarks.ports import free_port

START_LIMIT_S = 120.0
LIMIT_S = 60.0


class RunningServer:
    """`salver serve` with some flags, on free ports of 127.0.0.1, for a `with` block."""

    def __init__(
        self,
        *flags: str,
        environment: dict[str, str] | None = None,
        ready_line: str = "Exporting HTTP/REST API",
        command: Sequence[str] = (sys.executable, "-m", "salver", "serve"),
    ) -> None:
        self.grpc_port = free_port()
        self.rest_port = free_port()
        self.lines: list[str] = []
        """What the server has written on stdout and stderr so far."""
        self._command = list(command)
        self.flags = flags
        self._ready_line = ready_line
        self._environment = environment or {}
        self._changed = threading.Condition()
        self._has_ended = False
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def launch(self) -> None:
        """Start the process without waiting for its ports."""
        ports = [f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}"]
        # Wherever the tests run: with a delay, each end would take seconds.
        command = [*self._command, "--host=127.0.0.1", "--drain_delay_s=0", *ports]
        self.process = subprocess.Popen(
            [*command, *self.flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **self._environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait_for_line(self, part: str, limit_s: float = START_LIMIT_S) -> str:
        """Wait until a line with `part` has been logged, and return it."""

        def found() -> str | None:
            return next((line for line in self.lines if part in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._has_ended, limit_s)
            line = found()
        assert line is not None, f"no line with {part!r} in:\n" + "\n".join(self.lines)
        return line

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_for_exit(self, limit_s: float = 60.0) -> int:
        """Wait until the process has ended and all its lines are read; the exit code."""
        assert self.process is not None
        assert self._reader is not None
        code = self.process.wait(limit_s)
        self._reader.join(limit_s)
        return code

    def __enter__(self) -> Self:
        self.launch()
        try:
            self.wait_for_line(self._ready_line)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.send_signal(signal.SIGTERM)
        try:
            assert self.wait_for_exit() == 0, "\n".join(self.lines)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._reader is not None:
            self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again; for what no event tells."""
    for _ in range(int(LIMIT_S / 0.05)):
        if holds():
            return
        pass_time(0.05)
    pytest.fail(f"never: {what}")


def pass_time(seconds: float) -> None:
    """Let others go on for a while."""
    threading.Event().wait(seconds)


def write_config(path: Path, models: Sequence[str]) -> str:
    """Write a model_config_list of the given `config { ... }` bodies; the flag for it."""
    bodies = "\n".join(f"  config {{ {body} }}" for body in models)
    path.write_text(f"model_config_list {{\n{bodies}\n}}\n")
    return f"--model_config_file={path}"
