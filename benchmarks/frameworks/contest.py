"""Measures one model: all servers and the bare loop run side by side and take turns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.frameworks.models import FrameworkModel
from benchmarks.frameworks.questions import InferQuestion, Question, Row
from benchmarks.frameworks.rivals import (
    MLSERVER,
    SALVER,
    LoopProcess,
    LoopRival,
    Pythons,
    programs,
)
from benchmarks.measure import Asked, Cell, Contestant, Rival, take_turns
from benchmarks.servers import RunningServer

CONCURRENCY = 64
SETTLING_TURNS = 6
"""As long as so many turns."""
LONGER_TURNS = 3
"""So many times as long where calls compute long: at the end of a turn, cores are idle while the
last batches run, some tens of milliseconds, which no server is that has more to do."""
FORMS = {"grpc": "gRPC", "rest": "REST"}


@dataclass(frozen=True, slots=True)
class Contest:
    """How a model is measured."""

    model: FrameworkModel
    salver: tuple[str, ...]
    """The command of the server under test."""
    pythons: Pythons
    folder: Path
    rounds: int
    seconds: float
    """Of a turn."""
    protocols: Sequence[str] = ("grpc", "rest")

    def play(self, say: Callable[[str], None]) -> Iterator[list[Cell]]:
        """The cells of each protocol, as soon as they are complete.

        Raises:
            ServerFailed: a server did not start, or gave a wrong answer.
            LoadFailed: a load generator is missing, or failed.
        """
        row = Row(self.model, self.folder)
        with LoopProcess(self.model, self.folder) as loop, self._running() as servers:
            loops: list[Rival] = [LoopRival(loop, callers) for callers in (1, 2)]
            for protocol in self.protocols:
                say(FORMS[protocol])
                rivals = [
                    Contestant(
                        server,
                        self._question(server, protocol, row),
                        self.folder,
                        is_heavy=self.model.computes_long,
                    )
                    for server in servers
                    if protocol in server.program.protocols
                ]
                everybody: list[Rival] = [*rivals, *loops]
                cells = [
                    Cell(self.model.name, FORMS[protocol], CONCURRENCY, rival.name)
                    for rival in everybody
                ]
                for rival in rivals:
                    self._settle(rival)
                take_turns(everybody, cells, self.rounds, self._turn_seconds)
                yield cells

    @property
    def _turn_seconds(self) -> float:
        return self.seconds * (LONGER_TURNS if self.model.computes_long else 1)

    def _settle(self, rival: Contestant) -> None:
        """Give a server that tunes itself the time for it."""
        if rival.name.startswith(SALVER):
            rival.check(CONCURRENCY)
            rival.calibrate(CONCURRENCY, self.seconds)
            rival.turn(CONCURRENCY, SETTLING_TURNS * self.seconds)

    def _question(self, server: RunningServer, protocol: str, row: Row) -> Asked:
        if server.program.name.startswith(MLSERVER):
            assert self.pythons.mlserver is not None
            return InferQuestion(row, protocol, self.pythons.mlserver)
        return Question(row, protocol)

    @contextmanager
    def _running(self) -> Iterator[list[RunningServer]]:
        name = self.model.name
        flags = [f"--model_name={name}", f"--model_base_path={self.folder / name}"]
        with ExitStack() as stack:
            servers = []
            for program in programs(self.model, self.salver, self.pythons):
                log = self.folder / f"{name}, {program.name}.log"
                servers.append(stack.enter_context(RunningServer(program, flags, log)))
            for server in servers:
                for protocol in server.program.protocols:
                    server.wait_for_port(protocol)
                if server.program.name.startswith(MLSERVER):
                    server.wait_for_path(f"/v2/models/{name}/ready")
            yield servers
