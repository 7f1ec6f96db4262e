"""Tries one border for a while: makes inputs, checks the laws, and keeps what breaks them."""

import hashlib
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.border import Border
from tests.fuzz.mutation import Mutator

SLOW_S = 5.0
"""CPU time of one input, of 64 KiB at the most, that is too long."""
LARGE_KIB = 400 * 1024
"""Memory that one input may take beyond all before it."""
_POOL_BYTES = 16 << 20
_MOST_OUTCOMES = 20_000


@dataclass
class Trial:
    """One run over a border."""

    border: Border
    random: Random
    findings: Path | None = None
    """Folder where inputs that broke a law are kept."""
    before: Callable[[bytes], None] = lambda data: None
    """Is told each input before it is tried: it may be the last."""
    tried: int = 0
    outcomes: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    """By the place where it broke: what, and by which input."""

    def run(self, goes_on: Callable[[int], bool]) -> None:
        """Try all seeds, then new inputs while `goes_on` of their number says so."""
        for data in self._inputs():
            if not goes_on(self.tried):
                break
            self.tried += 1
            self.before(data)
            self._try(data)
        try:
            self.border.close()
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is what is sought
            self._note(failure, b"")

    def _inputs(self) -> Iterator[bytes]:
        plan = self.border.plan
        mutator = Mutator(self.random, plan.tokens, plan.structured, plan.most_bytes)
        self._pool = list(plan.seeds)
        self._pool_bytes = sum(map(len, self._pool))
        yield from plan.seeds
        while True:
            yield mutator.mutate(self.random.choice(self._pool), self.random.choice(self._pool))

    def _try(self, data: bytes) -> None:
        cpu_s, memory_kib = time.process_time(), _peak_kib()
        try:
            outcome = self.border.check(data)
            spent_s, taken_kib = time.process_time() - cpu_s, _peak_kib() - memory_kib
            assert spent_s < SLOW_S, f"slow: {spent_s:.1f} s of CPU time"
            assert taken_kib < LARGE_KIB, f"large: {taken_kib} KiB of memory"
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is what is sought
            self._note(failure, data)
            return
        # An input with a new outcome leads to others.
        if outcome not in self.outcomes and len(self.outcomes) < _MOST_OUTCOMES:
            self.outcomes.add(outcome)
            if self._pool_bytes + len(data) < _POOL_BYTES:
                self._pool_bytes += len(data)
                self._pool.append(data)

    def _note(self, failure: Exception, data: bytes) -> None:
        frames = traceback.extract_tb(failure.__traceback__)[-4:]
        place = " ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
        place += f" {type(failure).__name__}"
        if place in self.broken:
            return
        self.broken[place] = f"{failure!s:.2000} for {data!r:.2000}"
        if self.findings is not None:
            keep(self.findings, [data, *getattr(self.border, "recent", ())], _text(failure))


def _text(failure: Exception) -> str:
    return "".join(traceback.format_exception(failure))


def keep(folder: Path, inputs: list[bytes], text: str) -> None:
    """Write inputs, and what they did, into a folder of their own."""
    name = hashlib.sha256(b"".join(inputs) + text.encode()).hexdigest()[:12]
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "what.txt").write_text(text, errors="backslashreplace")
    for number, data in enumerate(inputs):
        (place / f"input-{number}").write_bytes(data)


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
