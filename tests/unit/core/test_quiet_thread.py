import _thread
import os
import threading

import pytest

from salver.core.quiet_thread import run_quietly
from tests.fakes import LIMIT_S
from tests.running import wait_until


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_work_has_a_thread_of_its_own_and_little_priority() -> None:
    before = niceness()
    assert run_quietly(niceness, before + 7) == before + 7
    assert niceness() == before


def test_without_niceness_it_is_done_at_once() -> None:
    assert run_quietly(threading.get_ident, 0) == threading.get_ident()
    assert run_quietly(threading.get_ident, 5) != threading.get_ident()


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        run_quietly(lambda: 1 // 0, 5)


def test_a_thread_that_the_work_starts_keeps_the_priority_of_the_caller() -> None:
    before = niceness()
    started, ending = threading.Event(), threading.Event()
    of_started = []

    def stay() -> None:
        started.set()
        assert ending.wait(LIMIT_S)
        of_started.append(niceness())

    def work() -> int:
        first = niceness()
        # Not one of `threading`: as a library would start it.
        _thread.start_new_thread(stay, ())
        assert started.wait(LIMIT_S)
        wait_until(lambda: niceness() != first, "the priority is lowered")
        return first

    try:
        assert run_quietly(work, before + 7, starts_thread=True) == before
    finally:
        ending.set()
    wait_until(lambda: bool(of_started), "it has ended")
    assert of_started == [before]


def test_work_that_starts_no_thread_keeps_the_priority_of_the_caller() -> None:
    assert run_quietly(niceness, 19, starts_thread=True) == niceness()
    with pytest.raises(ZeroDivisionError):
        run_quietly(lambda: 1 // 0, 19, starts_thread=True)
