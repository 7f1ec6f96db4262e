"""Work that must not hold up others: on a thread that gets a core only when they leave it one.

A thread that has lowered its priority may not raise it again, and threads that it starts begin
with its own. So each piece of work gets a thread for itself, and must start none that stays.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def run_quietly(work: Callable[[], T], niceness: int) -> T:
    """Have it done on a thread of this niceness (0 to 19, see nice(2)), and wait for it.

    A niceness of 0 means at once, on the thread of the caller; so it is where the system has no
    niceness for threads, or no thread to spare.
    """
    if niceness <= 0:
        return work()
    outcome: Future[T] = Future()
    try:
        threading.Thread(
            target=_do, args=(work, niceness, outcome), name="salver-quiet", daemon=True
        ).start()
    except RuntimeError:
        return work()
    return outcome.result()


def _do(work: Callable[[], T], niceness: int, outcome: Future[T]) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    try:
        outcome.set_result(work())
    except BaseException as error:  # noqa: BLE001 - the caller gets it
        outcome.set_exception(error)
