import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future

import pytest

from salver.core.elastic_threads import ElasticThreads
from tests.fakes import LIMIT_S

PATIENCE_S = 5.0


class Clock:
    """Time that passes when the test says so, and what was planned for later."""

    def __init__(self) -> None:
        self.now = 100.0
        self._planned: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._planned.append((self.now + delay, callback))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for at, callback in self._planned if at <= self.now]
        self._planned = [(at, callback) for at, callback in self._planned if at > self.now]
        for callback in due:
            callback()


class Work:
    """Begins, and ends when told."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.thread = ""

    def __call__(self) -> str:
        self.thread = threading.current_thread().name
        self.begun.set()
        assert self.may_end.wait(LIMIT_S)
        return "done"

    def wait(self) -> None:
        assert self.begun.wait(LIMIT_S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def works() -> Iterator[Callable[[], Work]]:
    made: list[Work] = []

    def make() -> Work:
        made.append(Work())
        return made[-1]

    yield make
    for work in made:
        work.may_end.set()


def elastic(clock: Clock, count: int, patience_s: float | None = PATIENCE_S) -> ElasticThreads:
    return ElasticThreads("test-elastic", count, patience_s, clock, clock)


def settled(threads: ElasticThreads) -> None:
    """Let all that can begin have begun."""
    for _ in range(3):
        threading.Event().wait(0.01)


def test_results_and_errors_come_with_the_future(clock: Clock) -> None:
    threads = elastic(clock, 1)

    def fail() -> None:
        raise SystemExit(3)

    assert threads.submit("a", lambda: 7).result(LIMIT_S) == 7
    with pytest.raises(SystemExit):
        threads.submit("a", fail).result(LIMIT_S)
    assert threads.submit("a", lambda: threading.current_thread().name).result(LIMIT_S) == (
        "test-elastic"
    )
    threads.stop()


def test_so_much_work_runs_at_the_same_time_and_no_more(
    clock: Clock, works: Callable[[], Work]
) -> None:
    threads = elastic(clock, 2)
    first, second, third = works(), works(), works()
    for work in (first, second, third):
        threads.submit("a", work)
    first.wait()
    second.wait()
    settled(threads)
    assert not third.begun.is_set()
    first.may_end.set()
    third.wait()


def test_work_that_takes_longer_than_the_patience_gives_its_turn_to_another(
    clock: Clock, works: Callable[[], Work]
) -> None:
    threads = elastic(clock, 1)
    hanging, after, last = works(), works(), works()
    for work in (hanging, after, last):
        threads.submit("a", work)
    hanging.wait()
    clock.pass_time(PATIENCE_S - 1)
    settled(threads)
    assert not after.begun.is_set()
    clock.pass_time(1.1)
    after.wait()
    assert not last.begun.is_set()
    clock.pass_time(PATIENCE_S + 0.1)
    last.wait()
    assert not hanging.may_end.is_set()


def test_work_that_comes_while_others_hang_begins_at_once(
    clock: Clock, works: Callable[[], Work]
) -> None:
    threads = elastic(clock, 1)
    hanging, after = works(), works()
    threads.submit("a", hanging)
    hanging.wait()
    clock.pass_time(PATIENCE_S)
    threads.submit("b", after)
    after.wait()


def test_without_patience_the_count_is_strict(clock: Clock, works: Callable[[], Work]) -> None:
    threads = elastic(clock, 1, None)
    hanging, after = works(), works()
    threads.submit("a", hanging)
    threads.submit("b", after)
    hanging.wait()
    clock.pass_time(1e6)
    settled(threads)
    assert not after.begun.is_set()
    hanging.may_end.set()
    after.wait()


def test_owners_take_turns(clock: Clock, works: Callable[[], Work]) -> None:
    threads = elastic(clock, 1)
    order: list[str] = []
    gate = works()
    threads.submit("a", gate)
    gate.wait()
    futures: list[Future[None]] = [
        threads.lane(owner).submit(lambda name=name: order.append(name))  # type: ignore[misc]
        for owner, name in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"))
    ]
    gate.may_end.set()
    for future in futures:
        future.result(LIMIT_S)
    assert order == ["a1", "b1", "c1", "a2", "a3"]
    threads.stop()


def test_what_was_cancelled_while_it_waited_is_not_done(
    clock: Clock, works: Callable[[], Work]
) -> None:
    threads = elastic(clock, 1)
    gate, cancelled, after = works(), works(), works()
    threads.submit("a", gate)
    gate.wait()
    future = threads.submit("a", cancelled)
    threads.submit("a", after)
    assert future.cancel()
    gate.may_end.set()
    after.wait()
    assert not cancelled.begun.is_set()


def test_idle_threads_end_but_one(clock: Clock, works: Callable[[], Work]) -> None:
    threads = ElasticThreads("test-idle", 8, PATIENCE_S, clock, clock)

    def alive() -> int:
        return sum(thread.name == "test-idle" for thread in threading.enumerate())

    busy = [works() for _ in range(8)]
    futures = [threads.submit("a", work) for work in busy]
    for work in busy:
        work.wait()
    assert alive() == 8
    for work in busy:
        work.may_end.set()
    for future in futures:
        assert future.result(LIMIT_S) == "done"
    while alive() > 1:
        threading.Event().wait(0.01)
    threads.submit("a", lambda: None).result(LIMIT_S)
    assert alive() == 1
    threads.stop()
    while alive() > 0:
        threading.Event().wait(0.01)


def test_after_the_stop_nothing_begins_and_nobody_is_waited_for(
    clock: Clock, works: Callable[[], Work]
) -> None:
    threads = elastic(clock, 1)
    hanging, never = works(), works()
    threads.submit("a", hanging)
    hanging.wait()
    future = threads.submit("a", never)
    threads.stop()
    with pytest.raises(CancelledError):
        future.result(LIMIT_S)
    with pytest.raises(RuntimeError):
        threads.submit("a", never)
    clock.pass_time(1e6)
    hanging.may_end.set()
    settled(threads)
    assert not never.begun.is_set()


def test_where_the_system_allows_no_thread_work_waits_for_one(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads = elastic(clock, 1, None)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        future = threads.submit("a", lambda: "done")
    assert "allows no further thread" in caplog.text
    clock.pass_time(1.0)
    assert future.result(LIMIT_S) == "done"
    threads.stop()
