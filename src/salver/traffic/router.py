"""The router: from what a request names (a model, and a version or a label) to a handle.

Loop only.
"""

from typing import Generic, TypeVar

from salver.core.handle import Handle
from salver.core.manager import Manager
from salver.traffic.labels import LabelTable

S = TypeVar("S")


class Router(Generic[S]):
    """Decides which version answers a request."""

    def __init__(self, manager: Manager[S], labels: LabelTable) -> None:
        self._acquire = manager.acquire
        self._labels = labels

    def open(self, name: str, version: int | None = None, label: str | None = None) -> Handle[S]:
        """Pin the version that a request means: the label's, or that one, or else the highest.

        The caller releases the handle.

        Raises:
            NotFound: there is no such version, or it is not available.
            InvalidArgument: the model has no such label.
            Unavailable: no configuration has been applied yet.
        """
        if label is not None:
            version = self._labels.version(name, label)
        return self._acquire(name, version)
