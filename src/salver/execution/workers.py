"""Threads that compute, and the way back to the loop.

Of the threads that are idle the one that ran last goes on: its caches are the warmest, and where
few jobs are under way the others sleep. In turns they would cost a sixth of the throughput of a
model that has two jobs under way and four threads.

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
from salver.execution.nap import Nap

logger = logging.getLogger(__name__)


class Job(Protocol):
    """Work for a thread, and what it means for those who wait for it."""

    @property
    def waited_s(self) -> float:
        """How long it waited for a thread, as far as that is known. After `compute`."""

    def compute(self) -> None:
        """On a thread, once. Never raises."""

    def following(self) -> "Job | None":
        """What the same thread is to go on with, whatever else waits. There, after `compute`."""

    def finish(self) -> None:
        """On the loop, once, after `compute`."""


_Inbox = SimpleQueue[Job | None]
"""Of a thread, for the next job."""


class Workers:
    """Some threads. Loop only, but for the threads' own work."""

    def __init__(self, count: int, name: str, nap: Nap) -> None:
        """`nap`: the loop's, which is told when a thread has nothing more to do."""
        self.count = count
        self._nap = nap
        self._name = name
        self._backlog: deque[Job | None] = deque()
        """What no thread was idle for. None: the end of a thread."""
        self._idle: list[_Inbox] = []
        """Of the threads that wait: who has waited longest comes first."""
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
            self._hand_over(None)

    def submit(self, job: Job) -> None:
        """Have a thread compute it as soon as one is free."""
        self._nap.under_way += 1
        self._hand_over(job)

    def went_on(self) -> None:
        """A thread has begun a job without being handed it; see `Job.following`."""
        self._nap.under_way += 1

    # No lock: a thread that has one and waits for the interpreter's would keep all others
    # waiting. Each step below is one of the interpreter's own. Both sides first show what they
    # have, a job or an idle thread, and then look for the other: one of the two finds it.

    def _hand_over(self, job: Job | None) -> None:
        self._backlog.append(job)
        while self._idle and self._backlog:
            try:
                inbox = self._idle.pop()
            except IndexError:
                return  # it has seen the job itself
            try:
                inbox.put(self._backlog.popleft())
            except IndexError:
                self._idle.append(inbox)

    def _next(self, inbox: _Inbox) -> Job | None:
        while True:
            if self._backlog:
                try:
                    return self._backlog.popleft()
                except IndexError:
                    pass  # another thread was first
            self._idle.append(inbox)
            if not self._backlog:
                return inbox.get()
            try:
                self._idle.remove(inbox)
            except ValueError:
                return inbox.get()  # it was chosen meanwhile

    def _work(self) -> None:
        inbox: _Inbox = SimpleQueue()
        job = self._next(inbox)
        while job is not None:
            job.compute()
            following = job.following()
            self._finished.append(job)
            # While the thread waits it must not keep inputs, outputs and servable alive.
            del job
            if following is None and not self._backlog:
                self._nap.ring(self)
            if not self._wake_is_due:
                self._wake_is_due = True
                self._wake()
            job = following or self._next(inbox)

    def _wake(self) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._finish)
        except RuntimeError:
            # The loop is closed: the process is ending and nobody waits.
            return

    def _finish(self) -> None:
        if len(self._backlog) >= self.count and self._finished:
            self._nap.await_more(self._finished[0].waited_s)
        self._wake_is_due = False
        self._nap.idle.discard(self)
        while self._finished:
            self._nap.under_way -= 1
            try:
                self._finished.popleft().finish()
            except Exception:  # the others that have finished must not suffer
                logger.exception("A finished request could not be answered")
