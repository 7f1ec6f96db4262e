"""Measures one workload: all settings shortly, then the best of them beside the others.

The best of many short measurements is partly the luckiest. So what is shown of it is not
what made it the best, but what it does afterwards, in turns with its rivals.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batching.rival import BatchRival, OpenTurn
from benchmarks.batching.settings import (
    AUTO,
    OFF,
    UNBOUNDED,
    Setting,
    best,
    differ_at,
    enqueued_for,
    plain_server,
    tuned_server,
)
from benchmarks.batching.workloads import BatchWorkload, RequestSet
from benchmarks.driver.client import Driver
from benchmarks.measure import Cell, Turn, take_turns
from benchmarks.servers import Program, RunningServer, baselines

SHORTEST_LIMIT_S = 0.05
MEANS_IN_LIMIT = 10
FORM = "gRPC"


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
    """The most answers per second that this server gave to callers who wait."""
    turn: OpenTurn


class Contest:
    """One workload; all servers are children of this process."""

    def __init__(
        self,
        workload: BatchWorkload,
        folder: Path,
        driver: Driver,
        say: Callable[[str], None],
    ) -> None:
        self.workload = workload
        self.requests = RequestSet(workload, folder)
        self._folder = folder
        self._driver = driver
        self._say = say

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
            with self._running(program) as rivals:
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
        plain = [plain_server(OFF), plain_server(AUTO, "--batching=auto")]
        others = self._baselines()
        cells: list[Cell] = []
        tuned = [self._tuned(setting) for setting in settings.values()]
        with self._running(*plain, *tuned, *others) as running:
            for concurrency in self.workload.concurrencies:
                self._say(f"{concurrency} at once")
                names = [OFF, AUTO, *(s.name for s in chosen[concurrency])]
                names += [program.name for program in others]
                rivals = [running[name] for name in names]
                fresh = [Cell(self.workload.name, FORM, concurrency, name) for name in names]
                take_turns(rivals, fresh, self.workload.rounds, self.workload.seconds)
                cells += fresh
                yield fresh, []
            best_name = best_of({name: capacity_of(name, cells) for name in settings})
            setting = settings[best_name]
            capacities = {name: capacity_of(name, cells) for name in (OFF, AUTO, best_name)}
            limit_s = time_limit_s(cells)
            rows_per_s = capacities[best_name] * self.requests.rows
            bounded = self._tuned(setting, enqueued_for(setting, rows_per_s, limit_s))
            with self._running(bounded, log="open-load.log") as bounded_ones:
                rivals = [running[OFF], running[AUTO], bounded_ones[best_name]]
                yield [], self._open(rivals, capacities, limit_s)

    def _open(
        self, rivals: Sequence[BatchRival], capacities: Mapping[str, float], limit_s: float
    ) -> list[OpenCell]:
        cells = []
        for rival in rivals:
            rival.check(self.workload.concurrencies[-1])
        for number, load in enumerate(self.workload.loads):
            self._say(f"arrivals at {load:.0%} of what each can take")
            for rival in rivals:
                capacity = capacities[rival.name]
                turn = rival.open_turn(
                    load * capacity, self.workload.open_seconds, limit_s, seed=number
                )
                cells.append(OpenCell(rival.name, load, capacity, turn))
        return cells

    def _tuned(self, setting: Setting, enqueued: int = UNBOUNDED) -> Program:
        pads = self.workload.has_lengths
        return tuned_server(setting, self._folder, pads=pads, enqueued=enqueued)

    def _baselines(self) -> list[Program]:
        if not self.workload.has_baselines:
            return []
        return [rival for rival in baselines(computes_long=False) if "grpc" in rival.protocols]

    @contextmanager
    def _running(self, *programs: Program, log: str = "") -> Iterator[dict[str, BatchRival]]:
        """All of them at the same time, by name."""
        name = self.workload.model.name
        flags = [f"--model_name={name}", f"--model_base_path={self._folder / name}"]
        with ExitStack() as stack:
            servers = []
            for program in programs:
                log_path = self._folder / (log or f"{program.name}.log")
                servers.append(stack.enter_context(RunningServer(program, flags, log_path)))
            for server in servers:
                server.wait_for_port("grpc")
            yield {
                server.program.name: BatchRival(server, self.requests, self._driver, self._folder)
                for server in servers
            }


def best_of(capacities: Mapping[str, float]) -> str:
    return max(capacities, key=lambda name: capacities[name])


def capacity_of(server: str, cells: Sequence[Cell]) -> float:
    """The most answers per second it gave at any concurrency."""
    return max(cell.median("rate") for cell in cells if cell.server == server)


def time_limit_s(cells: Sequence[Cell]) -> float:
    """How long the clients of the open load wait.

    Ten times as long as one alone waits for an answer without batching, and 50 ms at least.
    """
    fewest = min(cell.concurrency for cell in cells)
    [alone] = [c for c in cells if c.server == OFF and c.concurrency == fewest]
    return max(SHORTEST_LIMIT_S, MEANS_IN_LIMIT * alone.median("mean_ms") / 1000)
