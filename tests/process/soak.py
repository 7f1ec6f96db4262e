"""Many swaps between two versions of a large model under load: does the memory stay what it is?

python -m tests.process.soak --swaps 200 --megabytes 200
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests import served_models
from tests.process.asking import UNLOADED
from tests.process.steady_load import SteadyLoad, now
from tests.running import RunningServer, wait_until

SETTLED = 10
"""Swaps after which the memory is what it shall stay."""
GOOD_GROWTH = 0.05
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
"""Otherwise glibc keeps a rest for each of its heaps, up to eight a core, and which of them a
load fills is chance: a leak of a few copies of the weights would not show."""
_RATE = 50.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Swap:
    """What the process held after a swap."""

    number: int
    resident: int
    threads: int
    files: int
    seconds: float


def swaps(server: RunningServer, base_path: Path, count: int) -> Iterator[Swap]:
    """Version 2 comes and goes; each time the other one is loaded, and then it unloaded."""
    process = psutil.Process(server.pid)
    away = base_path / "away"
    for number in range(1, count + 1):
        began_at = now()
        if number % 2:
            away.rename(base_path / "2")
        else:
            (base_path / "2").rename(away)
        wait_until(lambda number=number: _unloads(server) >= number, f"swap {number}")  # type: ignore[misc]
        yield Swap(
            number,
            process.memory_info().rss,
            process.num_threads(),
            process.num_fds(),
            now() - began_at,
        )


def _unloads(server: RunningServer) -> int:
    return sum(UNLOADED in line for line in server.lines)


def soak(folder: Path, count: int, megabytes: int) -> tuple[list[Swap], SteadyLoad]:
    """All swaps, and the load that has gone on meanwhile."""
    base_path = folder / "model"
    served_models.export("weighty", base_path / "1", str(megabytes), "1")
    served_models.export("weighty", base_path / "away", str(megabytes), "2")
    done = []
    flags = [f"--model_base_path={base_path}", "--max_num_load_retries=0"]
    with (
        RunningServer(*flags, environment=ONE_HEAP) as server,
        SteadyLoad(server, _RATE) as load,
    ):
        for swap in swaps(server, base_path, count):
            done.append(swap)
            if swap.number % 10 == 0:
                print(
                    f"{swap.number:4} swaps: {swap.resident / _MIB:.0f} MiB, "
                    f"{swap.threads} threads, {swap.files} files, the last in {swap.seconds:.1f} s",
                    flush=True,
                )
        load.stop()
    return done, load


def growth(done: list[Swap]) -> float:
    """Of the memory since it was settled, as a share of what it was then.

    The two versions take turns, so swaps are compared with those of the same version. What a
    process gives back varies from swap to swap by a copy of the weights or two, so the least of
    the last three is compared with the most of three where it was settled.
    """
    first = SETTLED - 1 + (len(done) - SETTLED) % 2
    settled = max(swap.resident for swap in done[first - 2 : first + 3 : 2])
    return min(swap.resident for swap in done[-5::2]) / settled - 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.process.soak", description=__doc__)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--megabytes", type=int, default=200)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        done, load = soak(Path(folder), options.swaps, options.megabytes)
    grown = growth(done)
    print(
        f"{grown:+.1%} of memory since swap {SETTLED}; {sum(load.outcomes.values())} requests, "
        f"{dict(load.failures) or 'none'} failed"
    )
    return 1 if grown > GOOD_GROWTH or load.failures else 0


if __name__ == "__main__":
    sys.exit(main())
