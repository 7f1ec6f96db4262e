"""How long from the launch to the first answer, how much memory then, and where both go.

The steps are programs of their own, each of which does what the one before it does and one
thing more: the difference between two of them is what that thing costs.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.models import TINY
from benchmarks.servers import ROOT, Program, RunningServer, ServerFailed
from benchmarks.workloads import GRPC, REST, Question

RESIDENT = "import re; print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"
OPEN_TENSORFLOW = (
    "from salver.backends.tensorflow_library import open_tensorflow; open_tensorflow(); "
)
STEPS = (
    ("Python alone", ""),
    ("and NumPy", "import numpy; "),
    ("and the server's modules", "import numpy, salver.server; "),
    ("and TensorFlow's library", "import numpy, salver.server; " + OPEN_TENSORFLOW),
)


@dataclass(slots=True)
class Start:
    """What was started, and what was seen each time."""

    name: str
    seconds: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)

    def median_seconds(self) -> float:
        return statistics.median(self.seconds)

    def median_resident_mb(self) -> float:
        return statistics.median(self.resident_mb)

    def as_json(self) -> dict[str, object]:
        medians = {"seconds": self.median_seconds(), "resident_mb": self.median_resident_mb()}
        return {**asdict(self), "median": medians}


Measured = tuple[float, float]


def measure_starts(
    programs: Sequence[Program], folder: Path, rounds: int, *, warm_up: bool
) -> list[Start]:
    """All starts, in turn, `rounds` times; a round before them fills the file cache.

    A whole server, not a baseline for one model, is started without a model as well.
    """
    tasks: list[tuple[str, Callable[[], Measured]]] = []
    for program in programs:
        tasks.append((f"{program.name}, small model", partial(_with_model, program, folder)))
        if program.protocols == {"grpc", "rest"}:
            tasks.append((f"{program.name}, no model", partial(_without_model, program, folder)))
    for name, code in STEPS:
        tasks.append((f"step: {name}", partial(_step, code)))
    starts = [Start(name) for name, _ in tasks]
    for number in range(1 - warm_up, rounds + 1):
        for start, (_, measure) in zip(starts, tasks, strict=True):
            seconds, resident_mb = measure()
            if number > 0:
                start.seconds.append(seconds)
                start.resident_mb.append(resident_mb)
    return starts


def _with_model(program: Program, folder: Path) -> Measured:
    flags = [f"--model_name={TINY.name}", f"--model_base_path={folder / TINY.name}"]
    protocol = "grpc" if "grpc" in program.protocols else "rest"
    question = Question(TINY, GRPC if protocol == "grpc" else REST, folder)
    with RunningServer(program, flags, folder / "start.log") as server:
        server.wait_for_port(protocol)
        if protocol == "grpc":
            with server.grpc_client() as client:
                response = client.predict(question.message)
            seconds = time.perf_counter() - server.launched_at
            right = question.is_right_message(response)
        else:
            with server.rest_client() as rest_client:
                status, _ = rest_client.request("POST", question.path, question.message)
            seconds = time.perf_counter() - server.launched_at
            right = status == 200
        if not right:
            raise ServerFailed(f"the first answer of {program.name} was wrong")
        return seconds, server.resident_bytes() / 2**20


def _without_model(program: Program, folder: Path) -> Measured:
    config = folder / "no-models.config"
    config.write_text("model_config_list {}\n")
    flags = [f"--model_config_file={config}"]
    with RunningServer(program, flags, folder / "start.log") as server:
        server.wait_for_port("rest")
        with server.rest_client() as client:
            status, _ = client.request("GET", "/v1/models/none")
        if status != 404:
            raise ServerFailed(f"{program.name} has no model, but answered with {status}")
        return time.perf_counter() - server.launched_at, server.resident_bytes() / 2**20


def _step(code: str) -> Measured:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + RESIDENT], capture_output=True, text=True, cwd=ROOT
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise ServerFailed(f"a step of the start failed:\n{done.stderr}")
    return seconds, int(done.stdout) / 1024
