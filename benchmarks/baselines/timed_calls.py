"""Something called in a loop by some threads at once: calls per second, CPU time per call."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import numpy as np

SECONDS_BETWEEN_LOOKS_AT_THE_CLOCK = 0.01

Call = Callable[[np.ndarray], object]


def call_for(call: Call, batches: Sequence[np.ndarray], seconds: float, at_a_time: int) -> int:
    """Call with one batch after the other for some seconds; how many calls that were."""
    calls = 0
    feeds = cycle(batches)
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for feed in islice(feeds, at_a_time):
            call(feed)
        calls += at_a_time
    return calls


def measure(
    call: Call, batches: Sequence[np.ndarray], callers: int, seconds: float
) -> dict[str, float]:
    """Calls per second and CPU time per call of `callers` threads together."""
    started = time.perf_counter()
    warm_up = call_for(call, batches, seconds / 4, 1)
    per_call = (time.perf_counter() - started) / warm_up
    at_a_time = max(1, int(SECONDS_BETWEEN_LOOKS_AT_THE_CLOCK / per_call))
    calls: list[int] = []
    threads = [
        threading.Thread(target=lambda: calls.append(call_for(call, batches, seconds, at_a_time)))
        for _ in range(callers)
    ]
    cpu_before, started = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    cpu_seconds = time.process_time() - cpu_before
    return {"rate": sum(calls) / elapsed, "cpu_us": cpu_seconds / sum(calls) * 1e6}
