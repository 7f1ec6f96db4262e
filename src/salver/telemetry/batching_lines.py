"""Log lines about batches that were not run as one: few, however many there are."""

import logging
from collections.abc import Callable
from time import perf_counter

from salver.execution.batch_run import BatchRun

_logger = logging.getLogger(__name__)

_INTERVAL_S = 60.0
_FAILED = (
    "%s: a batch of %d requests failed and was run apart, so that only those at fault get the "
    "error%s: %s"
)
_UNFIT = (
    "%s: automatic batching ends for a signature, after %d requests could not be run as one%s: %s"
)
_UNLIKE = "%s: %d requests in a batch differ in type or shape and were run apart%s"


class BatchingLines:
    """Writes a line for the first such batch of a version, and then one a minute at the most."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._silences: dict[tuple[str, str], _Silence] = {}

    def ran_apart(self, run: BatchRun) -> None:
        """A batch was run in parts: it failed as one, or its requests did not fit together."""
        count = len(run.batch.entries)
        if run.first_error is not None:
            line = _UNFIT if run.is_unfit and run.options.is_automatic else _FAILED
            others = self._others(run.name, line)
            if others is not None:
                _logger.warning(line, run.name, count, others, run.first_error.status)
        if run.is_mixed:
            others = self._others(run.name, _UNLIKE)
            if others is not None:
                _logger.info(_UNLIKE, run.name, count, others)

    def _others(self, name: str, line: str) -> str | None:
        """How many lines were left out since the last; None: this one is left out, too."""
        now = self._clock()
        silence = self._silences.get((name, line))
        if silence is not None and now < silence.until:
            silence.left_out += 1
            return None
        self._silences[name, line] = _Silence(now + _INTERVAL_S)
        if silence is None or not silence.left_out:
            return ""
        return f" (and {silence.left_out} more since the last such line)"


class _Silence:
    """Until when no line is written, and how many were left out so far."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.left_out = 0
