"""From a model's name, version and label to a handle on the servable that answers."""

from typing import Protocol

from salver.core.servable import ServableId
from salver.errors import InvalidArgument
from salver.execution.prepared import PreparedServable


class ServableHandle(Protocol):
    """Pins one version while a request uses it; one `release` for each opening."""

    @property
    def id(self) -> ServableId: ...

    @property
    def servable(self) -> PreparedServable: ...

    def release(self) -> None: ...


class Router(Protocol):
    """Decides which version answers; see `salver.traffic`."""

    def open(self, name: str, version: int | None, label: str | None) -> ServableHandle: ...


class Opening:
    """The first step of every request. Loop only."""

    def __init__(self, router: Router) -> None:
        self._open = router.open

    def open(self, name: str, version: int | None, label: str | None) -> ServableHandle:
        """Open what a ModelSpec names; without version and label, the highest version.

        Raises:
            InvalidArgument: the name is empty, or the label unknown.
            NotFound: that model or version is not available.
        """
        if not name:
            raise InvalidArgument("ModelSpec has no name specified.")
        return self._open(name, version, label)
