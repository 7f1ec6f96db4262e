"""The log lines of one look at a base path: each time, or only when there is something new.

TensorFlow Serving says what is wrong with a base path at each scan, and so do we on this machine.
Of remote storage, where a fault can last for hours, each thing is said once, and again after it
was over.
"""

import logging
import re

_logger = logging.getLogger(__name__.rpartition(".")[0] + ".scan")
_MARK_OF_A_REQUEST = re.compile(r"[0-9A-Za-z+/=-]{16,}")


class ScanLines:
    """What is logged during one look."""

    def __init__(self, said: frozenset[str] | None) -> None:
        """Begin with what was `said` at the last look; None stands for saying all again."""
        self._said = said
        self._saying: set[str] = set()

    @property
    def saying(self) -> frozenset[str]:
        """What holds now, for the next look."""
        return frozenset(self._saying)

    def warning(self, line: str, *arguments: object) -> None:
        """Say something that someone may want to mend."""
        if self._is_new(line % arguments):
            _logger.warning(line, *arguments)

    def error(self, line: str, *arguments: object) -> None:
        """Say why nothing can be told about the base path."""
        # Requests have numbers of their own, which make no new fault of an old one.
        if self._is_new(_MARK_OF_A_REQUEST.sub("", line % arguments)):
            _logger.error(line, *arguments)

    def _is_new(self, text: str) -> bool:
        self._saying.add(text)
        return self._said is None or text not in self._said
