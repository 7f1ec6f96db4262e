"""What happens to models and versions, published once, for status, metrics and log lines.

Loop only. A listener is a plain function and is called at once; it must not
call back into the publisher. What it raises is logged and disturbs nobody.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import ServingError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A version has entered a state; `error` tells why it ended, None if it was wanted."""

    id: ServableId
    state: State
    error: ServingError | None = None


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """One attempt to load has failed; others may follow."""

    id: ServableId
    attempt: int
    """Counted from 1."""
    error: ServingError


@dataclass(frozen=True, slots=True)
class LoadRetried:
    """The next attempt begins after the pause."""

    id: ServableId
    retry: int
    """Counted from 1."""


@dataclass(frozen=True, slots=True)
class RetriesExhausted:
    """The last allowed attempt has failed."""

    id: ServableId
    max_retries: int


@dataclass(frozen=True, slots=True)
class RetriesCancelled:
    """The version left the aspired set between attempts, or during one that failed."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class Drained:
    """The last request of a version that is unloading has been answered."""

    id: ServableId


@dataclass(frozen=True, slots=True)
class ModelsConfigured:
    """From now on these models are to be served, all of them and no others."""

    names: tuple[str, ...]


Event = (
    StateChanged
    | LoadFailed
    | LoadRetried
    | RetriesExhausted
    | RetriesCancelled
    | Drained
    | ModelsConfigured
)
_E = TypeVar(
    "_E",
    StateChanged,
    LoadFailed,
    LoadRetried,
    RetriesExhausted,
    RetriesCancelled,
    Drained,
    ModelsConfigured,
)


class EventBus:
    """Hands each event to those who asked for its kind, in the order they asked."""

    def __init__(self) -> None:
        self._listeners: dict[type, tuple[Callable[[Any], None], ...]] = {}

    def subscribe(self, kind: type[_E], listener: Callable[[_E], None]) -> Callable[[], None]:
        """Call `listener` with each event of this kind; the result ends that."""
        self._listeners[kind] = (*self._listeners.get(kind, ()), listener)

        def unsubscribe() -> None:
            others = [other for other in self._listeners[kind] if other is not listener]
            self._listeners[kind] = tuple(others)

        return unsubscribe

    def publish(self, event: Event) -> None:
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                _logger.exception("A listener failed on %r", event)
