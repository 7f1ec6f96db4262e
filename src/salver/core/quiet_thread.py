"""Work that must not hold up others: on a thread that gets a core only when they leave it one.

A thread that has lowered its priority may not raise it again, and threads that it starts begin
with its own. So each piece of work gets a thread for itself; and where it starts one that stays,
its priority is lowered from outside, once that is there.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_TASKS = Path("/proc/self/task")
_LOOK_AGAIN_S = 1e-3
_starting = threading.Lock()
"""One at a time waits for a thread: whose it is could not be told otherwise."""


def run_quietly(work: Callable[[], T], niceness: int, *, starts_thread: bool = False) -> T:
    """Have it done on a thread of this niceness (0 to 19, see nice(2)), and wait for it.

    A niceness of 0 means at once, on the thread of the caller; so it is where the system has no
    niceness for threads, or no thread to spare. With `starts_thread`, all that comes before the
    first thread that the work starts, outside of Python, is done with the caller's priority.
    """
    if niceness <= 0:
        return work()
    outcome: Future[T] = Future()
    do = _do_after_start if starts_thread else _do
    try:
        threading.Thread(
            target=do, args=(work, niceness, outcome), name="salver-quiet", daemon=True
        ).start()
    except RuntimeError:
        return work()
    return outcome.result()


def _do(work: Callable[[], T], niceness: int, outcome: Future[T]) -> None:
    _lower(threading.get_native_id(), niceness)
    _settle(work, outcome)


def _do_after_start(work: Callable[[], T], niceness: int, outcome: Future[T]) -> None:
    ended = threading.Event()
    with _starting:
        watcher = threading.Thread(
            target=_lower_after_start,
            args=(threading.get_native_id(), niceness, _foreign_threads(), ended),
            name="salver-quiet-watch",
            daemon=True,
        )
        # Without a thread to spare it is done with the priority that it has.
        with suppress(RuntimeError):
            watcher.start()
        try:
            _settle(work, outcome)
        finally:
            ended.set()


def _lower_after_start(
    thread: int, niceness: int, before: set[int], ended: threading.Event
) -> None:
    seen: set[int] = set()
    while not ended.wait(_LOOK_AGAIN_S):
        new = _foreign_threads() - before
        # Python's own threads look like foreign ones for a moment, while they start.
        if new & seen:
            _lower(thread, niceness)
            return
        seen = new


def _foreign_threads() -> set[int]:
    """Threads of this process that Python has not started; none where there is no telling."""
    try:
        found = {int(task.name) for task in _TASKS.iterdir()}
    except OSError:
        return set()
    return found - {each.native_id for each in threading.enumerate() if each.native_id}


def _lower(thread: int, niceness: int) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, niceness)


def _settle(work: Callable[[], T], outcome: Future[T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - the caller gets it
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
