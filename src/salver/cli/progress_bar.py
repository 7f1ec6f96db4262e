"""Progress on a terminal: a bar for what takes long, and a line for each step."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from salver.bulk.progress_record import Progress

_WIDTH = 30
_REDRAW_S = 0.1
_LINE_S = 10.0
_CLEAR = "\r\x1b[K"


class _Bar:
    """One line of a terminal that is written again and again; elsewhere nothing."""

    def __init__(self, stream: TextIO, *, is_shown: bool = True) -> None:
        self.is_shown = is_shown and stream.isatty()
        self._stream = stream

    def draw(self, before: str, part: float, after: str) -> None:
        if self.is_shown:
            filled = "#" * int(min(part, 1.0) * _WIDTH)
            bar = f"{_CLEAR}{before}[{filled:<{_WIDTH}}] {min(part, 1.0):4.0%} {after}"
            print(bar, end="", file=self._stream, flush=True)

    def clear(self) -> None:
        if self.is_shown:
            print(_CLEAR, end="", file=self._stream, flush=True)


class StepsProgress:
    """Writes steps as lines, and bars only where somebody sees them. From any thread."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        """Write nothing at all if `quiet`."""
        self._stream = stream
        self._quiet = quiet
        self._bar = _Bar(stream, is_shown=not quiet)
        self._lock = threading.Lock()
        self._what = self._unit = ""
        self._total = self._done = 0
        self._drawn_at = 0.0

    def begin(self, what: str, total: int, unit: str) -> None:
        """Something begins that takes long: so many bytes (`B`) or other things."""
        with self._lock:
            self._what, self._total, self._unit, self._done = what, total, unit, 0
            self._draw()

    def advance(self, amount: int) -> None:
        """So much more of it is done."""
        with self._lock:
            self._done += amount
            if time.monotonic() - self._drawn_at >= _REDRAW_S:
                self._draw()

    def end(self) -> None:
        """It is over: its bar goes away."""
        with self._lock:
            self._bar.clear()

    def tell(self, name: str, text: str) -> None:
        """One line."""
        with self._lock:
            if not self._quiet:
                self._bar.clear()
                print(f"{name:<12}{text}", file=self._stream, flush=True)

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        amount = f"{_amount(self._done, self._unit)} of {_amount(self._total, self._unit)}"
        self._bar.draw(f"{self._what} ", self._done / self._total if self._total else 1.0, amount)


class RowsProgress:
    """A bar where one watches, and a line now and then where the text is kept."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._bar = _Bar(stream)
        self._started = self._told = clock()
        self._first_rows: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.clear()

    def __call__(self, progress: "Progress", part: float) -> None:
        """After each batch: what is done, and which part of the input that is."""
        if self._first_rows is None:
            self._first_rows = progress.rows
        now = self._clock()
        if now - self._told < (_REDRAW_S if self._bar.is_shown else _LINE_S):
            return
        self._told = now
        speed = (progress.rows - self._first_rows) / max(now - self._started, 1e-9)
        bad = f", {progress.bad_rows:,} of them bad" if progress.bad_rows else ""
        text = f"{progress.rows:,} rows{bad}, {speed:,.0f} rows/s"
        if self._bar.is_shown:
            self._bar.draw("", part, text)
        else:
            print(f"{part:4.0%}  {text}", file=self._stream, flush=True)


def _amount(number: int, unit: str) -> str:
    if unit != "B":
        return f"{number} {unit}"
    size, prefixes = float(number), " kMGT"
    while size >= 1000 and len(prefixes) > 1:
        size, prefixes = size / 1000, prefixes[1:]
    prefix = prefixes[0].strip()
    return f"{size:.1f} {prefix}B" if prefix and size < 10 else f"{size:.0f} {prefix}B"
