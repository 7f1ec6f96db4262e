"""Servers as child processes: started on free ports, watched, stopped by their id.

Every server takes TensorFlow Serving's flags, so that the server under test, the
baselines and TensorFlow Serving itself are interchangeable here.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.client import PREDICT, GrpcClient, RestClient
from benchmarks.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0


class ServerFailed(Exception):
    """A server ended, or did not answer, or gave a wrong answer."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command that serves a model, given TensorFlow Serving's flags."""

    name: str
    command: tuple[str, ...]
    protocols: frozenset[str]
    """Of `grpc` and `rest`, those that it speaks."""


def _baseline(name: str, protocol: str, module: str, *flags: str) -> Program:
    command = (sys.executable, "-m", f"benchmarks.baselines.{module}", *flags)
    return Program(name, command, frozenset({protocol}))


def baselines(*, computes_long: bool) -> list[Program]:
    """What a model is compared with: for one that computes for milliseconds, on threads."""
    flask = _baseline("Flask", "rest", "flask_app")
    if computes_long:
        threads = os.cpu_count() or 1
        return [_baseline("grpc.aio", "grpc", "grpc_aio", f"--threads={threads}"), flask]
    return [
        _baseline("grpc.aio", "grpc", "grpc_aio"),
        _baseline("grpc.aio, session", "grpc", "grpc_aio", "--session"),
        flask,
    ]


class RunningServer:
    """A started server. Use as a context manager, or call `stop`."""

    def __init__(self, program: Program, flags: list[str], log: Path) -> None:
        self.program = program
        self.grpc_port = free_port()
        self.rest_port = free_port()
        ports = [f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}"]
        self._log = log
        with log.open("wb") as output:
            self.launched_at = time.perf_counter()
            self._child = subprocess.Popen(
                [*program.command, *ports, *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )
        self._process = psutil.Process(self._child.pid)

    def __enter__(self) -> "RunningServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for_port(self, protocol: str) -> None:
        """Return once the port of `protocol` takes connections.

        Raises:
            ServerFailed: the process ended, or the time is over; with the end of its log.
        """
        port = self.grpc_port if protocol == "grpc" else self.rest_port
        deadline = time.perf_counter() + START_TIMEOUT_S
        while time.perf_counter() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                # Waiting for the end of the process is also the pause between two tries.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = self._child.wait(timeout=0.002)
                    raise ServerFailed(f"{self._name()} ended with {code}") from None
            else:
                return
        raise ServerFailed(f"{self._name()} did not open its port in {START_TIMEOUT_S:.0f} s")

    def wait_for_path(self, path: str) -> None:
        """Return once a GET of `path` is answered with 200, where a port opens before that.

        Raises:
            ServerFailed: the process ended, or the time is over; with the end of its log.
        """
        deadline = time.perf_counter() + START_TIMEOUT_S
        while time.perf_counter() < deadline:
            with self.rest_client() as client:
                status, _ = client.request("GET", path)
            if status == 200:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(timeout=0.05)
                raise ServerFailed(f"{self._name()} ended with {code}")
        raise ServerFailed(f"{self._name()} was not ready in {START_TIMEOUT_S:.0f} s")

    def grpc_client(self, method: str = PREDICT) -> GrpcClient:
        return GrpcClient(self.grpc_port, method)

    def rest_client(self) -> RestClient:
        return RestClient(self.rest_port)

    def cpu_seconds(self) -> float:
        """CPU time of the process and its children since the start."""
        each_times = [process.cpu_times() for process in self._tree()]
        return float(sum(times.user + times.system for times in each_times))

    def resident_bytes(self) -> int:
        """Memory in use by the process; of its children, what they do not share."""
        children = sum(child.memory_full_info().uss for child in self._process.children(True))
        return int(self._process.memory_info().rss + children)

    def process_count(self) -> int:
        """How many processes it consists of."""
        return len(self._tree())

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not heard. Does no harm if it ended already."""
        if self._child.poll() is not None:
            return
        tree = self._tree()
        self._child.terminate()
        try:
            self._child.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._child.wait()

    def _tree(self) -> list[psutil.Process]:
        if self._child.poll() is not None:
            raise ServerFailed(f"{self._name()} ended with {self._child.returncode}")
        return [self._process, *self._process.children(recursive=True)]

    def _name(self) -> str:
        tail = self._log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([*tail, f"{self.program.name} (log: {self._log})"])
