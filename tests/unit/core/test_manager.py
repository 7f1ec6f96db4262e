import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from salver.core.events import EventBus
from salver.core.handle import Handle
from salver.core.manager import Manager, ManagerOptions
from salver.core.policy import preserve_resources
from salver.core.servable import ServableId
from salver.core.state import State
from salver.core.stream import Aspired
from salver.errors import DataLoss, FailedPrecondition, NotFound
from tests.fakes import LIMIT_S, EventLog, FakeLoader, FakeServable, failure, turn_loop

START, LOADING, AVAILABLE, UNLOADING, END = State

LIFE = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


class Bench:
    """A manager, what it tells, and short ways to ask it."""

    def __init__(self, options: ManagerOptions) -> None:
        events = EventBus()
        self.log = EventLog(events)
        self.manager: Manager[FakeServable] = Manager(options, events)

    def aspire(self, name: str, **loaders: FakeLoader) -> None:
        """`v2=loader` aspires version 2."""
        self.manager.aspire(name, [Aspired(int(v[1:]), loader) for v, loader in loaders.items()])

    def states(self, name: str = "m") -> dict[int, State]:
        return {status.version: status.state for status in self.manager.statuses(name)}

    def served(self, name: str = "m", version: int | None = None) -> object:
        handle = self.manager.acquire(name, version)
        try:
            return handle.servable.label
        finally:
            handle.release()


async def benches(options: ManagerOptions) -> AsyncIterator[Bench]:
    bench = Bench(options)
    bench.manager.start()
    yield bench
    assert await bench.manager.stop(LIMIT_S) == []


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async for bench in benches(ManagerOptions(max_load_retries=0)):
        yield bench


@pytest.fixture
async def patient() -> AsyncIterator[Bench]:
    """Retries often, with pauses that no test will see the end of."""
    async for bench in benches(ManagerOptions(max_load_retries=5, load_retry_interval_s=1e6)):
        yield bench


@pytest.fixture
async def hasty() -> AsyncIterator[Bench]:
    """Retries twice, without pauses."""
    async for bench in benches(ManagerOptions(max_load_retries=2, load_retry_interval_s=-1)):
        yield bench


def broken() -> FakeLoader:
    return FakeLoader(failures=[DataLoss("not a model")] * 99)


async def test_a_version_goes_through_all_states_in_order(bench: Bench) -> None:
    loader = FakeLoader("one")
    bench.aspire("m", v1=loader)
    await bench.log.until("m", 1, AVAILABLE)
    assert bench.served() == "one"
    bench.aspire("m")
    await bench.log.until("m", 1, END)
    assert bench.log.of("m") == [(1, state) for state in LIFE]
    assert (loader.loads, loader.unloads) == (1, 1)


async def test_loaders_never_run_on_the_loop_thread(bench: Bench) -> None:
    loader = FakeLoader()
    bench.aspire("m", v1=loader)
    await bench.log.until("m", 1, AVAILABLE)
    bench.aspire("m")
    await bench.log.until("m", 1, END)
    assert {name.rsplit("_", 1)[0] for name in loader.threads} == {"salver-load", "salver-unload"}


async def test_what_was_never_aspired_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound, match=r"^Servable not found for request: Latest\(m\)$"):
        bench.manager.acquire("m")
    with pytest.raises(NotFound, match=r"^Servable not found for request: Specific\(m, 5\)$"):
        bench.manager.acquire("m", 5)
    bench.aspire("m")
    assert bench.manager.statuses("m") == []
    assert bench.manager.names() == []
    assert bench.manager.available_versions("m") == ()


async def test_a_version_that_is_loading_answers_nobody(bench: Bench) -> None:
    gate = threading.Event()
    bench.aspire("m", v1=FakeLoader("one", gate=gate))
    await bench.log.until("m", 1, LOADING)
    with pytest.raises(NotFound):
        bench.manager.acquire("m")
    with pytest.raises(NotFound):
        bench.manager.acquire("m", 1)
    gate.set()
    await bench.log.until("m", 1, AVAILABLE)
    assert bench.served() == bench.served(version=1) == "one"


