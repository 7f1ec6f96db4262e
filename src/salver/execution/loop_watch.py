"""How long a run holds up the loop, apart from what others take of its core."""

from resource import RUSAGE_THREAD, getrusage
from time import perf_counter, thread_time


class LoopWatch:
    """Measures from its making on, in the thread that made it.

    Another process may have the core for milliseconds, which says nothing of the program. The
    system tells: if the thread never waited of its own accord, its CPU time is what counts. A
    program that does wait holds up the loop all the same.
    """

    __slots__ = ("_cpu_started", "_started", "_waits")

    def __init__(self) -> None:
        self._waits = getrusage(RUSAGE_THREAD).ru_nvcsw
        # The times that `getrusage` tells may be counted in ticks of milliseconds.
        self._cpu_started = thread_time()
        self._started = perf_counter()

    def read(self, limit_s: float) -> float:
        """Seconds since then; to be exact only where it is more than the limit."""
        elapsed_s = perf_counter() - self._started
        if elapsed_s <= limit_s:
            return elapsed_s
        cpu_s = thread_time() - self._cpu_started
        if getrusage(RUSAGE_THREAD).ru_nvcsw != self._waits:
            return elapsed_s
        return min(cpu_s, elapsed_s)
