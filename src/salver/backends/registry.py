"""The backends that are installed, found by their entry points when one is needed.

Nothing is looked up while all versions are SavedModels: a server of those starts as if there
were no other backends.
"""

import logging
import os
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from salver.backends.saved_model_files import MODEL_FILES, lacking
from salver.core.backend import ENTRY_POINTS, Backend
from salver.errors import FailedPrecondition, NotFound

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)


class Backends:
    """All backends but TensorFlow's own. From any thread."""

    def __init__(self, points: "Iterable[EntryPoint] | None" = None) -> None:
        """Store `points`; without them, those of all installed packages are taken."""
        self._given = None if points is None else tuple(points)
        self._loaded: dict[str, Backend] = {}

    @cached_property
    def _points(self) -> "dict[str, EntryPoint]":
        # It takes as long to import as a small model to load.
        from importlib.metadata import entry_points

        found = entry_points(group=ENTRY_POINTS) if self._given is None else self._given
        points: dict[str, EntryPoint] = {}
        for point in found:
            first = points.setdefault(point.name, point)
            if first.value != point.value:
                logger.warning(
                    "Two backends are called %s: %s is taken, %s is not",
                    point.name, first.value, point.value,
                )  # fmt: skip
        return points

    @property
    def names(self) -> Collection[str]:
        """What `model_platform` may be; imports no backend."""
        return self._points.keys()

    def named(self, name: str) -> Backend:
        """The backend of this name, imported.

        Raises:
            NotFound: none is installed.
            FailedPrecondition: it cannot be imported, or is no backend.
        """
        found = self._loaded.get(name)
        if found is None:
            if name not in self._points:
                installed = ", ".join(sorted(self._points))
                raise NotFound(f"There is no backend {name}; installed are: {installed}")
            found = self._loaded[name] = _loaded(self._points[name])
        return found

    def of_folder(self, folder: Path) -> Backend | None:
        """The backend whose model lies in a folder, None if there is none.

        Raises:
            FailedPrecondition: several claim it, and nothing tells which is right.
            OSError: the folder cannot be read.
        """
        found = [backend for backend in self._usable() if backend.detects(folder)]
        found = [backend for backend in found if backend.wraps] or found
        if len(found) > 1:
            names = " and ".join(sorted(backend.name for backend in found))
            raise FailedPrecondition(
                f"{folder} looks like a model of {names}; model_platform in the config can say "
                "which it is"
            )
        return found[0] if found else None

    def is_complete(self, folder: str) -> bool:
        """Whether a local folder holds all that a load needs; the model file comes last.

        Never raises.
        """
        if any(os.path.exists(os.path.join(folder, name)) for name in MODEL_FILES):
            return True
        try:
            return self.of_folder(Path(folder)) is not None
        except (FailedPrecondition, OSError):
            return True  # Its load will tell what is wrong.

    def lacking(self, names: Collection[str]) -> str | None:
        """What a version with these files lacks, None if it is whole for any framework.

        The names are relative to the folder of the version.
        """
        lacks = lacking(names)
        if lacks is None or any(name in names for name in MODEL_FILES):
            return lacks
        if any(backend.lacking(names) is None for backend in self._usable()):
            return None
        return lacks

    def _usable(self) -> list[Backend]:
        """All that can be imported: of the others, the log tells once."""
        backends = []
        for name in tuple(self._points):
            try:
                backends.append(self.named(name))
            except FailedPrecondition as error:
                logger.error("%s", error.message)
                del self._points[name]
        return backends


def _loaded(point: "EntryPoint") -> Backend:
    try:
        backend = point.load()
    except Exception as error:
        raise FailedPrecondition(
            f"The backend {point.name} ({point.value}) cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(backend, Backend) or backend.name != point.name:
        raise FailedPrecondition(
            f"The entry point {point.name} ({point.value}) is no backend of this name: "
            "see salver.core.backend.Backend"
        )
    return backend
