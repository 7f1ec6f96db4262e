"""Work of some milliseconds, done on a thread, so that the loop goes on for everybody else.

It pays for work that holds no interpreter lock for most of its time.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from salver.transport.exchange import Cancel

T = TypeVar("T")


def off_loop(
    work: Callable[[], T],
    on_done: Callable[[T], None],
    on_failed: Callable[[Exception], None],
) -> Cancel:
    """Do `work` on a thread; then one of the two is called, on the loop.

    Returns what to call if the result is no longer wanted: then neither is.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    is_wanted = True

    def done(finished: asyncio.Future[T]) -> None:
        if not is_wanted or finished.cancelled():
            return
        error = finished.exception()
        if error is None:
            on_done(finished.result())
        elif isinstance(error, Exception):
            on_failed(error)
        else:
            raise error

    future.add_done_callback(done)

    def cancel() -> None:
        # A future that is done cannot be cancelled, though `done` may not have been called.
        nonlocal is_wanted
        is_wanted = False
        future.cancel()

    return cancel
