import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import ServingError
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_turns import BatchThreads
from salver.execution.batcher import Batcher, BatcherOptions
from salver.execution.lanes import Lanes, Way
from salver.execution.prepared import PreparedServable
from salver.execution.runner import Runner, RunnerOptions
from salver.telemetry.batching_metrics import BatchingMetrics
from tests.fakes import LIMIT_S


class FakeProgram:
    """Doubles its input, once its gate is open."""

    def __init__(self, gate: threading.Event) -> None:
        self.gate = gate
        self.threads: set[str] = set()

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(LIMIT_S)
        return [array * 2 for array in inputs]


@dataclass
class NearServable:
    gate: threading.Event = field(default_factory=threading.Event)
    signature_def_map: bytes = b""

    def __post_init__(self) -> None:
        self.fake = FakeProgram(self.gate)
        spec = TensorSpec("x", DataType.FLOAT, (-1,))
        out = TensorSpec("y", DataType.FLOAT, (-1,))
        self.signatures = {"s": Signature("s", {"x": spec}, {"y": out})}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        return self.fake


class FarServable(NearServable):
    places = 2

    def warming_up(self) -> AbstractContextManager[None]:
        return nullcontext()


def way(places: int) -> Way:
    runner = Runner(RunnerOptions(workers=places, inline_budget_s=1000.0))
    return Way(runner, Batcher(BatcherOptions(BatchThreads(places)), runner, BatchingMetrics()))


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    lanes = Lanes(way(1), way)
    lanes.start()
    yield lanes
    lanes.stop()


def asked(lanes: Lanes, servable: PreparedServable) -> asyncio.Future[str]:
    """Ask for the double of 1."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def done(
        outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        answer.set_result(error.status if error is not None else str((outputs or [])[0]))

    executable = servable.signatures["s"].executable
    lanes.run(executable, [np.ones(1, np.float32)], None, done, lambda: None)
    return answer


async def heard(answer: asyncio.Future[str]) -> str:
    return await asyncio.wait_for(answer, LIMIT_S)


@pytest.mark.parametrize("batching", [None, BatchOptions()], ids=["alone", "batched"])
async def test_what_waits_elsewhere_keeps_nobody_else_waiting(
    lanes: Lanes, batching: BatchOptions | None
) -> None:
    hung = FarServable()
    waiting = [asked(lanes, PreparedServable(hung, batching)) for _ in range(8)]
    for other in (NearServable(), FarServable()):
        other.gate.set()
        assert await heard(asked(lanes, PreparedServable(other, batching))) == "[2.]"
    assert not any(answer.done() for answer in waiting)

    hung.gate.set()

    assert {await heard(answer) for answer in waiting} == {"[2.]"}
    assert lanes.in_flight == 0


@pytest.mark.parametrize("batching", [None, BatchOptions()], ids=["alone", "batched"])
async def test_what_runs_elsewhere_never_runs_on_the_loop(
    lanes: Lanes, batching: BatchOptions | None
) -> None:
    near, far = NearServable(), FarServable()
    for servable in (near, far):
        servable.gate.set()
        prepared = PreparedServable(servable, batching)
        for _ in range(50):
            assert await heard(asked(lanes, prepared)) == "[2.]"

    # Known to be cheap, the one runs where it is asked for; the other may hang any time.
    loop_thread = threading.current_thread().name
    assert loop_thread in near.fake.threads
    assert loop_thread not in far.fake.threads


async def test_threads_go_with_their_model(lanes: Lanes) -> None:
    servable = FarServable()
    servable.gate.set()
    before = set(threading.enumerate())
    prepared = PreparedServable(servable)
    assert await heard(asked(lanes, prepared)) == "[2.]"
    own = set(threading.enumerate()) - before
    assert len(own) == 2 * servable.places

    # On the thread that unloads.
    await asyncio.to_thread(prepared.part)

    for thread in own:
        await asyncio.to_thread(thread.join, LIMIT_S)
        assert not thread.is_alive()


async def test_the_end_refuses_what_waits_everywhere(lanes: Lanes) -> None:
    servable = FarServable()
    waiting = [asked(lanes, PreparedServable(servable)) for _ in range(5)]

    lanes.drain()
    lanes.stop()
    servable.gate.set()

    answers = {await heard(answer) for answer in waiting}
    assert answers <= {"[2.]", "UNAVAILABLE: The server is shutting down"}


def test_a_lane_that_nobody_asked_for_just_goes() -> None:
    prepared = PreparedServable(FarServable())

    prepared.part()

    assert prepared.lane is not None


async def test_each_model_is_refused_by_its_own_threads(lanes: Lanes) -> None:
    servable = FarServable()
    prepared, near = PreparedServable(servable), PreparedServable(NearServable())
    executable = prepared.signatures["s"].executable
    # Nobody has asked for it yet: there are no threads that could be busy.
    assert lanes.refusal(executable) is None
    waiting = [asked(lanes, prepared) for _ in range(3)]
    executable.expected_s = [1000.0] * 64
    waiting += [asked(lanes, prepared) for _ in range(3)]
    now = asyncio.get_running_loop().time()

    assert lanes.refusal(executable, now + 1.0) is not None
    assert lanes.refusal(executable) is None
    assert lanes.refusal(near.signatures["s"].executable, now + 1.0) is None

    servable.gate.set()
    assert {await heard(answer) for answer in waiting} == {"[2.]"}


async def test_what_a_queue_refuses_is_counted_there(lanes: Lanes) -> None:
    servable = FarServable()
    prepared = PreparedServable(servable, BatchOptions())
    executable = prepared.signatures["s"].executable
    assert executable.queue is not None
    lanes.refused(executable)
    assert executable.queue.totals.refused == 0
    gate = asked(lanes, prepared)
    lanes.refused(executable)
    assert executable.queue.totals.refused == 1
    assert lanes.refusal(executable, 0.0) is None
    servable.gate.set()
    assert await heard(gate) == "[2.]"
