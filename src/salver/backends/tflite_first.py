"""The choice of `--prefer_tflite_model`, made anew with each attempt to load."""

import os

from salver.backends.tflite import FILE_NAME
from salver.core.servable import Loader, Servable


class TfLiteFirstLoader:
    """Loads `model.tflite` where the version folder has one, else leaves it to the other loader."""

    def __init__(self, path: str, tflite: Loader, other: Loader) -> None:
        self._file = os.path.join(path, FILE_NAME)
        self._tflite = tflite
        self._other = other
        self._chosen: Loader | None = None

    def load(self) -> Servable:
        """Choose and load. From a load thread.

        Raises:
            ServingError: from the loader that was chosen.
        """
        self._chosen = self._tflite if os.path.exists(self._file) else self._other
        return self._chosen.load()

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._chosen is not None:
            self._chosen.unload()
