"""A process that tries one border, watched by `tests.fuzz`: it may crash or hang.

    python -m tests.fuzz.worker BORDER SEED SECONDS FOLDER

Writes each input into FOLDER/input before it is tried, and in the end a report on stdout.
"""

import faulthandler
import json
import logging
import mmap
import sys
import time
from pathlib import Path
from random import Random

import psutil

from tests.fuzz.mutation import MAX_BYTES
from tests.fuzz.registry import BORDERS
from tests.fuzz.trial import Trial

HEAD_BYTES = 16
ROOM = HEAD_BYTES + 16 * MAX_BYTES
"""How large the file with the input is: how many were tried, its length, itself."""
_WARM_SHARE = 0.3
_GROWTH_BYTES = 128 << 20


def read_input(file: Path) -> tuple[int, bytes]:
    """How many inputs were tried, and the last of them."""
    data = file.read_bytes()
    count, size = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8))
    return count, data[HEAD_BYTES : HEAD_BYTES + size]


class Note:
    """The input that is being tried, where another process can read it."""

    def __init__(self, file: Path) -> None:
        self._count = 0
        with file.open("w+b") as opened:
            opened.truncate(ROOM)
            self._memory = mmap.mmap(opened.fileno(), ROOM)

    def __call__(self, data: bytes) -> None:
        self._count += 1
        size = min(len(data), ROOM - HEAD_BYTES)
        head = self._count.to_bytes(8, "little") + size.to_bytes(8, "little")
        self._memory[: HEAD_BYTES + size] = head + data[:size]


def main(name: str, seed: int, seconds: float, folder: Path) -> None:
    faulthandler.enable()
    logging.basicConfig(level=logging.CRITICAL)
    border = BORDERS[name]()
    process = psutil.Process()
    start = time.monotonic()
    warm_bytes = 0

    def goes_on(tried: int) -> bool:
        nonlocal warm_bytes
        gone_s = time.monotonic() - start
        if not warm_bytes and gone_s > _WARM_SHARE * seconds:
            warm_bytes = process.memory_info().rss
        return gone_s < seconds

    trial = Trial(border, Random(seed), folder / "findings", Note(folder / "input"))
    trial.run(goes_on)
    grown = process.memory_info().rss - (warm_bytes or process.memory_info().rss)
    if grown > _GROWTH_BYTES:
        trial.broken["growth"] = f"{grown >> 20} MiB since {_WARM_SHARE:.0%} of the time"
    report = {
        "tried": trial.tried, "outcomes": len(trial.outcomes), "grown": grown,
        "broken": trial.broken,
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
