"""Holds the model `seen` of `tests/served_models.py` while a test looks at what waits behind it."""

import os
import select
from pathlib import Path

LIMIT_MS = 20_000


class Gate:
    """Two named pipes: a run of the signature `gated` says there that it has begun, and waits."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.path = str(folder / name)
        """What a request sends as its gate."""
        self._files: list[int] = []
        for end in (".begun", ".go"):
            os.mkfifo(self.path + end)
        self._begun = self._open(".begun")

    def _open(self, end: str) -> int:
        file = os.open(self.path + end, os.O_RDONLY | os.O_NONBLOCK)
        self._files.append(file)
        return file

    def is_reached(self) -> bool:
        """Wait until a run stands before the gate; False if none comes."""
        poll = select.poll()
        poll.register(self._begun, select.POLLIN)
        return bool(poll.poll(LIMIT_MS) and os.read(self._begun, 100))

    def open(self) -> None:
        """Let all pass, now and later."""
        self._open(".go")

    def remove(self) -> None:
        """Once the server has ended: until then a run may write to the pipes."""
        for file in self._files:
            os.close(file)
