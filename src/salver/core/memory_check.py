"""Loads that would take more memory than there is fail before they begin.

The kernel ends a process that takes too much, and with it everything else that it serves. What a
version is going to take is only known roughly: a load is refused where that is beyond all doubt,
and nothing is set aside for what requests take.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from salver.core.load_job import LoaderOf
from salver.core.memory_left import MemoryLeft, in_units, memory_left
from salver.errors import ResourceExhausted

S = TypeVar("S")

FLAG = "load_memory_check"


class LoadMemory:
    """What loads that are under way are going to take. From any thread."""

    def __init__(self, left: Callable[[], MemoryLeft | None] = memory_left) -> None:
        self._left = left
        self._lock = threading.Lock()
        self._claimed = 0
        self._room = 0
        """What was left before the loads that are under way began: some of what they claim is
        taken already, and must not count twice."""

    @contextmanager
    def claimed(self, size: int, name: str) -> Iterator[None]:
        """Around a load that takes about so many bytes; `name` of the version, for the message.

        Raises:
            ResourceExhausted: there are not so many.
        """
        with self._lock:
            left = self._left()
            if left is not None:
                if not self._claimed:
                    self._room = left.size
                if size > min(left.size, self._room - self._claimed):
                    raise ResourceExhausted(self._message(size, name, left))
            self._claimed += size
        taken = 0
        try:
            yield
            taken = size
        finally:
            with self._lock:
                self._claimed -= size
                self._room -= taken

    def _message(self, size: int, name: str, left: MemoryLeft) -> str:
        others = ""
        if self._claimed:
            others = f", of which loads under way take {in_units(self._claimed)}"
        return (
            f"{name} takes about {in_units(size)} of memory, by the size of its files, but of "
            f"{left.of} {in_units(left.size)} are left{others}; --{FLAG}=false loads it anyway"
        )


class MemoryCheckLoader(Generic[S]):
    """A loader whose load is refused where there is not enough memory for it."""

    def __init__(
        self, loader: LoaderOf[S], estimate: Callable[[], int], memory: LoadMemory, name: str
    ) -> None:
        """Store what is needed.

        Args:
            loader: what loads.
            estimate: the bytes that it is going to take, 0 where that is not known. Called at
                each load, on its thread.
            memory: shared by all loads of this process.
            name: of the version, for messages.
        """
        self._loader = loader
        self._estimate = estimate
        self._memory = memory
        self._name = name

    def load(self) -> S:
        """See `Loader.load`.

        Raises:
            ResourceExhausted: there is not enough memory.
            ServingError: whatever the loader raises.
        """
        with self._memory.claimed(self._estimate(), self._name):
            return self._loader.load()

    def unload(self) -> None:
        """See `Loader.unload`."""
        self._loader.unload()
