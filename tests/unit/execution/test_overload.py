"""What a runner refuses, and when: before a wait that would help nobody."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salver.errors import ServingError, Unavailable
from salver.execution.patience import Patience
from salver.execution.prepared import Executable
from salver.execution.runner import Pending, Run, Runner, RunnerOptions
from tests.fakes import LIMIT_S

NEVER_INLINE_S = -1.0
RUN_S = 10.0
"""What each run is expected to take: so long that no test comes near a deadline."""


class Gated:
    """Runs when the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert self.gate.wait(LIMIT_S)
        return list(inputs)


class Scene:
    """A runner with one worker, which is busy, and some requests behind."""

    def __init__(self, **options: Any) -> None:
        self.runner = Runner(replace(RunnerOptions(1, NEVER_INLINE_S), **options))
        self.runner.start()
        self.program = Gated()
        self.executable = Executable(self.program)
        self.executable.expected_s = [RUN_S] * 64
        self.errors: list[ServingError | None] = []
        self._settled = asyncio.Event()
        self._under_way = 0

    def submit(self, left_s: float | None = None, input_bytes: int = 0) -> Pending | None:
        deadline = None if left_s is None else asyncio.get_running_loop().time() + left_s
        self._under_way += 1
        return self.runner.run(
            self.executable, [np.zeros(input_bytes, np.int8)], deadline, self._done, self._ended
        )

    def is_refused(self, left_s: float | None = None, input_bytes: int = 0) -> bool:
        before = len(self.errors)
        run = self.submit(left_s, input_bytes)
        if run is None:
            assert isinstance(self.errors[before], Unavailable)
            return True
        run.abandon()
        return False

    def _done(
        self, outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        self.errors.append(error)

    def _ended(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._settled.set()

    async def until_settled(self) -> None:
        await asyncio.wait_for(self._settled.wait(), LIMIT_S)
        self._settled.clear()

    async def end(self) -> None:
        self.program.gate.set()
        await self.until_settled()
        self.runner.stop()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    scene.submit()
    yield scene
    await scene.end()
    assert scene.runner.in_flight == 0
    assert scene.runner.queued_bytes == 0


async def test_a_deadline_before_the_expected_end_is_refused_and_a_later_one_is_not(
    scene: Scene,
) -> None:
    # One runs; the next would wait for it and then run itself, and something is to spare.
    assert scene.is_refused(2 * RUN_S)
    assert not scene.is_refused(3 * RUN_S)
    scene.submit()
    assert scene.is_refused(3 * RUN_S)
    assert not scene.is_refused(4 * RUN_S)
    assert not scene.is_refused()


async def test_nothing_is_refused_while_a_worker_is_idle() -> None:
    scene = Scene()
    assert not scene.is_refused(RUN_S / 2)
    await scene.end()


async def test_what_gave_up_does_not_keep_others_out(scene: Scene) -> None:
    runs = [scene.submit() for _ in range(5)]
    assert scene.is_refused(3 * RUN_S)
    for run in runs:
        assert run is not None
        run.abandon()
    assert not scene.is_refused(3 * RUN_S)


async def test_where_waits_turn_out_longer_more_are_refused(scene: Scene) -> None:
    assert not scene.is_refused(3 * RUN_S)
    for _ in range(200):
        scene.runner.pace.learn(2 * RUN_S, RUN_S)
    assert scene.is_refused(3 * RUN_S)
    assert not scene.is_refused(4 * RUN_S)
    # It learns as well that they are as expected again; shorter than that it does not believe.
    for _ in range(200):
        scene.runner.pace.learn(0.1 * RUN_S, RUN_S)
    assert scene.is_refused(2 * RUN_S)
    assert not scene.is_refused(3 * RUN_S)


async def test_a_request_that_waits_longer_than_expected_teaches_that() -> None:
    scene = Scene()
    scene.executable.expected_s = [1e-9] * 64
    scene.submit()
    # Each of these waits for the gate, which is far more than a billionth of a second.
    for _ in range(100):
        scene.submit()
    scene.program.gate.set()
    await scene.until_settled()
    scene.program.gate.clear()
    scene.executable.expected_s = [RUN_S] * 64
    scene.submit()
    assert scene.is_refused(6 * RUN_S)
    await scene.end()


async def test_a_wait_beyond_the_limit_is_refused_without_a_deadline_too() -> None:
    scene = Scene(max_wait_s=1.5 * RUN_S)
    scene.submit()
    assert scene.submit() is not None
    assert scene.is_refused()
    assert "15 s is the limit" in str(scene.errors[-1])
    await scene.end()


async def test_clients_that_go_away_from_the_queue_make_the_longest_wait_shorter() -> None:
    scene = Scene(max_wait_s=3.5 * RUN_S)
    for _ in range(3):
        scene.submit()
    assert not scene.is_refused()
    patience = scene.runner.patience
    for number in range(100):
        patience.gone(patience.limit_s, patience.limit_s, 1e6 + number)
    assert scene.is_refused()
    await scene.end()


async def test_only_who_goes_away_from_the_queue_shows_how_long_clients_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone: list[float] = []
    monkeypatch.setattr(
        Patience, "gone", lambda patience, expected_s, waited_s, now: gone.append(expected_s)
    )
    scene = Scene(max_wait_s=1000.0)
    scene.submit()
    running, waiting = scene.submit(), scene.submit()
    assert isinstance(running, Run)
    assert isinstance(waiting, Run)
    running.started_at = 1.0
    running.abandon()
    assert not gone
    waiting.abandon()
    assert gone == [2 * RUN_S]
    await scene.end()


async def test_what_has_waited_as_long_as_clients_bear_is_refused_instead_of_run() -> None:
    scene = Scene(max_wait_s=3.5 * RUN_S)
    scene.submit()
    late, early = scene.submit(), scene.submit()
    assert isinstance(late, Run)
    assert early is not None
    late.queued_at -= RUN_S
    patience = scene.runner.patience
    for number in range(100):
        patience.gone(patience.limit_s, 0.9 * RUN_S, 1e6 + number)
    scene.program.gate.set()
    await scene.until_settled()
    assert [str(error) for error in scene.errors if error is not None] == [
        "The server is overloaded: the wait was 10.0 s already, and clients have shown that they "
        "do not wait much longer"
    ]
    assert scene.errors[1] is not None
    scene.runner.stop()


async def test_large_inputs_do_not_fill_the_memory_while_they_wait() -> None:
    scene = Scene(max_queued_bytes=1000)
    scene.submit(input_bytes=5000)
    assert scene.is_refused(input_bytes=1)
    await scene.end()
    assert scene.runner.queued_bytes == 0
    scene = Scene(max_queued_bytes=1000)
    scene.submit(input_bytes=400)
    assert not scene.is_refused(input_bytes=600)
    assert scene.is_refused(input_bytes=601)
    await scene.end()


async def test_who_asks_before_hears_what_a_request_would_hear() -> None:
    scene = Scene(max_wait_s=2.5 * RUN_S)
    assert scene.runner.refusal(scene.executable) is None
    while not scene.is_refused():
        assert scene.runner.refusal(scene.executable) is None
        scene.submit()
    assert isinstance(scene.runner.refusal(scene.executable), Unavailable)
    # What may run on the loop does not wait for workers.
    cheap = Executable(scene.program)
    cheap.cost_s[3] = NEVER_INLINE_S
    assert scene.runner.refusal(cheap) is None
    await scene.end()
    assert scene.runner.refusal(scene.executable) is not None