async def test_the_highest_available_version_answers_unless_another_is_named(bench: Bench) -> None:
    bench.aspire("m", v1=FakeLoader(1), v10=FakeLoader(10), v5=FakeLoader(5))
    for version in (1, 5, 10):
        await bench.log.until("m", version, AVAILABLE)
    assert [bench.served(), bench.served(version=5), bench.served(version=1)] == [10, 5, 1]
    assert bench.manager.available_versions("m") == (10, 5, 1)
    assert list(bench.states()) == [10, 5, 1]
    assert bench.manager.names() == ["m"]


async def test_a_higher_version_takes_over_without_a_gap(bench: Bench) -> None:
    gate = threading.Event()
    bench.aspire("m", v1=FakeLoader(1))
    await bench.log.until("m", 1, AVAILABLE)
    bench.aspire("m", v2=FakeLoader(2, gate=gate))
    await bench.log.until("m", 2, LOADING)
    assert bench.served() == 1
    assert bench.states() == {2: LOADING, 1: AVAILABLE}
    gate.set()
    await bench.log.until("m", 2, AVAILABLE)
    assert bench.served() == 2
    await bench.log.until("m", 1, END)
    assert bench.log.of("m")[3:] == [
        (2, "START"),
        (2, "LOADING"),
        (2, "AVAILABLE"),
        (1, "UNLOADING"),
        (1, "END"),
    ]


async def test_a_rollback_loads_the_old_version_before_the_new_one_goes(bench: Bench) -> None:
    bench.aspire("m", v2=FakeLoader(2))
    await bench.log.until("m", 2, AVAILABLE)
    bench.aspire("m", v1=FakeLoader(1))
    await bench.log.until("m", 2, END)
    assert bench.log.of("m")[3:] == [
        (1, "START"),
        (1, "LOADING"),
        (1, "AVAILABLE"),
        (2, "UNLOADING"),
        (2, "END"),
    ]
    assert bench.served() == 1


async def test_latest_two_unloads_before_it_loads(bench: Bench) -> None:
    bench.aspire("m", v1=FakeLoader(1), v2=FakeLoader(2))
    await bench.log.until("m", 1, AVAILABLE)
    await bench.log.until("m", 2, AVAILABLE)
    seen = len(bench.log.states)
    bench.aspire("m", v2=FakeLoader(2), v5=FakeLoader(5))
    await bench.log.until("m", 5, AVAILABLE)
    assert bench.log.of("m")[seen:] == [
        (5, "START"),
        (1, "UNLOADING"),
        (1, "END"),
        (5, "LOADING"),
        (5, "AVAILABLE"),
    ]
    assert bench.manager.available_versions("m") == (5, 2)


async def test_the_resource_preserving_policy_unloads_first() -> None:
    async for bench in benches(ManagerOptions(max_load_retries=0, policy=preserve_resources)):
        bench.aspire("m", v1=FakeLoader(1))
        await bench.log.until("m", 1, AVAILABLE)
        bench.aspire("m", v2=FakeLoader(2))
        await bench.log.until("m", 2, AVAILABLE)
        assert bench.log.of("m")[3:] == [
            (2, "START"),
            (1, "UNLOADING"),
            (1, "END"),
            (2, "LOADING"),
            (2, "AVAILABLE"),
        ]


async def test_a_version_in_use_is_unloaded_after_its_last_handle(bench: Bench) -> None:
    loader = FakeLoader(1)
    bench.aspire("m", v1=loader)
    await bench.log.until("m", 1, AVAILABLE)
    first, second = bench.manager.acquire("m"), bench.manager.acquire("m", 1)
    bench.aspire("m")
    await bench.log.until("m", 1, UNLOADING)
    with pytest.raises(NotFound):
        bench.manager.acquire("m")
    first.release()
    await turn_loop()
    assert loader.unloads == 0
    assert second.servable.label == 1
    second.release()
    await bench.log.until("m", 1, END)
    assert loader.unloads == 1


async def test_a_version_that_is_put_back_is_loaded_anew_when_the_old_one_is_gone(
    bench: Bench,
) -> None:
    bench.aspire("m", v1=FakeLoader("old"))
    await bench.log.until("m", 1, AVAILABLE)
    held = bench.manager.acquire("m")
    bench.aspire("m")
    await bench.log.until("m", 1, UNLOADING)
    bench.aspire("m", v1=FakeLoader("new"), v2=FakeLoader(2))
    await turn_loop()
    assert bench.states() == {1: UNLOADING}
    held.release()
    await bench.log.until("m", 1, AVAILABLE, times=2)
    assert bench.served(version=1) == "new"
    assert bench.log.of("m")[:6] == [(1, state) for state in [*LIFE, "START"]]


