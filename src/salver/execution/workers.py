"""Threads that compute, and the way back to the loop.

What is computed is none of their business: a job is computed on one of the threads and
finished on the loop. Many jobs may end before the loop turns: one wake-up serves them all.
"""

import asyncio
import logging
import threading
from collections import deque
from queue import SimpleQueue
from typing import Protocol

from salver.errors import ResourceExhausted

logger = logging.getLogger(__name__)


class Job(Protocol):
    """Work for a thread, and what it means for those who wait for it."""

    def compute(self) -> None:
        """On a thread, once. Never raises."""

    def finish(self) -> None:
        """On the loop, once, after `compute`."""


class Workers:
    """Some threads. Loop only, but for the threads' own work."""

    def __init__(self, count: int, name: str = "worker") -> None:
        self.count = count
        self._name = name
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._finished: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_is_due = False
        self.is_stopping = False
        """From now on jobs are to end without computing."""

    def start(self) -> None:
        """Start the threads.

        Raises:
            ResourceExhausted: the system allows no more of them.
        """
        self._loop = asyncio.get_running_loop()
        for number in range(self.count):
            name = f"{self._name}-{number}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise ResourceExhausted(
                    f"Only {number} of {self.count} threads ({self._name}) could be started: "
                    "ask for fewer"
                ) from error
            self._threads.append(thread)

    def stop(self) -> None:
        """Let the threads end once the queue is empty."""
        self.is_stopping = True
        for _ in self._threads:
            self._queue.put(None)

    def submit(self, job: Job) -> None:
        """Have a thread compute it as soon as one is free."""
        self._queue.put(job)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job.compute()
            self._finished.append(job)
            # While the thread waits it must not keep inputs, outputs and servable alive.
            del job
            if not self._wake_is_due:
                self._wake_is_due = True
                self._wake()

    def _wake(self) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._finish)
        except RuntimeError:
            # The loop is closed: the process is ending and nobody waits.
            return

    def _finish(self) -> None:
        self._wake_is_due = False
        while self._finished:
            try:
                self._finished.popleft().finish()
            except Exception:  # the others that have finished must not suffer
                logger.exception("A finished request could not be answered")
