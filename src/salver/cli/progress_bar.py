"""Progress on a terminal: a line for each step, and a bar for what takes long."""

import threading
import time
from typing import TextIO

_WIDTH = 30
_REDRAW_S = 0.1
_CLEAR = "\r\x1b[K"


class TerminalProgress:
    """Writes steps as lines, and bars only where somebody sees them. From any thread."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        """Write nothing at all if `quiet`."""
        self._stream = stream
        self._quiet = quiet
        self._is_terminal = stream.isatty() and not quiet
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
            self._what = ""
            if self._is_terminal:
                self._stream.write(_CLEAR)
                self._stream.flush()

    def tell(self, name: str, text: str) -> None:
        """One line."""
        with self._lock:
            if self._quiet:
                return
            clear = _CLEAR if self._is_terminal else ""
            self._stream.write(f"{clear}{name:<12}{text}\n")
            self._stream.flush()

    def _draw(self) -> None:
        if not self._is_terminal:
            return
        self._drawn_at = time.monotonic()
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        bar = "#" * int(share * _WIDTH)
        amount = f"{_amount(self._done, self._unit)} of {_amount(self._total, self._unit)}"
        self._stream.write(f"{_CLEAR}{self._what} [{bar:<{_WIDTH}}] {share:4.0%} {amount}")
        self._stream.flush()


def _amount(number: int, unit: str) -> str:
    if unit != "B":
        return f"{number} {unit}"
    size, prefixes = float(number), " kMGT"
    while size >= 1000 and len(prefixes) > 1:
        size, prefixes = size / 1000, prefixes[1:]
    prefix = prefixes[0].strip()
    return f"{size:.1f} {prefix}B" if prefix and size < 10 else f"{size:.0f} {prefix}B"
