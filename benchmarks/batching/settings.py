"""TensorFlow Serving's parameters of batching, as somebody who tunes them would try them."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from benchmarks.servers import Program

OFF = "off"
AUTO = "auto"
UNBOUNDED = 100_000
"""Batches that may wait under a load that waits for its answers: nothing is refused."""
AS_GOOD = 0.97
"""Settings within this share of the most answers count as equal; then the 99th percentile
decides, as it does for people."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One choice of the parameters."""

    max_batch_size: int
    """Rows."""
    timeout_us: int
    threads: int

    @property
    def name(self) -> str:
        return f"max {self.max_batch_size}, wait {self.timeout_us / 1000:g} ms, {self.threads} thr."

    def text(self, *, pads: bool, enqueued: int = UNBOUNDED) -> str:
        """The file for `--batching_parameters_file`."""
        return (
            f"max_batch_size {{ value: {self.max_batch_size} }}\n"
            f"batch_timeout_micros {{ value: {self.timeout_us} }}\n"
            f"num_batch_threads {{ value: {self.threads} }}\n"
            f"max_enqueued_batches {{ value: {enqueued} }}\n"
            f"pad_variable_length_inputs: {str(pads).lower()}\n"
        )


FULL_GRID = tuple(
    Setting(*choice) for choice in product((4, 16, 64, 1000), (0, 1000, 5000), (1, 2, 4))
)
QUICK_GRID = (Setting(16, 0, 2), Setting(64, 1000, 1), Setting(1000, 0, 2))


def differ_at(grid: Iterable[Setting], concurrency: int, rows_per_request: int) -> list[Setting]:
    """Without those that are like another one while no more than `concurrency` are in flight.

    Of the sizes that hold all that can be in flight, only the smallest, which is full when all
    of it is there, and the largest are of interest.
    """
    settings = list(grid)
    enough = concurrency * rows_per_request
    roomy = sorted({s.max_batch_size for s in settings if s.max_batch_size >= enough})
    return [s for s in settings if s.max_batch_size not in roomy[1:-1]]


Key = TypeVar("Key", bound=Hashable)


def best(seen: Mapping[Key, tuple[float, float]], count: int = 1) -> list[Key]:
    """The `count` with the most answers, the best first; `seen` has answers/s and p99."""
    rest = dict(seen)
    chosen: list[Key] = []
    while rest and len(chosen) < count:
        enough = AS_GOOD * max(rate for rate, _ in rest.values())
        equals = [key for key, (rate, _) in rest.items() if rate >= enough]
        chosen.append(min(equals, key=lambda key: rest[key][1]))
        del rest[chosen[-1]]
    return chosen


def enqueued_for(setting: Setting, rows_per_s: float, limit_s: float) -> int:
    """Batches that may wait where a client waits for `limit_s`: half of that time's work."""
    return max(1, int(rows_per_s * limit_s / 2 / setting.max_batch_size))


Command = tuple[str, ...]


def plain_server(command: Command, name: str, *flags: str) -> Program:
    """The server with some flags."""
    return Program(name, (*command, *flags), frozenset({"grpc"}))


def tuned_server(
    command: Command, setting: Setting, folder: Path, *, pads: bool, enqueued: int = UNBOUNDED
) -> Program:
    """The server with this choice of parameters."""
    path = folder / f"{setting.name}, {enqueued} wait.batching"
    path.write_text(setting.text(pads=pads, enqueued=enqueued))
    flags = ("--enable_batching", f"--batching_parameters_file={path}")
    return plain_server(command, setting.name, *flags)
