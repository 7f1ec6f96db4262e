"""Progress for a person: a bar where one watches, a line now and then where the text is kept."""

from collections.abc import Callable
from time import monotonic
from typing import TextIO

from salver.bulk.progress_record import Progress

_BAR = 24
_REDRAW_S = 0.1
_LINE_S = 10.0


class ProgressLine:
    """Tells how far a run has come."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream.isatty()
        self._started = self._told = clock()
        self._first_rows: int | None = None

    def __call__(self, progress: Progress, part: float) -> None:
        """After each batch."""
        if self._first_rows is None:
            self._first_rows = progress.rows
        now = self._clock()
        if now - self._told < (_REDRAW_S if self._is_terminal else _LINE_S):
            return
        self._told = now
        text = self._text(progress, part, now)
        if self._is_terminal:
            filled = round(_BAR * part)
            bar = "#" * filled + "-" * (_BAR - filled)
            print(f"\r[{bar}] {text}\x1b[K", end="", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)

    def _text(self, progress: Progress, part: float, now: float) -> str:
        elapsed = max(now - self._started, 1e-9)
        speed = (progress.rows - (self._first_rows or 0)) / elapsed
        bad = f", {progress.bad_rows:,} of them bad" if progress.bad_rows else ""
        return f"{part:4.0%}  {progress.rows:,} rows{bad}, {speed:,.0f} rows/s"

    def clear(self) -> None:
        """Take the bar away."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
