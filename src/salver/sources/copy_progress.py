"""The log lines of a copy that takes its time."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from salver.sources.listing import Listing, RemoteFile

_logger = logging.getLogger(__name__)

PERIOD_S = 10.0


class CopyProgress:
    """Says that a copy begins, how far it is every ten seconds, and that it is done."""

    def __init__(
        self,
        shown_uri: str,
        listing: Listing,
        missing: Sequence[RemoteFile],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown_uri = shown_uri
        self._total = sum(file.size for file in missing)
        self._clock = clock
        self._began = self._told = clock()
        self._copied: dict[str, int] = {}
        self._guard = threading.Lock()
        there = len(listing.files) - len(missing)
        _logger.info(
            "Copying %s: %d files, %s%s",
            shown_uri,
            len(missing),
            amount(self._total),
            f"; {there} are here already" if there else "",
        )

    def of(self, file: RemoteFile) -> Callable[[int], None]:
        """What takes in how many bytes of a file there are. From any thread."""

        def note(count: int) -> None:
            with self._guard:
                self._copied[file.name] = count
                now = self._clock()
                if now - self._told < PERIOD_S:
                    return
                self._told = now
                copied = sum(self._copied.values())
            _logger.info(
                "Copying %s: %s of %s", self._shown_uri, amount(copied), amount(self._total)
            )

        return note

    def done(self, folder: str) -> None:
        """Say that the copy is there."""
        _logger.info(
            "Copied %s to %s in %.1f s", self._shown_uri, folder, self._clock() - self._began
        )


def amount(size: int) -> str:
    """A number of bytes for people: `1.5 GB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