async def test_a_version_that_returns_while_it_still_answers_is_replaced_without_a_gap(
    bench: Bench,
) -> None:
    gate = threading.Event()
    bench.aspire("m", v2=FakeLoader("old"))
    await bench.log.until("m", 2, AVAILABLE)
    bench.aspire("m", v1=FakeLoader(1, gate=gate))
    await bench.log.until("m", 1, LOADING)
    bench.aspire("m", v2=FakeLoader("new"))
    await turn_loop()
    assert bench.served() == "old"
    gate.set()
    await bench.log.until("m", 1, END)
    assert bench.served() == "new"


async def test_a_version_that_returns_stays_if_its_stand_in_has_failed(bench: Bench) -> None:
    gate = threading.Event()
    bench.aspire("m", v2=FakeLoader("old"))
    await bench.log.until("m", 2, AVAILABLE)
    bench.aspire("m", v1=FakeLoader(gate=gate, failures=[DataLoss("not a model")]))
    await bench.log.until("m", 1, LOADING)
    bench.aspire("m", v2=FakeLoader("new"), v3=FakeLoader(3))
    gate.set()
    await bench.log.until("m", 3, AVAILABLE)
    assert bench.served(version=2) == "old"
    assert bench.states() == {3: AVAILABLE, 2: AVAILABLE, 1: END}


async def test_a_stand_in_between_two_attempts_is_not_waited_for(patient: Bench) -> None:
    patient.aspire("m", v2=FakeLoader("old"))
    await patient.log.until("m", 2, AVAILABLE)
    patient.aspire("m", v1=broken())
    await patient.log.until_failed("m", 1)
    patient.aspire("m", v2=FakeLoader("new"), v3=FakeLoader(3))
    await patient.log.until("m", 3, AVAILABLE)
    assert patient.states() == {3: AVAILABLE, 2: AVAILABLE, 1: END}


async def test_a_known_version_keeps_its_first_loader(bench: Bench) -> None:
    first, second = FakeLoader("first"), FakeLoader("second")
    bench.aspire("m", v1=first)
    await bench.log.until("m", 1, AVAILABLE)
    bench.aspire("m", v1=second)
    await turn_loop()
    assert bench.served() == "first"
    assert second.loads == 0


async def test_a_version_that_fails_ends_with_its_error_and_leaves_the_old_one(
    bench: Bench,
) -> None:
    bench.aspire("m", v1=FakeLoader(1))
    await bench.log.until("m", 1, AVAILABLE)
    bench.aspire("m", v2=broken())
    event = await bench.log.until("m", 2, END)
    assert failure(event.error) == "DATA_LOSS: not a model"
    assert [(s.version, s.state, failure(s.error)) for s in bench.manager.statuses("m")] == [
        (2, END, "DATA_LOSS: not a model"),
        (1, AVAILABLE, None),
    ]
    assert bench.served() == 1


async def test_a_kept_error_holds_no_frames(bench: Bench) -> None:
    bench.aspire("m", v1=broken())
    event = await bench.log.until("m", 1, END)
    assert event.error is not None
    assert event.error.__traceback__ is None


async def test_what_ended_in_an_error_is_tried_again_only_after_it_was_absent(
    bench: Bench,
) -> None:
    bench.aspire("m", v1=broken())
    await bench.log.until("m", 1, END)
    repaired = FakeLoader("repaired")
    bench.aspire("m", v1=repaired)
    await turn_loop()
    assert repaired.loads == 0
    bench.aspire("m")
    bench.aspire("m", v1=repaired)
    await bench.log.until("m", 1, AVAILABLE)
    assert bench.served() == "repaired"


async def test_an_unexpected_error_is_internal_and_logged_with_its_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        bench.aspire("m", v1=FakeLoader(failures=[ZeroDivisionError("oh")]))
        event = await bench.log.until("m", 1, END)
    assert failure(event.error) == "INTERNAL: ZeroDivisionError: oh"
    assert "Traceback" in caplog.text


