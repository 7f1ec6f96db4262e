"""A handle pins one version during one call.

Every request that works with a version shares one Handle, which counts them.
Loop only.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from salver.core.servable import ServableId

S = TypeVar("S")


class Handle(Generic[S]):
    """A version that answers: exactly one `release` for each time it was acquired."""

    __slots__ = ("_on_idle", "id", "servable", "uses")

    def __init__(self, id: ServableId, servable: S) -> None:
        self.id = id
        self.servable = servable
        self.uses = 0
        """How many requests hold the version now. Only the manager and `release` write it."""
        self._on_idle: Callable[[], None] | None = None

    def release(self) -> None:
        """The request is answered. The last one of a retired version lets it go."""
        self.uses -= 1
        if self._on_idle is not None and not self.uses:
            self._on_idle()

    def retire(self, on_idle: Callable[[], None]) -> None:
        """No request will acquire it any more: call back when the last is answered, maybe now."""
        self._on_idle = on_idle
        if not self.uses:
            on_idle()
