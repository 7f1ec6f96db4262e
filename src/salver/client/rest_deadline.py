"""The time that one call over httpx may take in all: the library's limits are for each step."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from salver.errors import DeadlineExceeded

_PIECE_BYTES = 1 << 18
_STEPS = ("connect", "read", "write", "pool")
_LEAST_S = 1e-3
"""A limit of nothing would mean that nothing waits at all."""


class Deadline:
    """When a call of `timeout_s` seconds ends that begins now; None: never. For one call."""

    def __init__(self, timeout_s: float | None, url: str) -> None:
        self._ends = None if timeout_s is None else time.monotonic() + timeout_s
        self._url = url
        self._limits = dict.fromkeys(_STEPS, timeout_s)

    @property
    def extensions(self) -> dict[str, Any]:
        """For the request: each of its steps has the time that is left when it begins."""
        limits: dict[str, Any] = {"timeout": self._limits}
        return limits if self._ends is None else {**limits, "trace": self._on_step}

    def _on_step(self, name: str, _: Any) -> None:
        if self._ends is not None and name.endswith(".started"):
            left = max(_LEAST_S, self._ends - time.monotonic())
            self._limits.update(dict.fromkeys(_STEPS, left))

    def pieces_of(self, body: bytes) -> Iterator[bytes]:
        """A large body in pieces, as long as there is time."""
        view = memoryview(body)
        starts = range(0, len(body), _PIECE_BYTES)
        return self.watched(bytes(view[start : start + _PIECE_BYTES]) for start in starts)

    def watched(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, as long as there is time.

        Raises:
            DeadlineExceeded: it is over.
        """
        for piece in pieces:
            if self._ends is not None and time.monotonic() >= self._ends:
                raise too_late(self._url)
            yield piece


def is_large(body: bytes) -> bool:
    """Whether to send a body takes long enough for the time to be looked at meanwhile."""
    return len(body) > _PIECE_BYTES


def too_late(url: str) -> DeadlineExceeded:
    """The time is over."""
    return DeadlineExceeded(f"{url} has not answered in time")
