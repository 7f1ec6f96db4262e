"""Health: whether the server as a whole, a model or one version is there for requests.

The server is alive as long as it answers, ready when every configured model has a
version that answers, and leaving once it has been told to end: from then on nothing
is ready, and requests are answered all the same.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from salver.core.events import EventBus, ModelsConfigured, StateChanged
from salver.core.state import State, VersionStatus

_MAX_REASON_CHARACTERS = 500


class Condition(Enum):
    """What can be said of a name."""

    SERVING = "answers requests"
    NOT_SERVING = "is known, but does not answer"
    UNKNOWN = "is not known"


class VersionSource(Protocol):
    """What the manager knows about versions."""

    def statuses(self, name: str) -> Sequence[VersionStatus]:
        """See `Manager.statuses`."""

    def available_versions(self, name: str) -> tuple[int, ...]:
        """See `Manager.available_versions`."""


class Health:
    """The use case. Loop only."""

    def __init__(self, source: VersionSource, events: EventBus) -> None:
        self.is_leaving = False
        self._source = source
        self._configured: tuple[str, ...] = ()
        self._listeners: list[Callable[[], None]] = []
        events.subscribe(ModelsConfigured, self._configure)
        events.subscribe(StateChanged, lambda event: self._tell())

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` when any answer may have changed. It asks later: not all is done yet."""
        self._listeners.append(listener)

    def leave(self) -> None:
        """The server has been told to end: nothing is ready any more."""
        self.is_leaving = True
        self._tell()

    def server(self) -> Condition:
        """The server as a whole, whatever its models do."""
        return Condition.NOT_SERVING if self.is_leaving else Condition.SERVING

    def model(self, name: str, version: int | None = None) -> Condition:
        """A model, or one version of it.

        A model is known if it is configured or was once served; a version, if it was ever found.
        """
        available = self._source.available_versions(name)
        if (available and version is None) or version in available:
            return self.server()
        found = [status.version for status in self._source.statuses(name)]
        is_known = version in found if version is not None else found or name in self._configured
        return Condition.NOT_SERVING if is_known else Condition.UNKNOWN

    @property
    def configured_models(self) -> tuple[str, ...]:
        """The names of the config, in its order."""
        return self._configured

    def unready_models(self) -> dict[str, str]:
        """The configured models without a version that answers, each with its reason."""
        return {
            name: self._reason(name)
            for name in self._configured
            if not self._source.available_versions(name)
        }

    def _reason(self, name: str) -> str:
        statuses = self._source.statuses(name)
        if not statuses:
            return "no version found"
        # The highest version that is on its way or has failed says more than what is gone.
        telling = (s for s in statuses if s.state is not State.END or s.error is not None)
        status = next(telling, statuses[0])
        cause = "" if status.error is None else f": {status.error.status}"
        return f"version {status.version} {status.state.name}{cause}"[:_MAX_REASON_CHARACTERS]

    def _configure(self, event: ModelsConfigured) -> None:
        self._configured = event.names
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
