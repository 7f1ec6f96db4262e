"""Which threads a request runs on: those that most models share, or those of its model.

A program that runs in another process keeps a thread waiting, for long if that process
hangs. On the shared threads it would keep all models waiting; so its model has threads, and a
queue, of its own.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from salver.errors import ServingError
from salver.execution.batcher import Batcher
from salver.execution.lane import Lane
from salver.execution.prepared import Executable
from salver.execution.runner import OnDone, Pending, Runner


@dataclass(frozen=True, slots=True)
class Way:
    """Threads, and batches before them if there are any."""

    runner: Runner
    batcher: Batcher | None

    def start(self) -> None:
        """See `Workers.start`."""
        self.runner.start()
        if self.batcher is not None:
            self.batcher.start()

    def stop(self) -> None:
        """See `Batcher.stop` and `Runner.stop`."""
        if self.batcher is not None:
            self.batcher.stop()
        self.runner.stop()


class Lanes:
    """`RunsPrograms` for all models. Loop only."""

    def __init__(self, shared: Way, make: Callable[[int], Way]) -> None:
        """Start nothing.

        Args:
            shared: the way of most models.
            make: makes one for so many runs at the same time.
        """
        self._shared = shared
        self._make = make
        self._ways: dict[Lane, Way] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """See `Workers.start`."""
        self._loop = asyncio.get_running_loop()
        self._shared.start()

    def end_turn(self) -> None:
        """Run now what came in this turn of the loop and is to be run together.

        It is run anyway, in the next turn: for those who have answers to send at the end of this.
        """
        batcher = self._shared.batcher
        # Runs in lanes wait for another process: none of them is run on the loop.
        if batcher is not None:
            batcher.end_turn()

    def drain(self) -> None:
        """See `Batcher.drain`."""
        for way in self._all():
            if way.batcher is not None:
                way.batcher.drain()

    def stop(self) -> None:
        """Let all threads end after what they are running now; what is queued is refused."""
        for way in self._all():
            way.stop()

    @property
    def in_flight(self) -> int:
        """Runs handed to threads of runners, not yet back and still wanted."""
        return sum(way.runner.in_flight for way in self._all())

    def _all(self) -> Iterator[Way]:
        yield self._shared
        yield from self._ways.values()

    def run(
        self,
        executable: Executable,
        inputs: Sequence[np.ndarray],
        deadline: float | None,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> Pending | None:
        """As `Runner.run`."""
        lane = executable.lane
        way = self._shared if lane is None else self._ways.get(lane) or self._opened(lane)
        if way.batcher is None or executable.queue is None:
            return way.runner.run(executable, inputs, deadline, on_done, on_settled)
        return way.batcher.run(executable, inputs, deadline, on_done, on_settled)

    def refusal(self, executable: Executable, deadline: float | None = None) -> ServingError | None:
        """See `RunsPrograms`."""
        lane = executable.lane
        way = self._shared if lane is None else self._ways.get(lane)
        if way is None:
            return None
        if way.batcher is not None and executable.queue is not None:
            return way.batcher.refusal(executable.queue, deadline)
        return way.runner.refusal(executable, deadline)

    def refused(self, executable: Executable) -> None:
        """See `RunsPrograms`."""
        way = self._shared if executable.lane is None else self._ways.get(executable.lane)
        if way is not None and way.batcher is not None and executable.queue is not None:
            way.batcher.refused(executable.queue)

    def _opened(self, lane: Lane) -> Way:
        assert self._loop is not None
        way = self._ways[lane] = self._make(lane.places)
        way.start()
        lane.on_close = partial(self._close_soon, lane)
        return way

    def _close_soon(self, lane: Lane) -> None:
        """From any thread."""
        assert self._loop is not None
        # A closed loop has no threads any more that anybody would miss.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._close, lane)

    def _close(self, lane: Lane) -> None:
        way = self._ways.pop(lane, None)
        if way is not None:
            way.stop()
