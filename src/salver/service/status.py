"""Status: in which state every known version of a model is."""

from collections.abc import Sequence
from typing import Protocol

from salver.core.state import VersionStatus
from salver.errors import NotFound


class StatusSource(Protocol):
    """What the manager knows about versions."""

    def statuses(self, name: str) -> Sequence[VersionStatus]: ...


class Status:
    """The use case. Labels play no part in it: TensorFlow Serving ignores them here."""

    def __init__(self, source: StatusSource) -> None:
        self._source = source

    def of(self, name: str, version: int | None) -> Sequence[VersionStatus]:
        """Every version of the model, the highest first, or the one asked for.

        Raises:
            NotFound: the server never knew such a model or version.
        """
        statuses = self._source.statuses(name)
        if version is not None:
            statuses = [status for status in statuses if status.version == version]
            if not statuses:
                raise NotFound(f"Could not find version {version} of model {name}")
        if not statuses:
            raise NotFound(f"Could not find any versions of model {name}")
        return statuses
