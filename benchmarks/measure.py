"""Measures servers side by side: rounds, in each of which every server has its turn.

On a machine that others use too, only what was measured within seconds of each other can
be compared. The figures of a cell are medians over the rounds.
"""

import contextlib
import resource
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.load import Load, grpc_load, rest_load, timed_rest_load
from benchmarks.servers import Program, RunningServer, ServerFailed
from benchmarks.workloads import Question, Workload

GRPC_PREFIX_BYTES = 5
FIGURES = ("rate", "cpu_us", "p50_ms", "p99_ms", "mean_ms", "client_cpu_us")

ExactLoad = Callable[[int, int], Load]
"""Sends so many requests, so many at once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement of one server."""

    rate: float
    cpu_us: float
    """CPU time of the server for each answer, of all its threads."""
    p50_ms: float
    p99_ms: float
    mean_ms: float
    failed: int
    client_cpu_us: float = 0.0
    """CPU time of the load generator for each answer; 0 where it is no process of its own."""


class Rival(Protocol):
    """Takes its turn among others."""

    @property
    def name(self) -> str: ...

    def resident_bytes(self) -> int: ...

    def check(self, at_once: int) -> None:
        """Raises ServerFailed if an answer is wrong."""

    def calibrate(self, concurrency: int, seconds: float) -> None:
        """Find out how many requests take about so long."""

    def turn(self, concurrency: int, seconds: float) -> Turn: ...


@dataclass(slots=True)
class Cell:
    """One server under one load, all rounds."""

    workload: str
    form: str
    concurrency: int
    server: str
    resident_mb: float = 0.0
    turns: list[Turn] = field(default_factory=list)

    def median(self, figure: str) -> float:
        return float(statistics.median(getattr(turn, figure) for turn in self.turns))

    def as_json(self) -> dict[str, object]:
        medians = {figure: self.median(figure) for figure in FIGURES}
        failed = sum(turn.failed for turn in self.turns)
        return {**asdict(self), "median": medians, "failed": failed}


def calibrated_rate(load: ExactLoad, concurrency: int, seconds: float) -> float:
    """About how many answers per second there will be, from two runs or one; it warms up, too."""
    first = load(max(2, concurrency), concurrency)
    if first.seconds >= seconds / 2:
        return first.rate
    return load(requests_for(first.rate, seconds / 3, concurrency), concurrency).rate


def requests_for(rate: float, seconds: float, concurrency: int) -> int:
    """Requests for about so many seconds: a multiple of the concurrency, at least two."""
    return max(2, concurrency, round(rate * seconds / concurrency) * concurrency)


def turn_under(load: Callable[[], Load], server: RunningServer) -> Turn:
    """What `load` saw, and what it cost the server."""
    before, clients_before = server.cpu_seconds(), _cpu_seconds_of_ended()
    seen = load()
    server_s, client_s = server.cpu_seconds() - before, _cpu_seconds_of_ended() - clients_before
    each_us = 1e6 / max(1, seen.answered)
    latencies = (seen.p50_ms, seen.p99_ms, seen.mean_ms)
    return Turn(seen.rate, server_s * each_us, *latencies, seen.failed, client_s * each_us)


