"""Who takes part for a model: Salver in several ways, its rivals, and the bare loop."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from benchmarks.frameworks.models import FrameworkModel
from benchmarks.measure import Turn
from benchmarks.servers import ROOT, Program, ServerFailed

SALVER = "salver"
AUTO = "salver, batching=auto"
IN_SERVER = "salver, in the server"
OFF = "salver, batching=off"
IN_SERVER_OFF = "salver, in the server, batching=off"
GRPC_AIO = "grpc.aio"
MLSERVER = "MLServer"
MLSERVER_IN_PROCESS = "MLServer, no worker process"
FASTAPI = "FastAPI"
FASTAPI_ALL = "FastAPI, a process a core"
LOOP = "bare loop"

BOTH = frozenset({"grpc", "rest"})


@dataclass(frozen=True, slots=True)
class Pythons:
    """Interpreters of the environments that could be made."""

    mlserver: Path | None = None
    fastapi: Path | None = None


def programs(model: FrameworkModel, salver: tuple[str, ...], pythons: Pythons) -> list[Program]:
    """All servers of a model."""
    own = [
        Program(SALVER, salver, BOTH),
        # What is not the default: models of tables are batched, the others are not.
        Program(OFF, (*salver, "--batching=off"), BOTH)
        if model.is_table
        else Program(AUTO, (*salver, "--batching=auto"), BOTH),
    ]
    if model.framework == "sklearn":
        own += [
            Program(IN_SERVER, (*salver, "--isolate_models=none"), BOTH),
            Program(IN_SERVER_OFF, (*salver, "--isolate_models=none", "--batching=off"), BOTH),
        ]
    return [*own, _grpc_aio(model), *_others(model, pythons)]


def _grpc_aio(model: FrameworkModel) -> Program:
    threads = (os.cpu_count() or 1) if model.computes_long else 0
    command = (
        *(sys.executable, "-m", "benchmarks.baselines.framework_grpc_aio"),
        *(f"--framework={model.framework}", f"--output_name={model.output_name}"),
        f"--threads={threads}",
    )
    return Program(GRPC_AIO, command, frozenset({"grpc"}))


def _others(model: FrameworkModel, pythons: Pythons) -> list[Program]:
    if not model.has_rivals:
        return []
    framework = f"--framework={model.framework}"
    found = []
    if pythons.mlserver is not None:
        command: tuple[str, ...] = (
            str(pythons.mlserver),
            "-m",
            "benchmarks.baselines.mlserver_start",
            framework,
        )
        found += [
            Program(MLSERVER, command, BOTH),
            Program(MLSERVER_IN_PROCESS, (*command, "--workers=0"), BOTH),
        ]
    if pythons.fastapi is not None:
        command = (
            *(str(pythons.fastapi), "-m", "benchmarks.baselines.fastapi_app", framework),
            f"--data_type={model.data_type}",
        )
        rest = frozenset({"rest"})
        cores = f"--workers={os.cpu_count() or 1}"
        found += [
            Program(FASTAPI, command, rest),
            Program(FASTAPI_ALL, (*command, cores), rest),
        ]
    return found


class LoopProcess:
    """The bare loop of a model in a process of its own. Use as a context manager."""

    def __init__(self, model: FrameworkModel, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.baselines.framework_loop"]
        command += [f"--framework={model.framework}", f"--model_base_path={folder / model.name}"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()

    def measure(self, callers: int, seconds: float) -> dict[str, float]:
        """Calls per second and CPU time per call.

        Raises:
            ServerFailed: the process ended; it has said why.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            print(
                json.dumps({"callers": callers, "seconds": seconds}),
                file=self._child.stdin,
                flush=True,
            )
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ServerFailed("the bare loop ended")
        figures: dict[str, float] = json.loads(line)
        return figures

    def resident_bytes(self) -> int:
        return int(psutil.Process(self._child.pid).memory_info().rss)


class LoopRival:
    """A `Rival`: so many callers of the bare loop."""

    def __init__(self, process: LoopProcess, callers: int) -> None:
        self.name = f"{LOOP}, {callers} caller{'s' if callers > 1 else ''}"
        self._process = process
        self._callers = callers

    def resident_bytes(self) -> int:
        """See `Rival`."""
        return self._process.resident_bytes()

    def check(self, at_once: int) -> None:
        """Nothing: the process compares the answer when it begins."""

    def calibrate(self, concurrency: int, seconds: float) -> None:
        """See `Rival`; it only warms up."""
        self._process.measure(self._callers, seconds / 4)

    def turn(self, concurrency: int, seconds: float) -> Turn:
        """See `Rival`; there are no latencies of requests."""
        seen = self._process.measure(self._callers, seconds)
        return Turn(seen["rate"], seen["cpu_us"], 0.0, 0.0, 0.0, 0)
