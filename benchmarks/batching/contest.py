"""Measures one workload: all settings shortly, then the best of them beside the others.

The best of many short measurements is partly the luckiest. So what is shown of it is not
what made it the best, but what it does afterwards, in turns with its rivals.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batching.rival import MONITORING, BatchRival, OpenTurn
from benchmarks.batching.settings import (
    AUTO,
    OFF,
    UNBOUNDED,
    Command,
    Setting,
    best,
    differ_at,
    enqueued_for,
    plain_server,
    tuned_server,
)
from benchmarks.batching.workloads import BatchWorkload, RequestSet
from benchmarks.driver.client import Driver
from benchmarks.machine import apart
from benchmarks.measure import Cell, Turn, take_turns
from benchmarks.servers import Program, RunningServer, baselines

SHORTEST_LIMIT_S = 0.05
MEANS_IN_LIMIT = 10
FORM = "gRPC"
CAPACITY_CONCURRENCIES = 3
"""Of the highest, at one of which a server answers most."""

Running = Callable[..., AbstractContextManager[dict[str, BatchRival]]]
"""Starts programs, and has them by name."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A short measurement of one setting."""

    setting: Setting
    concurrency: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class OpenCell:
    """One server under one open load."""

    server: str
    load: float
    """Arrivals as a share of `capacity`."""
    capacity: float
    """The most answers per second that this server gives to callers who wait, with as many
    processors."""
    turn: OpenTurn