def _cpu_seconds_of_ended() -> float:
    """Of the children that have ended: load generators do with each load, servers do not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Asked(Protocol):
    """A ready request, and the check of its answer."""

    @property
    def name(self) -> str:
        """Of the model and the form, for messages."""

    @property
    def protocol(self) -> str: ...

    @property
    def path(self) -> str:
        """In the URL, of gRPC that of the method."""

    @property
    def body_path(self) -> Path: ...

    @property
    def message(self) -> bytes: ...

    def is_right_message(self, response: bytes) -> bool:
        """Of an answer, over whichever protocol."""


class Contestant:
    """One server and one question: asks it, and measures what that costs."""

    def __init__(
        self, server: RunningServer, question: Asked, folder: Path, *, is_heavy: bool
    ) -> None:
        self.server = server
        self.question = question
        self.is_heavy = is_heavy
        self._log = folder / "h2load.log"
        self._response_bytes = 0
        self._rate = 0.0

    @property
    def name(self) -> str:
        return self.server.program.name

    def resident_bytes(self) -> int:
        """See `Rival`."""
        return self.server.resident_bytes()

    def check(self, at_once: int) -> None:
        """Ask `at_once` times together, by a client that sees errors; compare the answers.

        Raises:
            ServerFailed: an answer was wrong.
        """
        right = self._check_grpc(at_once) if self._is_grpc else self._check_rest()
        if not right:
            raise ServerFailed(f"{self.name} gave a wrong answer to {self.question.name}")

    def calibrate(self, concurrency: int, seconds: float) -> None:
        """Find out how much it can take, which also warms it up."""
        self._rate = calibrated_rate(self._exact_load, concurrency, seconds)

    def turn(self, concurrency: int, seconds: float) -> Turn:
        return turn_under(lambda: self._load_for(seconds, concurrency), self.server)

    def _load_for(self, seconds: float, concurrency: int) -> Load:
        if self._is_grpc or self.is_heavy:
            # wrk leaves requests behind when its time is over, which count where they are heavy.
            count = requests_for(self._rate, seconds, concurrency)
            return self._exact_load(count, concurrency)
        whole_seconds = max(1, round(seconds))
        return timed_rest_load(self._url, self.question.body_path, whole_seconds, concurrency)

    @property
    def _is_grpc(self) -> bool:
        return self.question.protocol == "grpc"

    @property
    def _url(self) -> str:
        port = self.server.grpc_port if self._is_grpc else self.server.rest_port
        return f"http://127.0.0.1:{port}{self.question.path}"

    def _exact_load(self, count: int, concurrency: int) -> Load:
        body = self.question.body_path
        if self._is_grpc:
            size = self._response_bytes + GRPC_PREFIX_BYTES
            return grpc_load(self._url, body, count, concurrency, size, self._log)
        # Of REST, h2load sees the errors; the length may vary with the last digits of a float.
        size = self._response_bytes // 2
        return rest_load(self._url, body, count, concurrency, size, self._log)

    def _check_grpc(self, at_once: int) -> bool:
        with self.server.grpc_client(self.question.path) as client:
            responses = client.predict_at_once(self.question.message, at_once)
        self._response_bytes = len(responses[0])
        sizes = {len(response) for response in responses}
        return len(sizes) == 1 and all(map(self.question.is_right_message, responses[:4]))

    def _check_rest(self) -> bool:
        with self.server.rest_client() as client:
            status, response = client.request("POST", self.question.path, self.question.message)
        self._response_bytes = len(response)
        return status == 200 and self.question.is_right_message(response)


def measure(
    workload: Workload,
    programs: Sequence[Program],
    folder: Path,
) -> Iterator[list[Cell]]:
    """The cells of a workload, those of one form as soon as they are complete."""
    with _all_running(workload, programs, folder) as servers:
        for form in workload.forms:
            question = Question(workload.model, form, folder)
            rivals = [
                Contestant(server, question, folder, is_heavy=workload.computes_long)
                for server in servers
                if form.protocol in server.program.protocols
            ]
            cells: list[Cell] = []
            for concurrency in workload.concurrencies:
                fresh = [
                    Cell(workload.model.name, form.name, concurrency, rival.name)
                    for rival in rivals
                ]
                take_turns(rivals, fresh, workload.rounds, workload.seconds)
                cells += fresh
            yield cells


def take_turns(rivals: Sequence[Rival], cells: Sequence[Cell], rounds: int, seconds: float) -> None:
    """Fill the cells, one for each of the rivals, all of one concurrency.

    Raises:
        ServerFailed: an answer was wrong, before or after.
    """
    pairs = list(zip(rivals, cells, strict=True))
    for rival, cell in pairs:
        rival.check(cell.concurrency)
        rival.calibrate(cell.concurrency, seconds)
    for number in range(rounds):
        # Every other round backwards: nobody always comes after the same neighbour.
        for rival, cell in pairs if number % 2 == 0 else reversed(pairs):
            cell.turns.append(rival.turn(cell.concurrency, seconds))
    for rival, cell in pairs:
        cell.resident_mb = rival.resident_bytes() / 2**20
        rival.check(cell.concurrency)


@contextlib.contextmanager
def _all_running(
    workload: Workload, programs: Sequence[Program], folder: Path
) -> Iterator[list[RunningServer]]:
    protocols = {form.protocol for form in workload.forms}
    name = workload.model.name
    flags = [f"--model_name={name}", f"--model_base_path={folder / name}"]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(RunningServer(program, flags, folder / f"{program.name}.log"))
            for program in programs
            if program.protocols & protocols
        ]
        for server in servers:
            for protocol in server.program.protocols:
                server.wait_for_port(protocol)
        yield servers
