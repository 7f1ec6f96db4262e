"""What a backend costs before its first answer: a server with one small model of each.

The models are those of the contract suite of the backends, which the frameworks themselves make.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.frameworks.rivals import BOTH
from benchmarks.servers import Program, RunningServer, ServerFailed
from salver.client import Client
from tests.backends.cases import CASES
from tests.backends.contract import assert_alike, is_there
from tests.backends.made import Made, make

NO_MODEL = "none"
CONSENT = ("--allow_pickle", "--allow_python_code")


@dataclass(slots=True)
class BackendStart:
    """The starts with one model, or without."""

    name: str
    seconds: list[float] = field(default_factory=list)
    """From the launch to the first answer."""
    resident_mb: list[float] = field(default_factory=list)
    """Then, worker processes included."""
    cpu_seconds: list[float] = field(default_factory=list)
    processes: int = 1

    def as_json(self) -> dict[str, object]:
        figures = ("seconds", "resident_mb", "cpu_seconds")
        medians = {figure: statistics.median(getattr(self, figure)) for figure in figures}
        return {**asdict(self), "median": medians}


def measure_backends(
    command: tuple[str, ...], folder: Path, rounds: int, say: Callable[[str], None]
) -> list[BackendStart]:
    """All backends that are installed, in turn, `rounds` times; a round before fills the caches.

    Raises:
        ServerFailed: a server did not start, or answered wrongly.
    """
    say("making a small model of each backend")
    models = [_made(name, folder / "starts") for name, case in CASES.items() if is_there(case)]
    starts = {NO_MODEL: BackendStart(NO_MODEL)}
    starts |= {made.name: BackendStart(made.name) for made in models}
    for number in range(rounds + 1):
        say(f"starts, round {number} of {rounds}")
        for start, made in zip(starts.values(), (None, *models), strict=True):
            _start(command, folder, made, start if number else BackendStart(start.name))
    return sorted(starts.values(), key=lambda start: statistics.median(start.seconds))


def _made(name: str, folder: Path) -> Made:
    place = folder / name
    if (place / "answers_2").exists():
        return Made(name, CASES[name], place)
    return make(name, place)


def _start(command: Sequence[str], folder: Path, made: Made | None, start: BackendStart) -> None:
    program = Program(start.name, tuple(command), BOTH)
    if made is None:
        config = folder / "no-models.config"
        config.write_text("model_config_list {}\n")
        flags = [f"--model_config_file={config}"]
    else:
        base = folder / "starts" / made.name / "base"
        if not base.exists():
            made.copy(1, base / "1")
        flags = ["--model_name=m", f"--model_base_path={base}", *CONSENT]
    with RunningServer(program, flags, folder / f"start, {start.name}.log") as server:
        server.wait_for_port("rest")
        if made is not None:
            _ask(server, made)
        start.seconds.append(time.perf_counter() - server.launched_at)
        start.resident_mb.append(server.resident_bytes() / 2**20)
        start.cpu_seconds.append(server.cpu_seconds())
        start.processes = server.process_count()


def _ask(server: RunningServer, made: Made) -> None:
    with Client(f"127.0.0.1:{server.grpc_port}") as client:
        found = client.predict("m", dict(made.case.inputs))
    try:
        assert_alike(dict(found), made.answers(1), made.case)
    except AssertionError as wrong:
        raise ServerFailed(f"the first answer of {made.name} was wrong: {wrong}") from wrong
