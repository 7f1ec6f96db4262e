"""What is asked of the system's allocator, for backends whose tensors come from it."""

import ctypes
from functools import cache

_MAPPED_FROM, _MAPPED_FROM_BYTES = -3, 32 * 1024 * 1024
_KEPT_ON_TOP, _KEPT_ON_TOP_BYTES = -1, 128 * 1024 * 1024
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h, and what they are set to."""


@cache
def keep_freed_memory() -> None:
    """Let the allocator serve large tensors again and again from the same memory.

    Otherwise it maps fresh pages for each and gives them back at once: to fill a page for
    the first time takes the system ten times as long as to copy one. What stays is a
    rest per heap, at most, until a version is unloaded; above 32 MiB, glibc's limit,
    every block is still mapped for itself.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc alone heeds it
    if set_option is not None:
        set_option(_MAPPED_FROM, _MAPPED_FROM_BYTES)
        set_option(_KEPT_ON_TOP, _KEPT_ON_TOP_BYTES)


def trim_memory() -> None:
    """Give freed memory back at once; the allocator would keep it for later."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