async def test_a_loader_that_wants_to_exit_ends_only_its_version(bench: Bench) -> None:
    bench.aspire("m", v1=FakeLoader(failures=[SystemExit(3)]))
    event = await bench.log.until("m", 1, END)
    assert failure(event.error) == "INTERNAL: SystemExit: 3"


async def test_a_load_is_tried_once_more_than_there_are_retries(hasty: Bench) -> None:
    loader = broken()
    hasty.aspire("m", v1=loader)
    await hasty.log.until("m", 1, END)
    assert loader.loads == 3
    assert hasty.log.of("m") == [(1, "START"), (1, "LOADING"), (1, "END")]


async def test_a_later_attempt_may_succeed(hasty: Bench) -> None:
    loader = FakeLoader("late", failures=[DataLoss("a"), DataLoss("b")])
    hasty.aspire("m", v1=loader)
    await hasty.log.until("m", 1, AVAILABLE)
    assert hasty.served() == "late"
    assert hasty.manager.statuses("m")[0].error is None


async def test_negative_retries_go_on_until_the_load_succeeds() -> None:
    options = ManagerOptions(max_load_retries=-1, load_retry_interval_s=0)
    async for bench in benches(options):
        loader = FakeLoader(failures=[DataLoss("again")] * 50)
        bench.aspire("m", v1=loader)
        await bench.log.until("m", 1, AVAILABLE)
        assert loader.loads == 51


async def test_a_pause_ends_at_once_when_the_version_is_no_longer_wanted(patient: Bench) -> None:
    loader = broken()
    patient.aspire("m", v1=FakeLoader(1))
    await patient.log.until("m", 1, AVAILABLE)
    patient.aspire("m", v2=loader)
    await patient.log.until_failed("m", 2)
    patient.aspire("m", v5=FakeLoader(5))
    event = await patient.log.until("m", 2, END)
    assert failure(event.error) == "DATA_LOSS: not a model"
    assert loader.loads == 1
    await patient.log.until("m", 5, AVAILABLE)
    await patient.log.until("m", 1, END)


async def test_neither_a_slow_load_nor_a_pause_holds_up_another_servable(patient: Bench) -> None:
    gate = threading.Event()
    patient.aspire("slow", v1=FakeLoader(gate=gate))
    for number in range(40):
        patient.aspire(f"broken{number}", v1=broken())
        await patient.log.until_failed(f"broken{number}", 1)
    patient.aspire("good", v1=FakeLoader("good"))
    await patient.log.until("good", 1, AVAILABLE)
    assert patient.served("good") == "good"
    assert patient.states("slow") == {1: LOADING}
    gate.set()


async def test_a_load_that_is_cancelled_while_it_runs_is_unloaded_and_says_so(
    bench: Bench,
) -> None:
    gate = threading.Event()
    loader = FakeLoader(gate=gate)
    bench.aspire("m", v1=loader)
    await bench.log.until("m", 1, LOADING)
    bench.aspire("m")
    await turn_loop()
    assert bench.states() == {1: LOADING}
    gate.set()
    event = await bench.log.until("m", 1, END)
    assert failure(event.error) == "CANCELLED: Loading of servable cancelled"
    assert loader.unloads == 1
    assert bench.log.of("m") == [(1, "START"), (1, "LOADING"), (1, "END")]


async def test_a_load_that_waits_for_a_thread_is_cancelled_at_once() -> None:
    async for bench in benches(ManagerOptions(load_threads=1)):
        gate = threading.Event()
        bench.aspire("slow", v1=FakeLoader(gate=gate))
        await bench.log.until("slow", 1, LOADING)
        waiting = FakeLoader()
        bench.aspire("m", v1=waiting)
        await turn_loop()
        assert bench.states() == {1: START}
        bench.aspire("m")
        event = await bench.log.until("m", 1, END)
        assert failure(event.error) == "CANCELLED: Loading of servable cancelled"
        assert waiting.loads == 0
        gate.set()


