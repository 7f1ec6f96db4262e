import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.errors import InternalError, NotFound, ServingError
from salver.execution.immediate import ImmediateRunner
from salver.execution.prepared import Executable
from salver.execution.runner import Pending, Runner, RunnerOptions
from tests.fakes import LIMIT_S, failure, turn_loop

ALWAYS_INLINE_S = float("inf")
INLINE_ONCE_KNOWN_S = 1000.0
NEVER_INLINE_S = -1.0


class FakeProgram:
    """Doubles its inputs; waits and fails as told."""

    def __init__(self, error: Exception | None = None, gate: threading.Event | None = None) -> None:
        self.threads: list[str] = []
        self.started = threading.Event()
        self._error = error
        self._gate = gate

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.threads.append(threading.current_thread().name)
        self.started.set()
        if self._gate is not None:
            assert self._gate.wait(LIMIT_S)
        if self._error is not None:
            raise self._error
        return [array + array for array in inputs]


class Caller:
    """Waits for one request and notes what it hears."""

    def __init__(self, error: Exception | None = None) -> None:
        self.answers: list[tuple[list[np.ndarray] | None, ServingError | None]] = []
        self.settlements = 0
        self._error = error
        self._answered = asyncio.Event()
        self._settled = asyncio.Event()

    def on_done(
        self, outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        assert elapsed_s >= 0
        self.answers.append((outputs, error))
        self._answered.set()
        if self._error is not None:
            raise self._error

    def on_settled(self) -> None:
        self.settlements += 1
        self._settled.set()

    @property
    def failures(self) -> list[str | None]:
        return [failure(error) for _, error in self.answers]

    async def until_answered(self) -> None:
        await asyncio.wait_for(self._answered.wait(), LIMIT_S)

    async def until_settled(self) -> None:
        await asyncio.wait_for(self._settled.wait(), LIMIT_S)


def started_runner(budget_s: float, workers: int = 1, max_queued: int = 100) -> Runner:
    runner = Runner(RunnerOptions(workers, inline_budget_s=budget_s, max_queued=max_queued))
    runner.start()
    return runner


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    runner = started_runner(NEVER_INLINE_S)
    yield runner
    runner.stop()


@pytest.fixture
async def learning_runner() -> AsyncIterator[Runner]:
    runner = started_runner(INLINE_ONCE_KNOWN_S)
    yield runner
    runner.stop()


def submit(
    runner: Runner,
    program: FakeProgram | Executable,
    caller: Caller,
    inputs: Sequence[np.ndarray] = (),
    deadline: float | None = None,
) -> Pending | None:
    executable = program if isinstance(program, Executable) else Executable(program)
    return runner.run(executable, inputs, deadline, caller.on_done, caller.on_settled)


async def settled(
    runner: Runner, executable: Executable, inputs: Sequence[np.ndarray] = ()
) -> None:
    caller = Caller()
    submit(runner, executable, caller, inputs)
    await caller.until_settled()


async def test_a_run_of_unknown_cost_goes_to_a_worker_and_a_cheap_one_is_run_inline(
    learning_runner: Runner,
) -> None:
    program = FakeProgram()
    executable = Executable(program)
    await settled(learning_runner, executable)
    caller = Caller()
    assert submit(learning_runner, executable, caller, [np.ones(0)]) is None
    assert (len(caller.answers), caller.settlements) == (1, 1)
    assert program.threads == ["worker-0", threading.current_thread().name]


async def test_an_expensive_program_stays_on_the_workers(runner: Runner) -> None:
    program = FakeProgram()
    executable = Executable(program)
    for _ in range(10):
        await settled(runner, executable)
    assert set(program.threads) == {"worker-0"}


class WaitingProgram(FakeProgram):
    """Takes its time, but next to none of the CPU's."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        threading.Event().wait(0.02)
        return super().run(inputs)


async def test_a_program_that_waits_never_holds_up_the_loop() -> None:
    runner = started_runner(1e-3)
    program = WaitingProgram()
    executable = Executable(program)
    for _ in range(8):
        await settled(runner, executable)
    assert program.threads == ["worker-0"] * 8
    runner.stop()


class SlowProgram(FakeProgram):
    """Takes longer than many times the budget below; the clock, not the machine, says so."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = super().run(inputs)
        until = perf_counter() + 40 * BUDGET_S
        while perf_counter() < until:
            pass
        return outputs


BUDGET_S = 1e-4


@pytest.mark.parametrize("workers_are_busy", [False, True])
async def test_a_slow_run_on_the_loop_is_a_surprise_only_if_no_worker_may_have_held_it_up(
    workers_are_busy: bool,
) -> None:
    runner = started_runner(BUDGET_S)
    gate = threading.Event()
    if workers_are_busy:
        submit(runner, FakeProgram(gate=gate), Caller())
    executable = Executable(SlowProgram())
    executable.cost_s[0] = 0.0
    executable.suspicion = 100
    assert submit(runner, executable, Caller()) is None
    assert (executable.cost_s[0] == float("inf")) is not workers_are_busy
    gate.set()
    runner.stop()


async def test_a_large_input_is_not_judged_by_what_small_ones_took(
    learning_runner: Runner,
) -> None:
    program = FakeProgram()
    executable = Executable(program)
    small, large = [np.zeros(4, np.int8)], [np.zeros(4000, np.int8)]
    for inputs in (small, small, large, large):
        await settled(learning_runner, executable, inputs)
    inline = threading.current_thread().name
    assert program.threads == ["worker-0", inline, "worker-0", inline]


async def test_the_size_of_a_string_is_that_of_its_characters(learning_runner: Runner) -> None:
    program = FakeProgram()
    executable = Executable(program)
    for text in (b"x", b"y", b"z" * 4000):
        await settled(learning_runner, executable, [np.array([text], object)])
    inline = threading.current_thread().name
    assert program.threads == ["worker-0", inline, "worker-0"]


async def test_inputs_that_fail_at_once_do_not_make_a_program_look_cheap(
    learning_runner: Runner,
) -> None:
    program = FakeProgram(NotFound("no such row"))
    executable = Executable(program)
    for _ in range(6):
        await settled(learning_runner, executable)
    assert set(program.threads) == {"worker-0"}


async def test_the_outputs_of_a_worker_come_back_on_the_loop(runner: Runner) -> None:
    caller = Caller()
    assert submit(runner, FakeProgram(), caller, [np.array([1, 2]), np.array([3])]) is not None
    assert runner.in_flight == 1
    await caller.until_settled()
    [(outputs, error)] = caller.answers
    assert error is None
    assert [array.tolist() for array in outputs or []] == [[2, 4], [6]]
    assert runner.in_flight == 0


@pytest.mark.parametrize("budget_s", [ALWAYS_INLINE_S, NEVER_INLINE_S], ids=["inline", "worker"])
async def test_the_error_of_a_program_is_passed_on(budget_s: float) -> None:
    runner, caller = started_runner(budget_s), Caller()
    submit(runner, FakeProgram(NotFound("no such row")), caller)
    await caller.until_settled()
    assert caller.failures == ["NOT_FOUND: no such row"]
    runner.stop()


@pytest.mark.parametrize("budget_s", [ALWAYS_INLINE_S, NEVER_INLINE_S], ids=["inline", "worker"])
async def test_what_no_backend_should_raise_is_logged_and_becomes_internal(
    budget_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    runner, caller = started_runner(budget_s), Caller()
    submit(runner, FakeProgram(ZeroDivisionError("seven by nothing")), caller)
    await caller.until_settled()
    assert caller.failures == ["INTERNAL: The model failed: ZeroDivisionError: seven by nothing"]
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    runner.stop()


async def test_a_request_that_expires_in_the_queue_is_answered_once_and_never_run(
    runner: Runner,
) -> None:
    gate = threading.Event()
    first, second = Caller(), Caller()
    submit(runner, FakeProgram(gate=gate), first)
    late = FakeProgram()
    submit(runner, late, second, deadline=asyncio.get_running_loop().time())
    await second.until_answered()
    assert second.failures == ["DEADLINE_EXCEEDED: Timed out waiting for notification"]
    assert second.settlements == 0
    gate.set()
    await second.until_settled()
    assert not late.threads
    assert (len(first.answers), len(second.answers)) == (1, 1)


async def test_a_request_that_expires_while_it_runs_is_answered_then_and_settled_at_its_end(
    runner: Runner,
) -> None:
    gate = threading.Event()
    program, caller = FakeProgram(gate=gate), Caller()
    submit(runner, program, caller, deadline=asyncio.get_running_loop().time())
    assert program.started.wait(LIMIT_S)
    await caller.until_answered()
    assert caller.failures == ["DEADLINE_EXCEEDED: Timed out waiting for notification"]
    await turn_loop()
    assert caller.settlements == 0
    gate.set()
    await caller.until_settled()
    assert (len(caller.answers), caller.settlements) == (1, 1)


async def test_a_deadline_that_is_kept_is_heard_of_no_more(runner: Runner) -> None:
    caller = Caller()
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    submit(runner, FakeProgram(), caller, deadline=deadline)
    await caller.until_settled()
    assert caller.failures == [None]


async def test_an_abandoned_request_is_skipped_but_settled(runner: Runner) -> None:
    gate = threading.Event()
    first, second = Caller(), Caller()
    submit(runner, FakeProgram(gate=gate), first)
    unwanted = FakeProgram()
    deadline = asyncio.get_running_loop().time()
    run = submit(runner, unwanted, second, deadline=deadline)
    assert run is not None
    run.abandon()
    await turn_loop()
    gate.set()
    await second.until_settled()
    assert not unwanted.threads
    assert (len(second.answers), second.settlements, runner.in_flight) == (0, 1, 0)


async def test_what_is_abandoned_while_it_runs_is_settled_when_it_no_longer_runs(
    runner: Runner,
) -> None:
    gate = threading.Event()
    program, caller = FakeProgram(gate=gate), Caller()
    run = submit(runner, program, caller)
    assert program.started.wait(LIMIT_S)
    assert run is not None
    run.abandon()
    await turn_loop()
    assert caller.settlements == 0
    gate.set()
    await caller.until_settled()
    assert not caller.answers


async def test_an_abandoned_request_lets_go_of_its_inputs_in_the_queue(runner: Runner) -> None:
    gate = threading.Event()
    first, second = Caller(), Caller()
    submit(runner, FakeProgram(gate=gate), first)
    array = np.zeros(1000)
    inputs = weakref.ref(array)
    run = submit(runner, FakeProgram(), second, [array])
    assert run is not None
    del array
    run.abandon()
    assert inputs() is None
    gate.set()
    await second.until_settled()


async def test_an_idle_worker_keeps_nothing_of_its_last_run_alive(runner: Runner) -> None:
    executable = Executable(FakeProgram())
    program = weakref.ref(executable.program)
    await settled(runner, executable, [np.zeros(10)])
    del executable
    gc.collect()
    assert program() is None


async def test_more_than_may_wait_are_refused_at_once() -> None:
    runner = started_runner(NEVER_INLINE_S, max_queued=2)
    gate = threading.Event()
    callers = [Caller() for _ in range(3)]
    runs = [submit(runner, FakeProgram(gate=gate), caller) for caller in callers]
    assert runs[2] is None
    assert callers[2].failures == ["UNAVAILABLE: 2 requests are under way already"]
    assert callers[2].settlements == 1
    gate.set()
    for caller in callers[:2]:
        await caller.until_settled()
    await settled(runner, Executable(FakeProgram()))
    runner.stop()


async def test_those_whose_callers_are_gone_keep_nobody_out() -> None:
    runner = started_runner(NEVER_INLINE_S, max_queued=2)
    gate = threading.Event()
    callers = [Caller() for _ in range(4)]
    now = asyncio.get_running_loop().time()
    abandoned = submit(runner, FakeProgram(gate=gate), callers[0])
    submit(runner, FakeProgram(gate=gate), callers[1], deadline=now)
    assert abandoned is not None
    assert runner.in_flight == 2
    abandoned.abandon()
    abandoned.abandon()
    await callers[1].until_answered()
    assert runner.in_flight == 0
    for caller in callers[2:]:
        assert submit(runner, FakeProgram(gate=gate), caller) is not None
    gate.set()
    for caller in callers:
        await caller.until_settled()
    assert [caller.failures for caller in callers[2:]] == [[None], [None]]
    assert runner.in_flight == 0
    runner.stop()


async def test_to_abandon_what_is_over_changes_nothing(runner: Runner) -> None:
    caller = Caller(ZeroDivisionError("in the encoder"))
    run = submit(runner, FakeProgram(), caller)
    assert run is not None
    await caller.until_settled()
    run.abandon()
    assert runner.in_flight == 0
    assert (len(caller.answers), caller.settlements) == (1, 1)


async def test_stopping_ends_what_runs_and_refuses_what_waits_and_what_comes() -> None:
    runner = started_runner(NEVER_INLINE_S)
    gate = threading.Event()
    running, waiting = FakeProgram(gate=gate), FakeProgram()
    callers = [Caller() for _ in range(3)]
    submit(runner, running, callers[0])
    submit(runner, waiting, callers[1])
    assert running.started.wait(LIMIT_S)
    runner.stop()
    assert submit(runner, waiting, callers[2]) is None
    gate.set()
    for caller in callers:
        await caller.until_settled()
    refusal = "UNAVAILABLE: The server is shutting down"
    assert [caller.failures for caller in callers] == [[None], [refusal], [refusal]]
    assert not waiting.threads


async def test_several_workers_run_side_by_side() -> None:
    runner = started_runner(NEVER_INLINE_S, workers=3)
    gate = threading.Event()
    programs = [FakeProgram(gate=gate) for _ in range(3)]
    callers = [Caller() for _ in range(3)]
    for program, caller in zip(programs, callers, strict=True):
        submit(runner, program, caller)
    assert all(program.started.wait(LIMIT_S) for program in programs)
    gate.set()
    for caller in callers:
        await caller.until_settled()
    runner.stop()


async def test_an_answer_that_cannot_be_given_keeps_no_other_from_being_given(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    broken, sound = Caller(ZeroDivisionError("in the encoder")), Caller()
    submit(runner, FakeProgram(gate=gate), broken)
    submit(runner, FakeProgram(gate=gate), sound)
    gate.set()
    await broken.until_settled()
    await sound.until_settled()
    assert broken.settlements == 1
    assert sound.failures == [None]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_inline_answer_that_cannot_be_given_is_the_callers_error_but_settled() -> None:
    runner, caller = started_runner(ALWAYS_INLINE_S), Caller(ZeroDivisionError("in the encoder"))
    with pytest.raises(ZeroDivisionError):
        submit(runner, FakeProgram(), caller)
    assert caller.settlements == 1
    runner.stop()


async def test_a_run_that_fails_inline_makes_no_program_look_cheaper() -> None:
    runner = started_runner(ALWAYS_INLINE_S)
    executable = Executable(FakeProgram(NotFound("no such row")))
    executable.record_threaded(0, 50.0, 50.0)
    submit(runner, executable, Caller())
    assert executable.cost_s[0] == 50.0
    runner.stop()


async def test_the_immediate_runner_answers_and_settles_on_the_spot() -> None:
    for error, expected in ((None, None), (NotFound("no row"), "NOT_FOUND: no row")):
        caller = Caller()
        executable = Executable(FakeProgram(error))
        ImmediateRunner().run(executable, (), None, caller.on_done, caller.on_settled)
        assert caller.failures == [expected]
        assert caller.settlements == 1


async def test_the_immediate_runner_settles_also_if_the_answer_cannot_be_given() -> None:
    caller, executable = Caller(ZeroDivisionError()), Executable(FakeProgram())
    with pytest.raises(ZeroDivisionError):
        ImmediateRunner().run(executable, (), None, caller.on_done, caller.on_settled)
    assert caller.settlements == 1


async def test_what_the_immediate_runner_measures_counts_for_strings_of_that_size() -> None:
    executable, inputs = Executable(FakeProgram()), [np.array([b"x" * 4000], object)]
    caller = Caller()
    ImmediateRunner().run(executable, inputs, None, caller.on_done, caller.on_settled)
    assert executable.cost_s[(4008).bit_length()] < ALWAYS_INLINE_S


@dataclass(frozen=True)
class Request:
    """What happens to one request of a scenario."""

    error: Exception | None
    is_gated: bool
    is_cheap: bool
    answer_fails: bool
    deadline_s: float | None
    abandoned_after: int | None
    """Turns of the loop after which its client goes away."""


REQUESTS = st.builds(
    Request,
    error=st.sampled_from([None, NotFound("no row"), InternalError("x"), OSError("disk")]),
    is_gated=st.booleans(),
    is_cheap=st.booleans(),
    answer_fails=st.booleans(),
    deadline_s=st.sampled_from([None, -1.0, 0.0, 0.0005, 1000.0]),
    abandoned_after=st.sampled_from([None, None, 0, 1, 3]),
)


class Scenario:
    """Two workers, some requests, and one version that all of them hold."""

    def __init__(self, max_queued: int) -> None:
        self.runner = started_runner(1e-3, workers=2, max_queued=max_queued)
        self.handle = Handle(ServableId("m", 1), None)
        self.gate = threading.Event()
        self.callers: list[Caller] = []
        self.abandoned: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda loop, context: None)

    def submit(self, request: Request) -> None:
        is_gated = request.is_gated and not request.is_cheap
        executable = Executable(FakeProgram(request.error, self.gate if is_gated else None))
        if request.is_cheap:
            executable.record_threaded(0, 0.0, 0.0)
        caller = Caller(OSError("gone") if request.answer_fails else None)
        index = len(self.callers)
        self.callers.append(caller)
        self.handle.uses += 1

        def settle() -> None:
            caller.on_settled()
            self.handle.release()

        after_s = request.deadline_s
        deadline = None if after_s is None else self._loop.time() + after_s
        try:
            run = self.runner.run(executable, (), deadline, caller.on_done, settle)
        except OSError:
            return  # answered at once, which failed
        if run is not None and request.abandoned_after is not None:
            self._abandon_after(request.abandoned_after, index, run)

    def _abandon_after(self, turns: int, index: int, run: Pending) -> None:
        if turns:
            self._loop.call_soon(self._abandon_after, turns - 1, index, run)
        elif not self.callers[index].answers:
            self.abandoned.add(index)
            run.abandon()


@settings(max_examples=60, deadline=None)
@given(requests=st.lists(REQUESTS, max_size=12), max_queued=st.integers(1, 12))
def test_each_request_is_answered_at_most_once_and_settled_exactly_once(
    requests: list[Request], max_queued: int
) -> None:
    async def play() -> None:
        scenario = Scenario(max_queued)
        for turns, request in enumerate(requests):
            scenario.submit(request)
            await turn_loop(turns % 3)
        scenario.gate.set()
        for caller in scenario.callers:
            await caller.until_settled()
        await turn_loop()
        for index, caller in enumerate(scenario.callers):
            assert len(caller.answers) == (0 if index in scenario.abandoned else 1)
            assert caller.settlements == 1
        assert scenario.handle.uses == 0
        assert scenario.runner.in_flight == 0
        scenario.runner.stop()

    asyncio.run(play())