class Contest:
    """One workload; all servers are children of this process."""

    def __init__(
        self,
        workload: BatchWorkload,
        command: Command,
        folder: Path,
        driver: Driver,
        say: Callable[[str], None],
    ) -> None:
        self.workload = workload
        self.requests = RequestSet(workload, folder)
        self._command = command
        self._folder = folder
        self._driver = driver
        self._say = say
        self.rows_per_batch: dict[tuple[str, int], float] = {}
        """Of a server at a concurrency, on average; only of those that batch."""
        self.limit_s = SHORTEST_LIMIT_S
        """How long a client of the open load waits; known once its turn has come."""

    def screen(self) -> list[Trial]:
        """Every setting at every concurrency where it is not the same as another, once."""
        workload = self.workload
        at = {
            concurrency: differ_at(workload.grid, concurrency, self.requests.rows)
            for concurrency in workload.screened
        }
        trials = []
        for number, setting in enumerate(workload.grid):
            if number % 6 == 0:
                self._say(f"trying settings, {number} of {len(workload.grid)} done")
            program = self._tuned(setting)
            with self.running(program) as rivals:
                rival = rivals[program.name]
                rival.check(workload.screened[0])
                for concurrency in workload.screened:
                    if setting in at[concurrency]:
                        rival.calibrate(concurrency, workload.screen_seconds)
                        turn = rival.turn(concurrency, workload.screen_seconds)
                        trials.append(Trial(setting, concurrency, turn))
        return trials

    def chosen_from(self, trials: Sequence[Trial]) -> dict[int, list[Setting]]:
        """The settings that go on, for each concurrency."""
        screened = {trial.concurrency for trial in trials}
        chosen = {}
        for concurrency in self.workload.concurrencies:
            nearest = min(screened, key=lambda c: abs(math.log2(c / concurrency)))
            seen = {
                trial.setting: (trial.turn.rate, trial.turn.p99_ms)
                for trial in trials
                if trial.concurrency == nearest
            }
            chosen[concurrency] = best(seen, self.workload.finalists)
        return chosen

    def play(
        self, chosen: Mapping[int, Sequence[Setting]]
    ) -> Iterator[tuple[list[Cell], list[OpenCell]]]:
        """Off, auto, the chosen settings and the baselines, as soon as a concurrency is done.

        At last the open loads.
        """
        settings = {setting.name: setting for group in chosen.values() for setting in group}
        plain = [plain_server(self._command, OFF), self.automatic()]
        others = self._baselines()
        cells: list[Cell] = []
        tuned = [self._tuned(setting) for setting in settings.values()]
        with self.running(*plain, *tuned, *others) as running:
            for concurrency in self.workload.concurrencies:
                self._say(f"{concurrency} at once")
                names = [OFF, AUTO, *(setting.name for setting in chosen[concurrency])]
                names += [program.name for program in others]
                fresh = self._closed(concurrency, [running[name] for name in names])
                cells += fresh
                yield fresh, []
        yield [], self._open(settings, cells)

    def _closed(self, concurrency: int, rivals: Sequence[BatchRival]) -> list[Cell]:
        cells = [Cell(self.workload.name, FORM, concurrency, rival.name) for rival in rivals]
        for rival in rivals:
            self._settle(rival, concurrency)
        before = [rival.batches() for rival in rivals]
        take_turns(rivals, cells, self.workload.rounds, self.workload.seconds)
        for rival, (count_then, rows_then) in zip(rivals, before, strict=True):
            count, rows = rival.batches()
            if count > count_then:
                rows_per_batch = (rows - rows_then) / (count - count_then)
                self.rows_per_batch[rival.name, concurrency] = rows_per_batch
        return cells

    def _settle(self, rival: BatchRival, concurrency: int) -> None:
        """Give the server that tunes itself the time for it."""
        if rival.name == AUTO:
            rival.check(concurrency)
            rival.calibrate(concurrency, self.workload.seconds)
            rival.turn(concurrency, self.workload.settling_seconds)

    def _open(self, settings: Mapping[str, Setting], cells: Sequence[Cell]) -> list[OpenCell]:
        """Off, auto, and the best setting with a queue that keeps the time of a client."""
        name = max(settings, key=lambda name: most_of(name, cells))
        self.limit_s = time_limit_s(cells)
        with self._clients_apart() as start:
            programs = [plain_server(self._command, OFF), self.automatic()]
            with start(*programs, self._tuned(settings[name])) as running:
                capacities = {rival.name: self._capacity(rival) for rival in running.values()}
            rows_per_s = capacities[name] * self.requests.rows
            enqueued = enqueued_for(settings[name], rows_per_s, self.limit_s)
            with start(*programs, self._tuned(settings[name], enqueued)) as running:
                return self._arriving(list(running.values()), capacities)

    def _arriving(
        self, rivals: Sequence[BatchRival], capacities: Mapping[str, float]
    ) -> list[OpenCell]:
        opened = []
        for rival in rivals:
            # More at once would be refused by a short queue.
            rival.check(1)
        for number, load in enumerate(self.workload.loads):
            self._say(f"arrivals at {load:.0%} of what each can take")
            for rival in rivals:
                capacity, seconds = capacities[rival.name], self.workload.open_seconds
                turn = rival.open_turn(load * capacity, seconds, self.limit_s, seed=number)
                opened.append(OpenCell(rival.name, load, capacity, turn))
        return opened

    def _capacity(self, rival: BatchRival) -> float:
        """The most answers per second that it gives to callers who wait."""
        rates = []
        for concurrency in self.workload.concurrencies[-CAPACITY_CONCURRENCIES:]:
            self._settle(rival, concurrency)
            rival.check(concurrency)
            rival.calibrate(concurrency, self.workload.seconds)
            rates.append(rival.turn(concurrency, self.workload.seconds).rate)
        return max(rates)

    @contextmanager
    def _clients_apart(self) -> Iterator[Running]:
        """The load generator has the last processor, and what is started the others.

        Else what it takes to ask more than is answered would look like a loss of the server's.
        """
        processors = os.sched_getaffinity(0)
        servers, clients = apart(processors)
        self._driver.run_on(clients)

        @contextmanager
        def start(*programs: Program) -> Iterator[dict[str, BatchRival]]:
            os.sched_setaffinity(0, servers)
            with self.running(*programs, log="open load, ") as running:
                os.sched_setaffinity(0, clients)
                yield running

        try:
            yield start
        finally:
            os.sched_setaffinity(0, processors)
            self._driver.run_on(processors)

    def automatic(self) -> Program:
        """The server that tunes itself; where the settings by hand may pad, so may it."""
        flags = ["--batching=auto"]
        if self.workload.has_lengths:
            path = self._folder / "padding.batching"
            path.write_text("pad_variable_length_inputs: true\n")
            flags.append(f"--batching_parameters_file={path}")
        return plain_server(self._command, AUTO, *flags)

    def _tuned(self, setting: Setting, enqueued: int = UNBOUNDED) -> Program:
        pads = self.workload.has_lengths
        return tuned_server(self._command, setting, self._folder, pads=pads, enqueued=enqueued)

    def _baselines(self) -> list[Program]:
        if not self.workload.has_baselines:
            return []
        return [rival for rival in baselines(computes_long=False) if "grpc" in rival.protocols]

    @contextmanager
    def running(self, *programs: Program, log: str = "") -> Iterator[dict[str, BatchRival]]:
        """All of them at the same time, by name."""
        name = self.workload.model.name
        monitoring = self._folder / "monitoring.txt"
        monitoring.write_text(MONITORING)
        flags = [
            f"--model_name={name}",
            f"--model_base_path={self._folder / name}",
            f"--monitoring_config_file={monitoring}",
        ]
        with ExitStack() as stack:
            servers = []
            for program in programs:
                log_path = self._folder / f"{log}{program.name}.log"
                servers.append(stack.enter_context(RunningServer(program, flags, log_path)))
            for server in servers:
                server.wait_for_port("grpc")
            yield {
                server.program.name: BatchRival(server, self.requests, self._driver, self._folder)
                for server in servers
            }


def most_of(server: str, cells: Sequence[Cell]) -> float:
    """The most answers per second it gave at any concurrency."""
    return max(cell.median("rate") for cell in cells if cell.server == server)


def time_limit_s(cells: Sequence[Cell]) -> float:
    """How long the clients of the open load wait.

    Ten times as long as one alone waits for an answer without batching, and 50 ms at least.
    """
    fewest = min(cell.concurrency for cell in cells)
    [alone] = [c for c in cells if c.server == OFF and c.concurrency == fewest]
    return max(SHORTEST_LIMIT_S, MEANS_IN_LIMIT * alone.median("mean_ms") / 1000)