async def test_an_unload_that_raises_is_logged_and_ends_the_version(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    class BadLoader(FakeLoader):
        def unload(self) -> None:
            raise ZeroDivisionError

    bench.aspire("m", v1=BadLoader())
    await bench.log.until("m", 1, AVAILABLE)
    with caplog.at_level(logging.ERROR):
        bench.aspire("m")
        await bench.log.until("m", 1, END)
    assert "ZeroDivisionError" in caplog.text


async def test_ended_versions_stay_listed_and_their_entry_is_reused(bench: Bench) -> None:
    for _ in range(2):
        bench.aspire("m", v1=FakeLoader())
        await bench.log.until("m", 1, AVAILABLE)
        bench.aspire("m")
        await bench.log.until("m", 1, END)
        assert bench.states() == {1: END}
    assert bench.manager.names() == ["m"]


async def test_an_unloaded_servable_is_freed_without_the_garbage_collector() -> None:
    async for bench in benches(ManagerOptions(load_threads=1)):
        gc.disable()
        try:
            bench.aspire("m", v1=FakeLoader())
            await bench.log.until("m", 1, AVAILABLE)
            handle: Handle[FakeServable] = bench.manager.acquire("m")
            servable = weakref.ref(handle.servable)
            handle.release()
            del handle
            bench.aspire("m")
            await bench.log.until("m", 1, END)
            # Once the only load thread has done other work, it holds nothing of the first.
            bench.aspire("n", v1=FakeLoader())
            await bench.log.until("n", 1, AVAILABLE)
            assert servable() is None
        finally:
            gc.enable()


async def test_stop_unloads_everything_and_refuses_what_comes_later(bench: Bench) -> None:
    loaders = [FakeLoader() for _ in range(3)]
    for number, loader in enumerate(loaders):
        bench.aspire(f"m{number}", v1=loader)
        await bench.log.until(f"m{number}", 1, AVAILABLE)
    assert await bench.manager.stop() == []
    assert [loader.unloads for loader in loaders] == [1, 1, 1]
    bench.aspire("m0", v2=FakeLoader())
    await turn_loop()
    assert bench.states("m0") == {1: END}


async def test_stop_gives_up_on_requests_that_outlast_the_grace(bench: Bench) -> None:
    bench.aspire("m", v1=FakeLoader())
    await bench.log.until("m", 1, AVAILABLE)
    handle = bench.manager.acquire("m")
    assert await bench.manager.stop(0.0) == [ServableId("m", 1)]
    handle.release()
    await bench.log.until("m", 1, END)


async def test_stop_cancels_pauses(patient: Bench) -> None:
    patient.aspire("m", v1=broken())
    await patient.log.until_failed("m", 1)
    assert await patient.manager.stop(LIMIT_S) == []
    assert patient.states() == {1: END}


async def test_a_manager_that_is_not_started_takes_no_versions() -> None:
    manager: Manager[FakeServable] = Manager(ManagerOptions(), EventBus())
    with pytest.raises(FailedPrecondition):
        manager.aspire("m", [Aspired(1, FakeLoader())])
    assert await manager.stop() == []


async def test_loads_that_hang_on_every_thread_hold_up_no_other_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("salver.core.manager._LOAD_PATIENCE_S", 0.05)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    async for bench in benches(ManagerOptions(max_load_retries=0)):
        gate = threading.Event()
        for number in range(6):
            bench.aspire(f"dead{number}", v1=FakeLoader(gate=gate))
        bench.aspire("m", v1=FakeLoader("one"))
        await bench.log.until("m", 1, AVAILABLE)
        assert {bench.states(f"dead{number}")[1] for number in range(6)} == {LOADING}
        gate.set()


async def test_many_versions_of_one_model_are_no_wall_before_another() -> None:
    async for bench in benches(ManagerOptions(load_threads=1)):
        gate = threading.Event()
        many = {f"v{number}": FakeLoader(gate=gate) for number in range(1, 9)}
        bench.aspire("many", **many)
        await bench.log.until("many", 8, LOADING)
        bench.aspire("m", v1=FakeLoader("one"))
        await turn_loop()
        gate.set()
        await bench.log.until("m", 1, AVAILABLE)
        before = bench.log.states[: bench.log.states.index(("m", 1, "LOADING"))]
        # The first was at work, and the second had its turn before.
        assert [name for name, _, state in before if state == "LOADING"] == ["many", "many"]


@pytest.mark.parametrize("threads", [-1, 0])
async def test_no_number_of_threads_is_a_good_one(threads: int) -> None:
    options = ManagerOptions(load_threads=threads, unload_threads=threads)
    async for bench in benches(options):
        bench.aspire("m", v1=FakeLoader())
        await bench.log.until("m", 1, AVAILABLE)
