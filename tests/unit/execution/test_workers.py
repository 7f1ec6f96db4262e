import threading
from typing import Any

import pytest

from salver.errors import ResourceExhausted
from salver.execution.workers import Workers


async def test_threads_that_the_system_does_not_allow_are_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_two(thread: threading.Thread, *_: Any) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    workers = Workers(5, "batch_threads")
    with pytest.raises(ResourceExhausted) as refused:
        workers.start()
    assert refused.value.message == (
        "Only 2 of 5 threads (batch_threads) could be started: ask for fewer"
    )
    workers.stop()
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()
