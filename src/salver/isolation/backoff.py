"""How long a worker that ended stays down."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackoffOptions:
    """The pauses before restarts."""

    first_s: float = 0.5
    """After the first end that came too soon; each further one doubles it."""
    longest_s: float = 30.0
    well_s: float = 60.0
    """A worker that has answered for so long was well: the next end is a first one again."""


class Backoff:
    """The pauses of one worker. Decides from what it is told; reads no clock."""

    def __init__(self, options: BackoffOptions | None = None) -> None:
        self._options = options or BackoffOptions()
        self._ends = 0

    def pause_s(self, answered_s: float) -> float:
        """After a worker has ended that had answered for so long (0: never).

        One that had been well is restarted at once: most often one request in many was at fault.
        """
        options = self._options
        if answered_s >= options.well_s:
            self._ends = 0
            return 0.0
        self._ends += 1
        return float(min(options.first_s * 2.0 ** min(self._ends - 1, 32), options.longest_s))
