"""Laws that hold whatever happens in whatever order: no threads, no clock, every step chosen."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from salver.core.events import EventBus, StateChanged
from salver.core.handle import Handle
from salver.core.load_job import LoadThreads, RetryOptions
from salver.core.policy import Policy, preserve_availability, preserve_resources
from salver.core.state import State
from salver.core.stream import Aspired, Stream, StreamContext
from salver.errors import DataLoss
from tests.fakes import HandTurnedExecutor, HandTurnedLoop

versions = st.lists(st.integers(1, 4), unique=True, max_size=3)


class Lender:
    """A loader that knows whether its servable is in use, and fails as its owner says."""

    def __init__(self, owner: "StreamMachine", version: int) -> None:
        self.owner = owner
        self.version = version
        self.loaded = False
        self.in_use = 0

    def load(self) -> "Lender":
        assert not self.loaded
        if self.owner.next_fails:
            raise DataLoss("not a model")
        self.loaded = True
        self.owner.loaded.append(self)
        return self

    def unload(self) -> None:
        assert self.loaded
        assert not self.in_use, "unloaded while a request used it"
        self.loaded = False
        self.owner.loaded.remove(self)


class StreamMachine(RuleBasedStateMachine):
    """Sources, requests, threads and timers, all interleaved at will."""

    policy: Policy = staticmethod(preserve_availability)

    def __init__(self) -> None:
        super().__init__()
        self.next_fails = False
        self.loaded: list[Lender] = []
        self.aspired: list[int] = []
        self.held: list[Handle[Lender]] = []
        self.loop = HandTurnedLoop()
        self.executor = HandTurnedExecutor()

    @initialize(retries=st.integers(-1, 2))
    def make_stream(self, retries: int) -> None:
        events = EventBus()
        events.subscribe(StateChanged, self.check_change)
        context = StreamContext(
            type(self).policy,
            RetryOptions(retries, 1.0),
            LoadThreads(self.loop, self.executor),
            self.executor,
            events,
        )
        self.failed_checks: list[str] = []
        self.stream: Stream[Lender] = Stream("m", context, lambda: None)

    def check_change(self, event: StateChanged) -> None:
        # A listener may not raise into the stream, so what it finds is looked at later.
        if event.state is State.UNLOADING and type(self).policy is preserve_availability:
            others = set(self.stream.available) - {event.id.version}
            if self.stream.aspired_statuses() and not others:
                self.failed_checks.append(f"{event.id} was the last to answer")

    @rule(numbers=versions)
    def aspire(self, numbers: list[int]) -> None:
        self.aspired = numbers
        self.stream.aspire([Aspired(number, Lender(self, number)) for number in numbers])

    @rule()
    def turn_loop(self) -> None:
        self.loop.turn()

    @rule()
    def end_pauses(self) -> None:
        self.loop.fire_timers()

    @precondition(lambda self: self.executor.queued)
    @rule(data=st.data())
    def begin_work(self, data: Any) -> None:
        self.executor.begin(data.draw(st.integers(0, len(self.executor.queued) - 1)))

    @precondition(lambda self: self.executor.running)
    @rule(data=st.data(), fails=st.booleans())
    def finish_work(self, data: Any, fails: bool) -> None:
        self.next_fails = fails
        self.executor.finish(data.draw(st.integers(0, len(self.executor.running) - 1)))
        self.next_fails = False

    @precondition(lambda self: self.stream.available)
    @rule()
    def acquire(self) -> None:
        handle = self.stream.available[max(self.stream.available)]
        handle.uses += 1
        handle.servable.in_use += 1
        self.held.append(handle)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self.give_back(data.draw(st.integers(0, len(self.held) - 1)))

    def give_back(self, index: int) -> None:
        handle = self.held.pop(index)
        handle.servable.in_use -= 1
        handle.release()

    @invariant()
    def what_answers_is_loaded(self) -> None:
        for version, handle in self.stream.available.items():
            assert handle.servable.loaded
            assert handle.servable.version == handle.id.version == version
            assert self.stream.history[version].state is State.AVAILABLE

    @invariant()
    def what_is_held_is_loaded(self) -> None:
        assert all(handle.servable.loaded for handle in self.held)

    @invariant()
    def the_last_answer_is_never_taken(self) -> None:
        assert self.failed_checks == []

    def run_to_rest(self) -> None:
        """Everything ends well and nobody asks for more."""
        # A rule may have been broken off in its middle: what fails for ever is tried for ever.
        self.next_fails = False
        while self.held:
            self.give_back(0)
        while True:
            while self.executor.queued:
                self.executor.begin(0)
            while self.executor.running:
                self.executor.finish(0)
            if not self.loop.turn() and not self.executor.queued and not self.loop.fire_timers():
                return

    def teardown(self) -> None:
        """The stream converges to what is aspired, but for what has failed, and leaks nothing."""
        self.run_to_rest()
        statuses = {status.version: status for status in self.stream.aspired_statuses()}
        assert set(statuses) == set(self.aspired)
        for version in self.aspired:
            ended = statuses[version].state is State.END
            assert ended == (version not in self.stream.available)
            assert ended == (statuses[version].error is not None)
        # A failed successor leaves one stale version in service.
        stale = set(self.stream.available) - set(self.aspired)
        assert len(stale) <= (1 if self.aspired and not self.served() else 0)
        assert sorted(lender.version for lender in self.loaded) == sorted(self.stream.available)
        self.stream.aspire([])
        self.run_to_rest()
        assert self.stream.empty
        assert self.loaded == []

    def served(self) -> bool:
        return any(version in self.stream.available for version in self.aspired)


class FrugalMachine(StreamMachine):
    policy: Policy = staticmethod(preserve_resources)


def configured(machine: type[StreamMachine]) -> Any:
    case = machine.TestCase
    case.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
    return case


TestAvailabilityPreserving = configured(StreamMachine)
TestResourcePreserving = configured(FrugalMachine)


def test_the_laws_can_be_broken() -> None:
    """A manager that frees at once is caught, so the laws above mean something."""
    machine = StreamMachine()
    machine.make_stream(0)
    machine.aspire([1])
    for _ in range(2):
        machine.turn_loop()
        while machine.executor.queued:
            machine.executor.begin(0)
        while machine.executor.running:
            machine.executor.finish(0)
        machine.turn_loop()
    machine.acquire()
    with pytest.raises(AssertionError, match="while a request used it"):
        machine.held[0].servable.unload()
    machine.give_back(0)
    machine.teardown()
