"""Memory that two processes see: one writes arrays there, the other reads them where they lie.

Each direction has its own. The writer makes a region (an anonymous file of the
kernel, which counts as memory of the processes and needs no /dev/shm) and sends
it along with the first message that uses it. The reader's arrays are views; when
the last of them is gone, its next message says so, and the region is used again.
Whoever keeps an array keeps its region: the writer then takes another.

Regions are sealed: neither side can make them smaller under the other's feet.
"""

import fcntl
import mmap
import os
import weakref
from collections import deque
from functools import partial

import numpy as np

_REGIONS = 3
"""Kept for use again, in each direction: one is written while the answer before is on its way."""
KEPT_BYTES = 64 * 1024 * 1024
"""What they may take all together; beyond it, a region is made for one message only."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_STEP = 256 * 1024
"""Sizes are multiples of it, so that a slightly larger request finds room next time."""
ONCE = 255
"""Stands for a region of one message where regions have numbers."""


class Outbox:
    """The writer's side. One thread at a time."""

    def __init__(self) -> None:
        self._regions: dict[int, np.ndarray] = {}
        self._free: set[int] = set()

    def freed(self, mask: int) -> None:
        """The reader has no array in these regions any more, a bit for each."""
        self._free.update(number for number in self._regions if mask >> number & 1)

    def room(self, size: int) -> tuple[int, np.ndarray, int | None]:
        """A place for so many bytes.

        Returns the number of its region, its memory, and a file descriptor to be
        sent along and closed if the reader does not know the region yet.

        Raises:
            OSError: the system has no more memory.
        """
        for number in self._free:
            if self._regions[number].size >= size:
                self._free.remove(number)
                return number, self._regions[number], None
        capacity = -(-size // _STEP) * _STEP
        number = self._next_number(capacity)
        memory, descriptor = _new_region(capacity)
        if number != ONCE:
            self._free.discard(number)
            self._regions[number] = memory
        return number, memory, descriptor

    def _next_number(self, capacity: int) -> int:
        """A new one, or that of a region which is too small: the reader keeps none of it."""
        kept = {number: memory.size for number, memory in self._regions.items()}
        candidates = [*self._free]
        if len(kept) < _REGIONS:
            candidates.insert(0, len(kept))
        for number in candidates:
            if sum(kept.values()) - kept.get(number, 0) + capacity <= KEPT_BYTES:
                return number
        return ONCE


def _new_region(size: int) -> tuple[np.ndarray, int]:
    descriptor = os.memfd_create("salver-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        mapping = mmap.mmap(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return np.frombuffer(mapping, np.uint8), descriptor


class Inbox:
    """The reader's side. One thread at a time; arrays may be let go on any."""

    def __init__(self, *, writable: bool) -> None:
        self._access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._mappings: dict[int, mmap.mmap] = {}
        self._leases: dict[int, weakref.ref[np.ndarray]] = {}
        self._freed: deque[int] = deque()

    def memory(self, number: int, descriptor: int | None) -> np.ndarray:
        """The bytes of a region; views of them hold it.

        Closes the descriptor that came with the message, if one did.

        Raises:
            ValueError: there is no such region, or it could be made smaller.
            OSError: the system has no more memory.
        """
        if descriptor is None:
            mapping = self._mappings.get(number)
            if mapping is None:
                raise ValueError(f"region {number} is not known")
        else:
            mapping = self._mapped(descriptor)
        memory = np.frombuffer(mapping, np.uint8)
        if number != ONCE:
            self._mappings[number] = mapping
            self._leases[number] = weakref.ref(memory, partial(self._let_go, number))
        return memory

    def _let_go(self, number: int, _: object) -> None:
        self._freed.append(number)

    def _mapped(self, descriptor: int) -> mmap.mmap:
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise ValueError("a region is not sealed")
            return mmap.mmap(descriptor, os.fstat(descriptor).st_size, access=self._access)
        finally:
            os.close(descriptor)

    def take_freed(self) -> int:
        """Regions without arrays since this was asked last, a bit for each."""
        mask = 0
        while self._freed:
            mask |= 1 << self._freed.popleft()
        return mask
