import os
import threading

import pytest

from salver.core.quiet_thread import run_quietly


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
