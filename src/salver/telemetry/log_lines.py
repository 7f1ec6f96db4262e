"""The log lines of a version's life, worded as operators of TensorFlow Serving know them.

What happens during a load is logged on the load thread and by it, so that the lines of one
version come in the order in which things happen; everything else on the loop.
"""

import logging
from typing import Generic, TypeVar

from salver.core.events import (
    Drained,
    EventBus,
    LoadFailed,
    LoadRetried,
    RetriesCancelled,
    RetriesExhausted,
    StateChanged,
)
from salver.core.load_job import LoaderOf
from salver.core.servable import ServableId
from salver.core.state import State

_logger = logging.getLogger(__name__)

S = TypeVar("S")

_LOADING = (
    "Successfully reserved resources to load servable %s",
    "Approving load for servable version %s",
    "Loading servable version %s",
)
_LINES = {
    State.AVAILABLE: ("Successfully loaded servable version %s",),
    State.UNLOADING: ("Quiescing servable version %s",),
    State.END: ("Done unloading servable version %s",),
}


def log_versions(events: EventBus) -> None:
    """From now on, write what happens to versions through `logging`."""
    events.subscribe(StateChanged, _log_state)
    events.subscribe(LoadFailed, _log_failure)
    events.subscribe(LoadRetried, _log_retry)
    events.subscribe(RetriesExhausted, _log_exhaustion)
    events.subscribe(RetriesCancelled, _log_cancellation)
    events.subscribe(Drained, _log_drain)


def _log_state(event: StateChanged) -> None:
    if event.error is not None:
        status = event.error.status
        _logger.info("Encountered an error for servable version %s: %s", event.id, status)
        _logger.error("Servable %s cannot be loaded: %s", event.id, status)
        return
    for line in _LINES.get(event.state, ()):
        _logger.info(line, event.id)


def _log_failure(event: LoadFailed) -> None:
    _logger.error("Loading servable: %s failed: %s", event.id, event.error.status)


def _log_retry(event: LoadRetried) -> None:
    _logger.info("Retrying of Loading servable: %s retry: %d", event.id, event.retry)


def _log_exhaustion(event: RetriesExhausted) -> None:
    _logger.info(
        "Retrying of Loading servable: %s exhausted max_num_retries: %d",
        event.id,
        event.max_retries,
    )


def _log_cancellation(event: RetriesCancelled) -> None:
    _logger.info("Retrying of Loading servable: %s was cancelled.", event.id)


def _log_drain(event: Drained) -> None:
    _logger.info("Done quiescing servable version %s", event.id)
    _logger.info("Unloading just-loaded servable version %s", event.id)


class LoggedLoader(Generic[S]):
    """A loader that says so before it loads for the first time."""

    def __init__(self, id_: ServableId, loader: LoaderOf[S]) -> None:
        self._id = id_
        self._loader = loader
        self._is_told = False

    def load(self) -> S:
        """See `Loader.load`."""
        if not self._is_told:
            self._is_told = True
            for line in _LOADING:
                _logger.info(line, self._id)
        return self._loader.load()

    def unload(self) -> None:
        """See `Loader.unload`."""
        self._loader.unload()
