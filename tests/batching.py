"""A batcher over a program that echoes, for the tests of batching."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from salver.core.data_type import DataType
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, ServingError
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_run import BatchRun
from salver.execution.batch_turns import BatchThreads
from salver.execution.batcher import Batcher, BatcherOptions
from salver.execution.lanes import Lanes, Way
from salver.execution.prepared import Executable, PreparedServable
from salver.execution.row_counts import JoinedCounts, RowCounts
from salver.execution.runner import Pending, Runner, RunnerOptions
from tests.fakes import LIMIT_S, failure

NEVER_INLINE_S = -1.0


class Echo:
    """Gives each row back, once more negated; a row below zero fails the run."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        [rows] = inputs
        self.sizes.append(len(rows))
        self.threads.append(threading.current_thread().name)
        self.started.release()
        assert self.gate.wait(LIMIT_S)
        if (rows < 0).any():
            raise InvalidArgument(f"row {rows.min():g}")
        return [rows, -rows]


class EchoServable:
    """Echo as a servable, under a signature that declares rows."""

    signature_def_map = b""

    def __init__(self, program: Program, shape: tuple[int, ...] | None = (-1,)) -> None:
        self._program = program
        x = {"x": TensorSpec("x:0", DataType.FLOAT, shape)}
        y = {"y": TensorSpec("y:0", DataType.FLOAT, shape)}
        self.signatures = {"serving_default": Signature("serving_default", x, y)}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        return self._program


@dataclass
class Notes:
    """What a batcher tells."""

    runs: list[BatchRun] = field(default_factory=list)
    requests: list[tuple[int, int]] = field(default_factory=list)
    counts: RowCounts = field(default_factory=lambda: RowCounts(0))
    """Of requests in no batch."""
    joined_counts: JoinedCounts = field(default_factory=lambda: JoinedCounts(0))
    """Of those that were run as one on the loop."""
    refusals: int = 0

    def joined(self, inputs: int, most: int) -> JoinedCounts:
        assert inputs == 1
        self.joined_counts = JoinedCounts(most)
        return self.joined_counts

    def alone(self, inputs: int, most: int) -> RowCounts:
        assert inputs == 1
        self.counts = RowCounts(most)
        return self.counts

    def came(self, inputs: int, rows: int) -> None:
        self.requests.append((inputs, rows))

    def batch_ran(self, run: BatchRun) -> None:
        self.runs.append(run)

    def refused(self) -> None:
        self.refusals += 1


class Site:
    """A batcher over an echo, and what its callers hear."""

    def __init__(
        self,
        options: BatchOptions,
        threads: int = 1,
        inline_s: float = NEVER_INLINE_S,
        max_wait_s: float = 0.0,
        max_queued_bytes: int = 0,
    ) -> None:
        self.echo = Echo()
        self.notes = Notes()
        self.runner = Runner(RunnerOptions(1, inline_budget_s=inline_s))
        self.batcher = Batcher(
            BatcherOptions(
                BatchThreads(threads, inline_budget_s=inline_s),
                max_wait_s=max_wait_s,
                max_queued_bytes=max_queued_bytes,
            ),
            self.runner,
            self.notes,
        )
        shared = Way(self.runner, self.batcher)
        self.lanes = Lanes(shared, lambda places: shared)
        servable = PreparedServable(EchoServable(self.echo), options)
        self.executable: Executable = servable.signatures["serving_default"].executable
        self.answers: dict[int, tuple[list[np.ndarray] | None, ServingError | None]] = {}
        self.settled: list[int] = []
        self.sent = 0
        self._changed = asyncio.Event()

    def send(
        self, rows: Any, deadline_s: float | None = None, dtype: Any = np.float32
    ) -> Pending | None:
        number = self.sent
        self.sent += 1

        def on_done(
            outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
        ) -> None:
            assert number not in self.answers
            self.answers[number] = outputs, error
            self._changed.set()

        def on_settled() -> None:
            self.settled.append(number)
            self._changed.set()

        loop = asyncio.get_running_loop()
        deadline = None if deadline_s is None else loop.time() + deadline_s
        array = np.array(rows, dtype)
        return self.lanes.run(self.executable, [array], deadline, on_done, on_settled)

    def send_to_one_who_fails(self, rows: Any) -> None:
        """A request whose caller raises when it hears the answer."""
        number = self.sent
        self.sent += 1

        def on_done(
            outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
        ) -> None:
            self.answers[number] = outputs, error
            raise RuntimeError("hung up")

        array = np.array(rows, np.float32)
        self.lanes.run(self.executable, [array], None, on_done, lambda: self.settled.append(number))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def all_answered(self) -> None:
        await self.until(lambda: len(self.answers) == len(self.settled) == self.sent)

    async def hold_the_thread(self) -> None:
        """Have a first request occupy the only thread, its gate shut."""
        self.echo.gate.clear()
        self.send([100.0])
        assert await asyncio.to_thread(self.echo.started.acquire, timeout=LIMIT_S)

    def errors(self) -> list[str | None]:
        return [failure(error) for _, (_, error) in sorted(self.answers.items())]

    def rows(self, number: int) -> Any:
        outputs, error = self.answers[number]
        assert error is None
        assert outputs is not None
        return outputs[0].tolist()


@contextmanager
def started(site: Site) -> Iterator[Site]:
    """For a `with` block on a running loop."""
    site.runner.start()
    site.batcher.start()
    try:
        yield site
    finally:
        site.echo.gate.set()
        site.batcher.stop()
        site.runner.stop()


FOURS = BatchOptions(max_batch_size=4, max_execution_batch_size=4, max_enqueued_batches=100)
"""Batches of four rows, and no reason to refuse."""

AUTOMATIC = BatchOptions(
    max_batch_size=1024, max_execution_batch_size=1024, max_enqueued_batches=100, is_automatic=True
)

Opened = Callable[..., Site]
