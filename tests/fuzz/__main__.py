"""Try every border for some minutes: `python -m tests.fuzz --minutes 10`.

Each border is tried by a process of its own, which is watched: one that ends by a signal or
that stands still is a finding like a law that does not hold. Findings are kept in a folder.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.registry import BORDERS
from tests.fuzz.trial import keep
from tests.fuzz.worker import read_input

_STILL_S = 60.0
_LOOK_S = 0.5
_ENDING_S = 120.0
_MOST_CRASHES = 3


@dataclass
class Result:
    """What became of one border."""

    name: str
    tried: int = 0
    outcomes: int = 0
    grown: int = 0
    seconds: float = 0.0
    broken: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        state = f"{len(self.broken)} FINDINGS" if self.broken else "good"
        return (
            f"{self.name:10} {self.tried:>9} inputs {self.outcomes:>6} outcomes "
            f"{self.seconds:>6.0f} s {self.grown >> 20:>5} MiB grown  {state}"
        )


class Watch:
    """One border under trial, restarted after a crash while there is time."""

    def __init__(self, name: str, seed: int, seconds: float, findings: Path) -> None:
        self.result = Result(name)
        self._seed = seed
        self._findings = findings / name
        self._scratch = TemporaryDirectory()
        self._started = time.monotonic()
        self._ends_at = self._started + seconds
        self._crashes = 0
        self._launch()

    def _launch(self) -> None:
        self._folder = Path(self._scratch.name, str(self._crashes))
        self._folder.mkdir()
        self._input = self._folder / "input"
        self._output = (self._folder / "output").open("w+")
        self._errors = (self._folder / "errors").open("w+")
        rest = max(self._ends_at - time.monotonic(), 1.0)
        command = [sys.executable, "-m", "tests.fuzz.worker", self.result.name, str(self._seed)]
        self._child = subprocess.Popen(
            [*command, str(rest), str(self._folder)], stdout=self._output, stderr=self._errors
        )
        self._count, self._moved_at = -1, time.monotonic()

    def look(self) -> bool:
        """Whether it still goes on."""
        if self._child.poll() is None:
            self._look_for_standstill()
            return True
        self.result.seconds = time.monotonic() - self._started
        self._read_report()
        goes_on = (
            self._child.returncode != 0
            and self._crashes < _MOST_CRASHES
            and time.monotonic() + 5 < self._ends_at
        )
        if goes_on:
            self._seed += 1000
            self._crashes += 1
            self._launch()
        return goes_on

    def _look_for_standstill(self) -> None:
        now = time.monotonic()
        count = read_input(self._input)[0] if self._input.exists() else -1
        if count != self._count:
            self._count, self._moved_at = count, now
        limit_s = _STILL_S if now < self._ends_at else _ENDING_S
        if now - self._moved_at > limit_s:
            # The handler in the child says where it stands.
            self._child.send_signal(6)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(10.0)
            if self._child.poll() is None:
                self._child.kill()

    def _read_report(self) -> None:
        self._output.seek(0)
        self._errors.seek(0)
        lines, errors = self._output.read().splitlines(), self._errors.read()
        result = self.result
        if self._child.returncode == 0 and lines:
            report = json.loads(lines[-1])
            result.tried += report["tried"]
            result.outcomes = max(result.outcomes, report["outcomes"])
            result.grown = max(result.grown, report["grown"])
            result.broken.update(report["broken"])
        else:
            tried, data = read_input(self._input) if self._input.exists() else (0, b"")
            result.tried += max(tried, 0)
            what = f"ended with {self._child.returncode}:\n{errors[-6000:]}"
            result.broken[f"end {self._crashes}"] = f"{what}\nfor {data!r:.2000}"
            keep(self._findings, [data], what)
        kept = self._folder / "findings"
        for finding in kept.iterdir() if kept.exists() else ():
            self._findings.mkdir(parents=True, exist_ok=True)
            target = self._findings / finding.name
            if not target.exists():
                finding.rename(target)
        self._output.close()
        self._errors.close()

    def wait(self, limit_s: float) -> None:
        """Until it ends, or the time is over."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(limit_s)

    def end(self) -> None:
        """Leave nothing behind, whatever it is doing."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._scratch.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all borders together")
    parser.add_argument("--borders", default=",".join(BORDERS), help=f"of {','.join(BORDERS)}")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=max((os.cpu_count() or 2) - 1, 1))
    parser.add_argument("--findings", type=Path, default=Path(".cache/fuzz"))
    options = parser.parse_args()
    names = options.borders.split(",")
    unknown = sorted(set(names) - set(BORDERS))
    if unknown:
        parser.error(f"there is no border {', '.join(unknown)}")
    seconds = options.minutes * 60 / len(names)
    print(f"{len(names)} borders, {seconds:.0f} s each, seed {options.seed}", flush=True)
    results: list[Result] = []
    waiting, running = list(reversed(names)), list[Watch]()
    try:
        while waiting or running:
            while waiting and len(running) < options.jobs:
                running.append(Watch(waiting.pop(), options.seed, seconds, options.findings))
            for watch in list(running):
                if not watch.look():
                    running.remove(watch)
                    watch.end()
                    results.append(watch.result)
                    print(watch.result.line(), flush=True)
            if running:
                running[0].wait(_LOOK_S)
    finally:
        for watch in running:
            watch.end()
    for result in results:
        for place, what in result.broken.items():
            print(f"\n{result.name} {place}\n{what}")
    found = sum(len(result.broken) for result in results)
    tried = sum(result.tried for result in results)
    print(f"\n{tried} inputs, {found} findings" + (f" in {options.findings}" if found else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
