import threading
from time import perf_counter, process_time
from typing import NamedTuple

import pytest

from salver.execution import loop_watch
from salver.execution.loop_watch import LoopWatch


class Usage(NamedTuple):
    ru_nvcsw: int


def test_what_is_quick_is_told_by_the_clock() -> None:
    started = perf_counter()
    watch = LoopWatch()
    assert 0 <= watch.read(limit_s=1000.0) <= perf_counter() - started


def test_computing_counts() -> None:
    watch = LoopWatch()
    until = process_time() + 0.02
    while process_time() < until:
        pass
    assert watch.read(limit_s=0.0) > 0.01


def test_a_wait_of_its_own_accord_counts_in_full() -> None:
    started = perf_counter()
    watch = LoopWatch()
    threading.Event().wait(0.02)
    assert 0.02 <= watch.read(limit_s=0.0) <= perf_counter() - started


def test_the_core_that_others_had_meanwhile_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Preempted for a second: the system says that the thread ran for a tenth of it."""
    cpu_times, times = iter([1.5, 1.6]), iter([10.0, 11.0])
    monkeypatch.setattr(loop_watch, "getrusage", lambda who: Usage(5))
    monkeypatch.setattr(loop_watch, "thread_time", lambda: next(cpu_times))
    monkeypatch.setattr(loop_watch, "perf_counter", lambda: next(times))
    assert LoopWatch().read(limit_s=0.5) == pytest.approx(0.1)
