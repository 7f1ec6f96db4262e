"""Base paths as a push sees them: versions come and go as a whole, never by halves."""

import os
import time
from collections.abc import Callable
from typing import Protocol

from salver.backends.registry import Backends
from salver.errors import InvalidArgument
from salver.push.interruption import Interruption
from salver.push.local_destination import LocalDestination
from salver.push.model_folder import ModelFolder
from salver.push.remote_destination import RemoteDestination
from salver.sources.remote_schemes import require_scheme
from salver.sources.storage import local_path
from salver.sources.uri import scheme_of


class Destination(Protocol):
    """One base path."""

    def names(self) -> list[str]:
        """Everything directly under it; nothing where it is not there yet.

        Raises:
            ServingError: it cannot be read.
        """

    def versions(self) -> list[int]:
        """The versions that are there whole, lowest first.

        Raises:
            ServingError: it cannot be read.
        """

    def sweep(self) -> list[str]:
        """Delete what pushes have left behind that were killed; their names."""

    def publish(
        self, model: ModelFolder, interruption: Interruption, on_bytes: Callable[[int], None]
    ) -> int:
        """Add a model as the newest version; its number.

        Called with the interruption held. `on_bytes` is told of each so many bytes more that
        were written.

        Raises:
            Aborted: another push was quicker, or the model changed meanwhile.
            Interrupted: a signal came before it was published.
            ServingError: it cannot be written. In each case all is as it was.
        """

    def take_back(self, version: int) -> None:
        """Remove a version that was published by mistake.

        Raises:
            ServingError: it cannot be removed.
        """

    def set_aside(self, version: int) -> str:
        """Put a version where no server looks; the name that it has there.

        Raises:
            ServingError: it cannot be.
        """

    def bring_back(self, version: int) -> None:
        """Undo `set_aside`.

        Raises:
            ServingError: it cannot be.
        """


def destination_of(
    base_path: str, backends: Backends, clock: Callable[[], float] = time.time
) -> Destination:
    """The base path at a path of this machine or a URI.

    Raises:
        Unimplemented: the URI's scheme is not known here.
        InvalidArgument: it is a file.
    """
    if scheme_of(base_path):
        require_scheme(base_path)
        return RemoteDestination(base_path.rstrip("/"), backends, clock)
    path = local_path(base_path)
    if os.path.isfile(path):
        raise InvalidArgument(f"{path} is a file, and no base path with versions")
    return LocalDestination(path, backends, clock)
