"""What a version folder asks for by its files, looked at anew with each attempt to load."""

import os
from collections.abc import Callable
from pathlib import Path

from salver.backends.registry import Backends
from salver.backends.saved_model_files import SAVED_MODEL_FILES
from salver.core.backend import Backend, BackendOptions
from salver.core.servable import Loader, Servable
from salver.errors import FailedPrecondition, NotFound

PIPELINE = "pipeline.py"


class PipelineChoiceLoader:
    """Puts the version's pipeline around the model, where there is one; see `PipelineLoader`."""

    def __init__(self, path: str, loader: Loader, options: BackendOptions) -> None:
        self._path = path
        self._loader = loader
        self._options = options
        self._chosen = loader

    def load(self) -> Servable:
        """Look and load. From a load thread.

        Raises:
            ServingError: from the model's loader or the pipeline.
        """
        self._chosen = self._loader
        if os.path.exists(os.path.join(self._path, PIPELINE)):
            # It imports what a server without pipelines never needs.
            from salver.backends.pipeline import PipelineLoader

            self._chosen = PipelineLoader(self._path, self._loader, self._options)
        return self._chosen.load()

    def unload(self) -> None:
        """See `Loader.unload`."""
        self._chosen.unload()


class DetectingLoader:
    """Loads a SavedModel where the version folder has one, else what a backend finds in it."""

    def __init__(
        self,
        path: str,
        saved_model: Loader,
        backends: Backends,
        loader_of: Callable[[Backend], Loader],
    ) -> None:
        self._path = path
        self._saved_model = saved_model
        self._backends = backends
        self._loader_of = loader_of
        self._chosen: Loader | None = None

    def load(self) -> Servable:
        """Choose and load. From a load thread.

        Raises:
            ServingError: from the loader that was chosen, or several backends claim the folder.
        """
        self._chosen = self._choose()
        return self._chosen.load()

    def _choose(self) -> Loader:
        if any(os.path.exists(os.path.join(self._path, name)) for name in SAVED_MODEL_FILES):
            return self._saved_model
        try:
            backend = self._backends.of_folder(Path(self._path))
        except OSError as error:
            raise FailedPrecondition(f"{self._path}; {error.strerror}") from error
        # Where there is nothing at all, the error is TensorFlow Serving's.
        return self._saved_model if backend is None else self._loader_of(backend)

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._chosen is not None:
            self._chosen.unload()


class NamedLoader:
    """Loads with the backend that the config names, which is imported no earlier."""

    def __init__(
        self, name: str, backends: Backends, loader_of: Callable[[Backend], Loader]
    ) -> None:
        self._name = name
        self._backends = backends
        self._loader_of = loader_of
        self._loader: Loader | None = None

    def load(self) -> Servable:
        """Find the backend and load. From a load thread.

        Raises:
            ServingError: from the backend, or there is none of that name any more.
        """
        try:
            backend = self._backends.named(self._name)
        except NotFound as error:
            raise FailedPrecondition(error.message) from error
        self._loader = self._loader_of(backend)
        return self._loader.load()

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._loader is not None:
            self._loader.unload()
