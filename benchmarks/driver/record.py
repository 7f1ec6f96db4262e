"""What was asked, what came of it, and the figures of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.client import floats_of_response
from benchmarks.driver.connection import UNAVAILABLE, Finished
from benchmarks.load import latencies_of

OK = 0
DEADLINE_EXCEEDED = 4
RESOURCE_EXHAUSTED = 8
EXPIRED = (DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED)
"""The second is what a queue of batches says when the time of a call is over."""
UNANSWERED = -1
TOLERANCE = 1e-4
KEPT_ANSWERS = 200


@dataclass(frozen=True, slots=True)
class Requests:
    """gRPC bodies to send in turn, and what their answers have to be."""

    bodies: Sequence[bytes]
    expected: Sequence[np.ndarray]
    output_name: str
    answer_bytes: int
    """Of an answer with its gRPC prefix; that of each request has as many."""

    def is_right(self, number: int, answer: bytes) -> bool:
        """Whether this is the answer to the call of that number."""
        expected = self.expected[number % len(self.expected)]
        values = floats_of_response(answer[5:], self.output_name)
        return values.shape == expected.shape and bool(
            np.allclose(values, expected, rtol=TOLERANCE, atol=TOLERANCE)
        )


def save_requests(path: Path, bodies: Sequence[bytes], expected: Sequence[np.ndarray]) -> None:
    """Keep them in a file that `read_requests` reads."""
    ends = np.cumsum([len(body) for body in bodies])
    joined = np.frombuffer(b"".join(bodies), np.uint8)
    with path.open("wb") as file:
        np.savez(file, bodies=joined, ends=ends, expected=np.stack(expected))


def read_requests(path: Path, output_name: str, answer_bytes: int) -> Requests:
    with np.load(path) as arrays:
        joined, ends, expected = arrays["bodies"].tobytes(), arrays["ends"], arrays["expected"]
    starts = [0, *ends[:-1]]
    bodies = [joined[start:end] for start, end in zip(starts, ends, strict=True)]
    return Requests(bodies, list(expected), output_name, answer_bytes)


class Record:
    """Times and outcomes of `count` calls. Times are seconds since the start of the load."""

    def __init__(self, requests: Requests, count: int) -> None:
        self.count = count
        self.due = np.zeros(count)
        """When a call was wanted: latency counts from here."""
        self.sent_at = [0.0] * count
        self._requests = requests
        self._done_at = [0.0] * count
        self._statuses = [UNANSWERED] * count
        self._sizes = [0] * count
        self._kept: list[tuple[int, bytes]] = []
        self._every = max(1, count // KEPT_ANSWERS)

    def is_kept(self, number: int) -> bool:
        """Whether the values of this answer will be looked at."""
        return number % self._every == 0

    def finish(self, finished: Sequence[Finished], now: float) -> None:
        for number, status, size, kept in finished:
            self._done_at[number] = now
            self._statuses[number] = status
            self._sizes[number] = size
            if kept is not None and status == OK:
                self._kept.append((number, kept))

    def give_up(self, number: int, now: float) -> None:
        """The client itself waited for too long to send it."""
        self._done_at[number] = now
        self._statuses[number] = DEADLINE_EXCEEDED

    def figures(self, limit_s: float | None = None) -> dict[str, Any]:
        """What came of it; `seconds` is the time until the last answer."""
        statuses, done_at = np.array(self._statuses), np.array(self._done_at)
        sizes, sent_at = np.array(self._sizes), np.array(self.sent_at)
        is_ok = statuses == OK
        is_right = is_ok & (sizes == self._requests.answer_bytes)
        took = done_at - self.due
        p50, p99, mean = latencies_of(took[is_right] * 1000)
        wrong = [number for number, answer in self._kept if not self._is_right(number, answer)]
        lag = (sent_at - self.due)[sent_at > 0] * 1000
        return {
            "asked": self.count,
            "answered": int(is_right.sum()),
            "wrong": int((is_ok & ~is_right).sum()) + len(wrong),
            "refused": int((statuses == UNAVAILABLE).sum()),
            "expired": int(np.isin(statuses, EXPIRED).sum()),
            "failed": int((~np.isin(statuses, (OK, UNAVAILABLE, *EXPIRED))).sum()),
            "in_time": int((is_right & (took <= (limit_s or np.inf))).sum()),
            "seconds": float(done_at.max()),
            "p50_ms": p50,
            "p99_ms": p99,
            "mean_ms": mean,
            "send_lag_p99_ms": float(np.percentile(lag, 99)) if len(lag) else 0.0,
        }

    def _is_right(self, number: int, answer: bytes) -> bool:
        # One of the wrong size is counted already.
        requests = self._requests
        return len(answer) != requests.answer_bytes or requests.is_right(number, answer)
