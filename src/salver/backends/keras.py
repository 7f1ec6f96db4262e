"""Keras files, `.keras`, served as the SavedModel that Keras itself makes of them.

Keras and TensorFlow's Python side load the file and export it, in a process of their own that ends
when there is nothing left to convert. What is served is the export: TensorFlow's C++ runtime runs
it, without the interpreter lock, as fast and in as little memory as any other SavedModel; and a
file that brings Keras down brings the server no harm. Exports are kept while Keras models are
served: a swap back, or another version with the same file, takes as long as with a SavedModel.
"""

import os
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from salver.backends.keras_archive import check_archive
from salver.backends.keras_conversion import CONVERTER
from salver.backends.keras_kept import KEPT
from salver.backends.prerequisites import require_installed
from salver.backends.tensorflow import SavedModelServable, TensorFlowLoader, TensorFlowOptions
from salver.core.backend import BackendOptions
from salver.errors import NotFound, error_of

FILE_NAME = "model.keras"


class KerasBackend:
    """Version folders with `model.keras`; see `salver.core.backend.Backend`."""

    name = "keras"
    extra = "keras"
    wraps = False

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return (folder / FILE_NAME).is_file()

    def loader(self, folder: str, options: BackendOptions) -> "KerasLoader":
        return KerasLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return (folder / FILE_NAME).stat().st_size


BACKEND = KerasBackend()


class KerasLoader:
    """Loads the `model.keras` of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._path = os.path.join(folder, FILE_NAME)
        self._options = options
        self._loader: TensorFlowLoader | None = None

    def load(self) -> SavedModelServable:
        """Convert the file and load what came out. From a load thread.

        Raises:
            FailedPrecondition: Keras or TensorFlow is not installed.
            NotFound: there is no such file.
            PermissionDenied: the model has Python code in it, and nobody has allowed it.
            InvalidArgument: it is no Keras model, or one that cannot be exported.
        """
        if not os.path.exists(self._path):
            raise NotFound(f"{self._path}; No such file or directory")
        name = self._options.model_name
        for module in ("keras", "tensorflow"):
            require_installed(module, self._options, BACKEND.extra)
        check_archive(self._path, name)
        unsafe = self._options.allow_pickle
        key = KEPT.key(self._path, unsafe)
        with KEPT.found(key) as kept:
            if kept is not None:
                return self._served(kept)
        with TemporaryDirectory(prefix="salver-keras-", ignore_cleanup_errors=True) as parent:
            folder = os.path.join(parent, "saved_model")
            failure = CONVERTER.convert(self._path, folder, unsafe=unsafe)
            if failure is not None:
                raise error_of(failure.code, f"Model {name}: {FILE_NAME}: {failure.message}")
            servable = self._served(folder)
            # A file that was written to meanwhile is not known to have become this.
            if key is not None and key == KEPT.key(self._path, unsafe):
                KEPT.keep(key, folder)
            return servable

    def _served(self, folder: str) -> SavedModelServable:
        threads = self._options.intra_op_threads or 1
        if self._loader is None:
            KEPT.used()
        # Kept first: if its load fails, `unload` gives back what it took.
        self._loader = TensorFlowLoader(folder, TensorFlowOptions(intra_op_threads=threads))
        return self._loader.load()

    def unload(self) -> None:
        """See `TensorFlowLoader.unload`."""
        if self._loader is not None:
            self._loader.unload()
            self._loader = None
            KEPT.unused()
